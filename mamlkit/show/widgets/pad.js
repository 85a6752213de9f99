// The drawing pad. What is drawn lives here, in the browser, and in its local storage, so that neither a kernel that
// restarts nor a page that is loaded again loses any of it. The kernel is asked after each stroke, and answers with the
// probability of each class after every inner step; without a kernel the pad still draws.
const AREA = 28 * 28;
const ROOM = 104; // for the name of a class, in units of the picture
const SQUEEZED = { textLength: ROOM, lengthAdjust: "spacingAndGlyphs" };
const clone = (value) => JSON.parse(JSON.stringify(value));
const isEmpty = (sheet) => !sheet.query.length && sheet.classes.every(({ strokes }) => !strokes.length);
const sameClasses = (one, other) => JSON.stringify(one.classes) === JSON.stringify(other.classes);

// What was drawn on this page before, or null.
function storage(spec) {
  const key = `mamlkit-pad ${location.pathname} ${spec.title}`;
  const isPlace = (value) => Number.isInteger(value) && value >= 0 && value < GRID;
  const isDrawing = (strokes) => Array.isArray(strokes) && strokes.every((stroke) => Array.isArray(stroke) && stroke.length
    && stroke.every((point) => Array.isArray(point) && point.length === 2 && point.every(isPlace)));
  const isClass = (each) => typeof each?.name === "string" && [...each.name].length <= spec.longestName && isDrawing(each.strokes);
  const isSheet = (kept) => Array.isArray(kept?.classes) && kept.classes.length > 0 && kept.classes.length <= spec.most
    && kept.classes.every(isClass) && isDrawing(kept.query);
  const read = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(key));
      return isSheet(kept) && !isEmpty(kept) ? kept : null;
    } catch { return null; }
  };
  const write = (sheet) => {
    try { localStorage.setItem(key, JSON.stringify(sheet)); return true; } catch { return false; } // it is full, or private
  };
  return { read, write };
}

// For each class its picture, its name, and a bar for every inner step; the step in hand is framed. `answer` has the
// pictures, and maybe the shares, or is null. Returns how many shares are not finite.
function stepBars(figure, classes, answer, step, steps) {
  const n = classes.length;
  const [left, top, wide, high] = [230, 26, 56, Math.max(34, Math.min(58, 320 / n))];
  const [right, size] = [left + wide * (steps + 1), high - 6];
  const svg = shape("svg", { viewBox: `0 0 ${right + 64} ${top + high * n + 22}`, "aria-hidden": "true" });
  const seen = (number, box) => {
    const pixels = answer?.pictures.subarray(number * AREA, (number + 1) * AREA);
    if (pixels?.length) svg.append(still(pixels, 28, 1, box));
  };
  for (let k = 0; k <= steps; k += 1) {
    const x = left + (k + 0.5) * wide;
    svg.append(shape("text", { x, y: 16, "text-anchor": "middle" }, k ? `step ${k}` : "start"));
  }
  svg.append(shape("text", { x: 28, y: 16, "text-anchor": "middle" }, "query"));
  seen(n, { x: 0, y: top + 3, width: 56, height: 56 });
  const shares = answer?.shares;
  let absent = 0;
  classes.forEach(({ name }, label) => {
    const [y, foot] = [top + label * high, top + (label + 1) * high - 3];
    svg.append(shape("text", { class: "label", x: 168, y: y + high / 2 + 4, "text-anchor": "end" }, name));
    seen(label, { x: 176, y: y + 3, width: size, height: size });
    svg.append(shape("line", { class: "grid", x1: left, x2: right, y1: foot, y2: foot }));
    for (let k = 0; k <= steps && shares; k += 1) {
      const [share, x] = [shares[k * n + label], left + k * wide + 8];
      if (!Number.isFinite(share)) { absentBox(svg, x, y + 3, wide - 16, size); absent += 1; continue; }
      const style = `bar series-0${k === step ? "" : " pale"}`;
      svg.append(shape("rect", { class: style, x, y: foot - share * size, width: wide - 16, height: share * size }));
    }
    if (shares) svg.append(shape("text", { x: right + 8, y: y + high / 2 + 4 }, percent(shares[step * n + label])));
  });
  svg.append(shape("rect", { class: "bar outline", x: left + step * wide + 2, y: top, width: wide - 4, height: high * n }));
  figure.replaceChildren(svg);
  for (const name of svg.querySelectorAll(".label")) { // a long one is squeezed beside the picture of the query
    if (name.getComputedTextLength() > ROOM) Object.entries(SQUEEZED).forEach(([key, value]) => name.setAttribute(key, value));
  }
  return absent;
}

