// A game of rounds: which of N pictures is the same character as the query? After each pick stands who was right. All
// rounds are here from the start, with the answers of the rivals; a kernel is needed for another game alone.
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const YOU = "you";
const PATIENCE = 10000; // milliseconds
const SILENT = "The kernel does not answer: it is busy, or it was restarted; then run this cell, or load this page, again. Your answers are kept.";

// The answers so far, [label, seconds] each, in the browser's storage. Where that is refused nothing is kept.
function keeper(data) {
  const key = `mamlkit-play ${location.pathname} ${data.identity}`;
  const allowed = ([label, seconds]) => Number.isInteger(label) && label >= 0 && label < data.nWay && seconds >= 0;
  const load = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(key)) ?? [];
      return kept.length <= data.nRounds && kept.every(allowed) ? kept : [];
    } catch { return []; }
  };
  const keep = (answers) => {
    try { localStorage.setItem(key, JSON.stringify(answers)); } catch { /* the game goes on */ }
  };
  return { load, keep };
}

// Everybody with the labels they gave in the rounds played, and how many were right; the reader comes first.
function standing(data, answers) {
  const truth = data.rows("truth");
  const rivals = data.rivals.map((name, i) => ({ name, given: answers.map((_, round) => data.rows("answers", round)[i]) }));
  return [{ name: YOU, given: answers.map(([label]) => label) }, ...rivals].map((player) => (
    { ...player, right: player.given.filter((label, round) => label === truth[round]).length }));
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

const seconds = (value) => `${value.toFixed(1)} s`;
const medianTime = (answers) => seconds(median(answers.map(([, time]) => time)));

// Picture `place` of a round, 0 for the query and 1 + label for the others, from its bits.
function pictureOf(data, round, place) {
  const bits = data.rows("bits", round, place);
  const pixels = Uint8Array.from({ length: data.side ** 2 }, (_, i) => ((bits[i >> 3] >> (7 - (i & 7))) & 1) * 255);
  return picture(pixels, data.side, 1);
}

// Rows of the table: name, what stands for the present round, right so far.
function scoreTable(heads, rows) {
  const row = (tag, [name, ...cells]) => element("tr", {}, element("th", { scope: tag === "th" ? "col" : "row" }, name),
    ...cells.map((cell) => element(tag, {}, cell)));
  return element("table", { class: "scores" }, row("th", heads), ...rows.map((cells) => row("td", cells)));
}

function runningScores(data, answers, told) {
  const truth = data.rows("truth");
  const sign = (label) => `${LETTERS[label]} ${label === truth[answers.length - 1] ? "✓" : "✗"}`;
  const rows = standing(data, answers).map(({ name, given, right }) => [name, told ? sign(given.at(-1)) : "", String(right)]);
  const clock = answers.length ? `Your time: ${seconds(answers.at(-1)[1])}, median ${medianTime(answers)}.` : "";
  const expected = `Guessing would have ${say(answers.length / data.nWay)} on average.`;
  return [
    scoreTable(["", "this round", `right of ${answers.length}`], rows),
    element("p", { class: "aside" }, answers.length ? expected : ""),
    element("p", { class: "aside" }, clock),
  ];
}

// What stands below a picture, and its style, once `told` is [the reader's label, the true one].
function signOf(label, told) {
  if (!told) return ["", ""];
  const [given, truth] = told;
  if (label === truth) return ["✓", "right"];
  return label === given ? ["✗", "wrong"] : ["", ""];
}

// One of the pictures to choose from.
function tile(data, round, label, told, pick) {
  const [sign, style] = signOf(label, told);
  const text = `${LETTERS[label]} ${sign}`.trim();
  const made = button("", () => pick(label));
  made.append(pictureOf(data, round, 1 + label), element("span", {}, text));
  made.className = `tile ${style}`.trim();
  made.disabled = told !== null;
  made.setAttribute("aria-label", `picture ${text}`);
  return made;
}

// A round: the query, the pictures to choose from, and the scores.
function board(data, answers, told, pick) {
  const round = answers.length - (told ? 1 : 0);
  const words = `Round ${round + 1} of ${data.nRounds}, the query picture.`;
  const query = element("div", { class: "query", role: "img" }, pictureOf(data, round, 0));
  const said = standing(data, answers).map(({ name, given }) => `${name} ${LETTERS[given.at(-1)]}`).join(", ");
  query.setAttribute("aria-label", told ? `${words} It is ${LETTERS[told[1]]}; the answers: ${said}.` : words);
  const tiles = Array.from({ length: data.nWay }, (_, label) => tile(data, round, label, told, pick));
  const group = element("div", { class: "tiles", role: "group", tabindex: "-1", "aria-label": `${data.nWay} pictures` }, ...tiles);
  return element("div", { class: "board" }, query, group,
    element("div", { class: "running" }, ...runningScores(data, answers, told !== null)));
}

// What the end of a game says, sentence by sentence.
function verdicts(data, answers) {
  const players = standing(data, answers);
  const [you, rival, chance] = [YOU, data.toBeat, data.rivals.at(-1)].map((name) => players.find((p) => p.name === name).right);
  const outcome = you === rival ? `You tied with ${data.toBeat}, ${you} each.`
    : `You ${you > rival ? "won" : "lost"} against ${data.toBeat}, ${you} to ${rival}.`;
  const share = (you + 1) / (data.nRounds + 2); // so that a clean sheet is not taken for certainty
  const error = Math.sqrt((share * (1 - share)) / data.nRounds);
  return [
    outcome,
    `Your median time was ${medianTime(answers)} a round.`,
    `Chance is ${say(100 / data.nWay)} %: guessing has ${say(data.nRounds / data.nWay)} of ${data.nRounds} right on `
      + `average, and had ${chance} here.`,
    `Over ${data.nRounds} rounds one standard error of a score like yours is about ${say(100 * error)} percentage `
      + `points, or ${(error * data.nRounds).toFixed(1)} rounds: a lead of less than about three of them may be luck.`,
  ];
}

function finalBoard(data, answers) {
  const players = standing(data, answers);
  const rows = players.map(({ name, right }) => [name, String(right), percent(right / data.nRounds)]);
  const [outcome, ...others] = verdicts(data, answers);
  const time = medianTime(answers);
  const source = card(data, players, outcome, time).toDataURL("image/png");
  const alt = `${data.title}, ${data.nRounds} rounds of ${data.nWay}-way one-shot on ${data.data}: `
    + `${players.map(({ name, right }) => `${name} ${right}`).join(", ")}. ${outcome} Median time ${time}.`;
  const save = element("a", { class: "save", href: source, download: "you-against-maml.png" }, "Save the card");
  const table = scoreTable(["", `right of ${data.nRounds}`, ""], rows);
  const words = element("div", { class: "verdicts" }, ...others.map((text) => element("p", {}, text)));
  const things = [element("div", { class: "ending" }, table, words), element("img", { class: "card", src: source, alt })];
  return { outcome, things, save };
}

// The button for the next seed's game, which the kernel deals, and its progress. Each round dealt is a sign of life.
function anotherGame(data, model, announce) {
  const bar = element("progress", { max: data.nRounds, value: 0, "aria-label": "rounds dealt" });
  let timer = 0;
  const rest = (words) => {
    clearTimeout(timer);
    bar.hidden = true;
    announce(words);
  };
  const wait = () => {
    clearTimeout(timer);
    bar.hidden = false;
    announce(`The kernel deals ${data.nRounds} other rounds, and the rivals answer them.`);
    timer = setTimeout(() => { if (bar.isConnected) rest(SILENT); }, PATIENCE);
  };
  const ask = button("Another game", () => {
    if (!bar.hidden) return; // it is on its way
    wait();
    model.set("refused", "");
    model.set("wanted", data.seed + 1);
    model.save_changes();
  });
  bar.hidden = true;
  model.off("change:dealt"); // of the game before this
  model.on("change:dealt", () => { bar.value = model.get("dealt"); wait(); });
  model.off("change:refused");
  model.on("change:refused", () => { if (model.get("refused")) rest(`${model.get("refused")}.`); });
  return [ask, bar];
}

// A letter picks its picture while the reader is asked.
function letterOf(event, nWay) {
  const label = event.key.length === 1 ? LETTERS.indexOf(event.key.toUpperCase()) : -1;
  return label < nWay && !(event.ctrlKey || event.metaKey || event.altKey) ? label : -1;
}

function welcome(data, played) {
  return `${data.nRounds} rounds on ${data.data}, seed ${data.seed}. In each, one of ${data.nWay} pictures is the same `
    + "character as the query picture, by another hand. Your time is taken from when they appear."
    + (played ? ` You have played ${played} of the rounds.` : "");
}

function mount(el, spec, payload, model) {
  const data = unpack(spec, payload);
  const { load, keep } = keeper(data);
  const task = element("p", { class: "task", role: "status" });
  const stage = element("div");
  const controls = element("div", { class: "control" });
  const head = element("div", { class: "head" }, task, controls);
  const game = element("div", { class: "game", "data-lm-suppress-shortcuts": "true" }, head, stage);
  let [answers, begin, asked] = [load(), 0, false];
  const announce = (text) => { task.textContent = text; };
  const show = (text, things, ...buttons) => {
    announce(text);
    stage.replaceChildren(...things);
    controls.replaceChildren(...buttons);
  };
  const ask = () => {
    if (answers.length === data.nRounds) { finish(); return; }
    const round = `Round ${answers.length + 1} of ${data.nRounds}.`;
    show(`${round} Which picture is the same character? Click it, or press its letter.`, [board(data, answers, null, answer)]);
    stage.querySelector(".tiles").focus({ preventScroll: true }); // so that letters are heard
    asked = true;
    begin = performance.now();
  };
  const answer = (label) => {
    asked = false;
    answers = [...answers, [label, (performance.now() - begin) / 1000]];
    keep(answers);
    const truth = data.rows("truth")[answers.length - 1];
    const next = button(answers.length === data.nRounds ? "See the result" : "Next round", ask);
    const verdict = label === truth ? `${LETTERS[label]} is right.` : `It is ${LETTERS[truth]}, not ${LETTERS[label]}.`;
    show(`Round ${answers.length} of ${data.nRounds}. ${verdict}`, [board(data, answers, [label, truth])], next);
    next.focus({ preventScroll: true });
  };
  const anew = () => {
    answers = [];
    keep(answers);
    ask();
  };
  const finish = () => {
    const again = button("Play again", anew);
    const { outcome, things, save } = finalBoard(data, answers);
    show(outcome, things, save, again, ...(model ? anotherGame(data, model, announce) : []));
    again.focus({ preventScroll: true });
  };
  game.addEventListener("keydown", (event) => {
    const label = letterOf(event, data.nWay);
    if (asked && label >= 0) answer(label);
  });
  const reader = el.contains(document.activeElement); // has come from the game before this
  el.classList.add("mamlkit-explorer");
  el.replaceChildren(element("p", { class: "title" }, spec.title), game);
  const onward = answers.length < data.nRounds ? `Go on with round ${answers.length + 1}` : "See the result";
  const buttons = answers.length ? [button(onward, ask), button("Start anew", anew)] : [button("Start", ask)];
  show(welcome(data, answers.length), [], ...buttons);
  if (reader) buttons[0].focus({ preventScroll: true });
}
