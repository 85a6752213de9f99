// A training that the kernel runs: buttons go to it as messages, controls as `at`; what it answers is `said`. Up to four
// times a second it sends what was measured, all of it, as float32 in `numbers`. A file beside this one adds
// `const view = { draw(figure, numbers, data, ...at) }`: it fills the figure anew, and returns { words, count, warning }:
// what is shown, in words; how far it is; and what could not be shown.
const TOGGLE = { ready: ["Start", "play"], training: ["Pause", "pause"], paused: ["Resume", "play"] };
const RESTARTED = "The kernel was restarted: run this cell, or load this page, again.";
const SILENT = "The kernel does not answer: it is busy, or it was restarted; then run this cell, or load this page, again.";
const PATIENCE = 5000; // milliseconds

function controlsOf(spec, model) {
  const made = spec.controls.map((control, i) => (control.kind === "choice" ? choice : slider)(control, (place) => {
    model.set("at", model.get("at").map((old, j) => (j === i ? place : old)));
    model.save_changes();
  }));
  const place = () => made.forEach(([, put], i) => put(model.get("at")[i]));
  model.on("change:at", place);
  place();
  return made.map(([row]) => row);
}

// Tell when the kernel says nothing for too long: `wait` where it should answer, `end` where it has.
function patience(silent) {
  let timer;
  const end = () => clearTimeout(timer);
  const wait = () => { end(); timer = setTimeout(silent, PATIENCE); };
  return { wait, end };
}

function mount(el, spec, payload, model) {
  const data = unpack(spec, payload);
  const figure = element("div", { role: "img" });
  const [count, absent] = [element("p", { class: "count" }), element("p", { class: "warning" })];
  const note = element("p", { class: "note", role: "status" });
  const put = (text) => { if (note.textContent !== text) note.textContent = text; };
  const { wait, end } = patience(() => put(SILENT));
  const ask = (kind) => { model.send({ kind }); wait(); };
  const toggle = button("", () => ask(TOGGLE[model.get("stage")][1]));
  const again = button("Start over", () => ask("again"));
  const tell = () => {
    const stage = model.get("stage");
    toggle.textContent = (TOGGLE[stage] ?? TOGGLE.ready)[0];
    toggle.disabled = !TOGGLE[stage];
    put(model.get("said"));
    if (stage === "training") wait(); else end(); // while it trains there are new numbers all the time
  };
  const draw = () => {
    const numbers = {};
    for (const [name, bytes] of Object.entries(model.get("numbers"))) numbers[name] = new Float32Array(copyOf(bytes));
    const { words, count: now, warning } = view.draw(figure, numbers, data, ...model.get("at"));
    figure.setAttribute("aria-label", words);
    count.textContent = now;
    absent.textContent = warning;
    tell();
  };
  const lose = () => { // what is drawn stays
    end();
    put(RESTARTED);
    el.querySelectorAll("button, input").forEach((control) => { control.disabled = true; });
  };
  model.on("change:numbers", draw);
  model.on("change:at", draw);
  model.on("change:stage", tell);
  model.on("change:said", tell);
  model.on("comm_live_update", lose); // after a restart of the kernel; there is no way back for this model
  el.classList.add("mamlkit-explorer", ...spec.classes);
  el.replaceChildren(
    element("p", { class: "title" }, spec.title), figure, count, absent,
    element("div", { class: "control" }, toggle, again), ...controlsOf(spec, model), note);
  draw();
}