function download(text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const name = `drawings-${Math.random().toString(36).slice(2, 7)}.json`; // a whole class puts them into one folder
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
  return name;
}

// The buttons that choose what is drawn on: each class, and the query. They are kept where their number stays, so that
// a click that begins on one ends on it.
function makeSlots(chosen) {
  const slots = element("div", { class: "slots", role: "group", "aria-label": "What to draw" });
  const make = (_, i) => {
    const made = button("", () => chosen(i));
    made.append(element("canvas", { width: 56, height: 56 }), element("span"));
    return made;
  };
  const show = (sheet, slot, fixed) => {
    const all = [...sheet.classes, { name: "query", strokes: sheet.query }];
    if (slots.children.length !== all.length) slots.replaceChildren(...all.map(make));
    all.forEach(({ name, strokes }, i) => {
      const made = slots.children[i];
      const [small, text] = made.children;
      paintStrokes(small, strokes);
      text.textContent = name;
      made.setAttribute("aria-pressed", String(i === slot));
      made.setAttribute("aria-label", i < sheet.classes.length ? `class ${name}` : "query");
      made.disabled = fixed && i < sheet.classes.length;
    });
  };
  return [slots, show];
}

// What the reader has drawn and how it changes: every change can be undone, is kept, and is told to `changed`.
function makeDrawings(spec, changed) {
  const store = storage(spec);
  const kept = store.read();
  const given = clone(spec.sheet);
  const sheet = kept && (spec.fixed ? { ...given, query: kept.query } : kept);
  const restored = Boolean(sheet && !isEmpty({ ...sheet, classes: spec.fixed ? [] : sheet.classes }));
  const drawings = { sheet: restored ? sheet : given, slot: spec.fixed ? given.classes.length : 0, restored, kept: true };
  const past = restored ? [clone(given)] : [];
  const settle = () => {
    drawings.slot = Math.min(drawings.slot, drawings.sheet.classes.length);
    drawings.kept = store.write(drawings.sheet);
    changed();
  };
  drawings.strokes = () => (drawings.sheet.classes[drawings.slot] ?? { strokes: drawings.sheet.query }).strokes;
  drawings.isQuery = () => drawings.slot === drawings.sheet.classes.length;
  drawings.canUndo = () => past.length > 0;
  drawings.change = (work) => {
    const before = clone(drawings.sheet);
    work(drawings.sheet);
    if (JSON.stringify(before) !== JSON.stringify(drawings.sheet)) past.push(before);
    settle();
  };
  drawings.undo = () => {
    drawings.sheet = past.pop();
    drawings.restored &&= past.length > 0;
    settle();
  };
  return drawings;
}

function freeName(sheet) {
  const names = sheet.classes.map(({ name }) => name);
  return Array.from({ length: names.length + 1 }, (_, i) => String(i + 1)).find((name) => !names.includes(name));
}

// Buttons and fields below the sheet; `show` follows the drawings.
function makeTools(spec, drawings, ask, say) {
  const { change } = drawings;
  const undo = button("Undo", () => drawings.undo());
  const clear = button("Clear", () => change(() => { drawings.strokes().length = 0; }));
  const all = button("Clear all", () => change((sheet) => {
    [...sheet.classes.map(({ strokes }) => strokes), sheet.query].forEach((strokes) => { strokes.length = 0; });
    drawings.slot = 0;
  }));
  const more = button("Add a class", () => change((sheet) => {
    sheet.classes.push({ name: freeName(sheet), strokes: [] });
    drawings.slot = sheet.classes.length - 1;
  }));
  const fewer = button("Remove it", () => change((sheet) => {
    sheet.classes.splice(drawings.slot, 1);
    drawings.slot = Math.max(0, drawings.slot - 1);
  }));
  const name = element("input", {
    type: "text", maxlength: spec.longestName, size: 10, "aria-label": "Name of this class", "data-lm-suppress-shortcuts": "true",
  });
  let named = 0; // what is typed belongs to this class, also if another one is chosen before it is done
  name.addEventListener("change", () => change((sheet) => {
    const text = name.value.trim();
    if (text && sheet.classes[named]) sheet.classes[named].name = text;
  }));
  const file = element("input", { type: "file", accept: ".json,application/json", hidden: "" });
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    if (chosen.size > spec.mostBytes) say(`${chosen.name} has ${chosen.size} bytes; a sheet of drawings has at most ${spec.mostBytes}.`);
    else ask({ kind: "import", text: await chosen.text(), name: chosen.name });
    file.value = "";
  });
  const examples = button("Fill with examples", () => ask({ kind: "example" }));
  const exported = button("Export", () => ask({ kind: "export", sheet: clone(drawings.sheet) }));
  const free = spec.fixed ? [] : [all, more, fewer, ...(spec.examples ? [examples] : [])];
  const buttons = [undo, clear, ...free, exported, ...(spec.fixed ? [] : [button("Import", () => file.click()), file])];
  const field = spec.fixed ? [] : [element("label", { class: "control" }, "name", name)];
  const show = () => {
    const { classes } = drawings.sheet;
    const own = classes[drawings.slot];
    if (document.activeElement !== name || named !== drawings.slot) name.value = own?.name ?? "";
    named = drawings.slot;
    name.disabled = !own;
    fewer.disabled = !own || classes.length <= 2;
    more.disabled = classes.length >= spec.most;
    undo.disabled = !drawings.canUndo();
    all.disabled = isEmpty(drawings.sheet);
  };
  return [element("div", {}, ...field, element("div", { class: "buttons" }, ...buttons)), show];
}

// What the reader hears of an answer.
function sayShares({ sheet, start, shares }, step) {
  const n = sheet.classes.length;
  const row = shares.subarray(step * n, (step + 1) * n);
  if (!row.some(Number.isFinite)) return "The probabilities are not finite (NaN or inf).";
  const best = likeliest(row);
  return `${start}, ${step ? `after step ${step}` : "before any step"}: most likely ${sheet.classes[best].name}, with ${percent(row[best])}.`;
}

function readAnswer(question, [shares, pictures]) {
  return { ...question, pictures: new Uint8Array(copyOf(pictures)), shares: shares.byteLength ? new Float32Array(copyOf(shares)) : null };
}

function mount(el, spec, payload, model) {
  const at = { start: spec.starts.length - 1, norm: 0, step: spec.steps };
  let [answer, newest, down, waiting] = [null, null, false, []];
  const canvas = element("canvas", { class: "sheet", width: 480, height: 480, role: "img" });
  const figure = element("div", { class: "answer", role: "img" });
  const before = element("p", { class: "before" });
  const note = element("p", { class: "note", role: "status" });
  const say = (text) => { note.textContent = text; };

  const showAnswer = () => {
    const { classes } = drawings.sheet;
    const absent = stepBars(figure, classes, answer, at.step, spec.steps);
    if (answer?.shares) say(sayShares(answer, at.step) + (absent ? ` ${absent} probabilities are not finite (NaN or inf).` : ""));
    figure.setAttribute("aria-label", `${classes.length} classes. ${note.textContent}`);
  };
  // Ask the kernel of all that is drawn; empty classes are left for later. What is shown until it answers is never of
  // other drawings than these.
  const question = () => {
    const sheet = clone(drawings.sheet);
    const n = sheet.classes.length;
    newest = { kind: "ask", sheet, start: spec.starts[at.start], norm: spec.norms[at.norm] };
    answer = answer && sameClasses(answer.sheet, sheet) ? { sheet, pictures: answer.pictures.subarray(0, n * AREA) } : null;
    const empty = sheet.classes.filter(({ strokes }) => !strokes.length).map(({ name }) => name);
    if (empty.length) say(`Draw one example of each character; ${empty.join(", ")} ${empty.length > 1 ? "are" : "is"} still empty.`);
    else ask(newest);
  };
  const show = () => {
    const { sheet, slot } = drawings;
    paintStrokes(canvas, drawings.strokes());
    canvas.setAttribute("aria-label", `Drawing area for ${drawings.isQuery() ? "the query" : `class ${sheet.classes[slot].name}`}`);
    showSlots(sheet, slot, spec.fixed);
    showTools();
    before.textContent = drawings.restored ? "This is what you drew here before; Undo takes it away." : "";
    showAnswer();
  };
  const heard = (reply, buffers, asked) => {
    const kept = drawings.kept ? "What you drew is kept" : "The browser does not keep what you drew";
    if (reply.kind === "silent") { say(`The kernel does not answer. ${kept}: run this cell, or load this page, again.`); return; }
    if (asked.kind === "ask" && asked !== newest) return; // it is of what was drawn before
    if (reply.kind === "none") say(`For an answer the pad needs its kernel: run this cell. ${kept}.`);
    else if (reply.said) say(reply.said);
    else if (reply.kind === "export") say(`Exported as ${download(reply.text)}, ${reply.text.length} characters.`);
    else if (reply.kind === "ask") {
      answer = readAnswer(asked, buffers);
      if (!answer.shares) say(`Now draw the query: one of your ${asked.sheet.classes.length} characters again.`);
      showAnswer();
    } else lifted(() => drawings.change((sheet) => { Object.assign(sheet, reply.sheet); drawings.slot = sheet.classes.length; }));
  };
  // Do something when no pen is down.
  const lifted = (work) => { if (down) waiting.push(work); else work(); };
  const ask = makeAsker(model, heard);
  const drawings = makeDrawings(spec, () => { question(); show(); });
  const [slots, showSlots] = makeSlots((i) => { drawings.slot = i; show(); });
  const [tools, showTools] = makeTools(spec, drawings, ask, say);
  drawOn(canvas, drawings.strokes, () => { [down, slots.inert, tools.inert] = [true, true, true]; }, (stroke) => {
    [down, slots.inert, tools.inert] = [false, false, false];
    drawings.change(() => { drawings.strokes().push(stroke); });
    waiting.splice(0).forEach((work) => work());
  });
  const control = (label, values, key, again) => {
    const [row, place] = (key === "step" ? slider : choice)({ label, values }, (i) => {
      at[key] = i;
      place(i);
      if (again) question();
      showAnswer();
    });
    place(at[key]);
    return row;
  };
  const steps = Array.from({ length: spec.steps + 1 }, (_, k) => `${k} of ${spec.steps}`);
  el.classList.add("mamlkit-explorer", "wide");
  el.replaceChildren(element("p", { class: "title" }, spec.title), element("div", { class: "pad" },
    element("div", { class: "left" }, slots, canvas, element("div", { class: "tools" }, tools, before)),
    element("div", { class: "right" }, note, figure, control("inner step", steps, "step"),
      ...(spec.starts.length > 1 ? [control("start", spec.starts, "start", true)] : []),
      control("statistics", spec.norms, "norm", true))));
  question();
  show();
}
