// The drawing pad. What is drawn lives here, in the browser, and in its local storage, so that neither a kernel that
// restarts nor a page that is loaded again loses any of it. The kernel is asked after each stroke, and answers with the
// probability of each class after every inner step; without a kernel the pad still draws.
const PATIENCE = 10000; // milliseconds until a kernel that does not answer is told of

// One question at a time: while one is open, the newest waits.
function makeAsker(model, heard) {
  let [open, waiting, number] = [null, null, 0];
  const send = (question) => {
    number += 1;
    const timer = setTimeout(() => { open.silent = true; heard({ kind: "silent" }, []); }, PATIENCE);
    open = { number, timer, silent: false };
    try { model.send({ ...question, number }); } catch { /* the silence tells */ }
  };
  model?.on("msg:custom", (reply, buffers) => {
    if (reply.number !== open?.number) return;
    clearTimeout(open.timer);
    open = null;
    heard(reply, buffers);
    if (waiting) { const next = waiting; waiting = null; send(next); }
  });
  return (question) => {
    if (!model) heard({ kind: "none" }, []);
    else if (open && !open.silent) waiting = question;
    else send(question);
  };
}

// What was drawn on this page before, or null.
function storage(spec) {
  const key = `mamlkit-pad ${location.pathname} ${spec.title}`;
  return {
    read: () => { try { return JSON.parse(localStorage.getItem(key)); } catch { return null; } },
    write: (sheet) => { try { localStorage.setItem(key, JSON.stringify(sheet)); } catch { /* private mode */ } },
  };
}

const isEmpty = (sheet) => !sheet.query.length && sheet.classes.every(({ strokes }) => !strokes.length);

// For each class its picture, its name, and a bar for every inner step; the step in hand is framed.
function stepBars(figure, { classes, pictures, shares, step, steps }) {
  const [left, top, wide, high] = [196, 26, 56, Math.max(34, Math.min(58, 320 / classes.length))];
  const svg = shape("svg", { viewBox: `0 0 ${left + wide * (steps + 1) + 60} ${top + high * classes.length + 22}`, "aria-hidden": "true" });
  for (let k = 0; k <= steps; k += 1) {
    const x = left + (k + 0.5) * wide;
    svg.append(shape("text", { x, y: 16, "text-anchor": "middle" }, k ? `step ${k}` : "start"));
  }
  // What the network gets of class `number`, or of the query, which comes last.
  const seen = (number, box) => {
    const pixels = pictures?.subarray(number * 784, (number + 1) * 784);
    if (!pixels?.length) return;
    svg.append(shape("image", { href: picture(pixels, 28, 1).toDataURL(), style: "image-rendering: pixelated", ...box }));
  };
  svg.append(shape("text", { x: 28, y: 16, "text-anchor": "middle" }, "query"));
  seen(classes.length, { x: 0, y: top + 3, width: 56, height: 56 });
  let absent = 0;
  classes.forEach(({ name }, label) => {
    const y = top + label * high;
    const size = high - 6;
    svg.append(shape("text", { x: 134, y: y + high / 2 + 4, "text-anchor": "end" }, name));
    seen(label, { x: 142, y: y + 3, width: size, height: size });
    svg.append(shape("line", { class: "grid", x1: left, x2: left + wide * (steps + 1), y1: y + high - 3, y2: y + high - 3 }));
    for (let k = 0; k <= steps && shares; k += 1) {
      const share = shares[k * classes.length + label];
      const x = left + k * wide;
      if (!Number.isFinite(share)) { absentBox(svg, x + 8, y + 3, wide - 16, size); absent += 1; continue; }
      const style = k === step ? "series-0" : "series-0 pale";
      svg.append(shape("rect", { class: `bar ${style}`, x: x + 8, y: y + high - 3 - share * size, width: wide - 16, height: share * size }));
    }
    if (!shares) return;
    const said = `${Math.round(100 * shares[step * classes.length + label])} %`;
    svg.append(shape("text", { x: left + wide * (steps + 1) + 8, y: y + high / 2 + 4 }, said));
  });
  svg.append(shape("rect", { class: "bar outline", x: left + step * wide + 2, y: top, width: wide - 4, height: high * classes.length }));
  figure.replaceChildren(svg);
  return absent;
}

function download(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// What the reader hears of the last answer.
function sayShares({ sheet, shares, step, starts, start }) {
  const n = sheet.classes.length;
  const row = Array.from(shares.subarray(step * n, (step + 1) * n));
  const best = row.indexOf(Math.max(...row.filter(Number.isFinite)));
  if (best < 0) return "The probabilities are not finite (NaN or inf).";
  return `${starts[start]}, ${step ? `after step ${step}` : "before any step"}: most likely ${sheet.classes[best].name}, with `
    + `${Math.round(100 * row[best])} %.`;
}

function mount(el, spec, payload, model) {
  const store = storage(spec);
  const kept = store.read();
  const restored = !spec.fixed && kept && !isEmpty(kept);
  const pad = {
    sheet: restored ? kept : structuredClone(spec.sheet), slot: spec.fixed ? spec.sheet.classes.length : 0, past: [],
    starts: spec.starts, start: spec.starts.length - 1, norm: 0, step: spec.steps, shares: null, pictures: null,
  };
  const strokes = () => (pad.sheet.classes[pad.slot]?.strokes ?? pad.sheet.query);
  const canvas = element("canvas", { class: "sheet", width: 480, height: 480, role: "img", tabindex: 0 });
  const slots = element("div", { class: "slots", role: "group", "aria-label": "What to draw" });
  const figure = element("div", { class: "answer", role: "img" });
  const note = element("p", { class: "note", role: "status" });
  const say = (text) => { note.textContent = text; };

  const showAnswer = () => {
    const { sheet, pictures, shares, step } = pad;
    stepBars(figure, { classes: sheet.classes, pictures, shares, step, steps: spec.steps });
    const words = shares ? sayShares(pad) : "";
    if (words) say(words);
    figure.setAttribute("aria-label", `${sheet.classes.length} classes. ${words || note.textContent}`);
  };
  const showSlots = () => {
    slots.replaceChildren(...[...pad.sheet.classes, { name: "query", strokes: pad.sheet.query }].map((each, i) => {
      const small = element("canvas", { width: 56, height: 56 });
      paintStrokes(small, each.strokes);
      const made = button("", () => { pad.slot = i; show(); slots.children[i].focus(); });
      made.append(small, element("span", {}, each.name));
      made.setAttribute("aria-pressed", String(i === pad.slot));
      made.setAttribute("aria-label", i < pad.sheet.classes.length ? `class ${each.name}` : "query");
      made.disabled = spec.fixed && i < pad.sheet.classes.length;
      return made;
    }));
  };
  const show = () => {
    const query = pad.slot === pad.sheet.classes.length;
    paintStrokes(canvas, strokes());
    canvas.setAttribute("aria-label", `Drawing area for ${query ? "the query" : `class ${pad.sheet.classes[pad.slot].name}`}`);
    name.value = query ? "" : pad.sheet.classes[pad.slot].name;
    name.disabled = query || spec.fixed;
    fewer.disabled = query || pad.sheet.classes.length <= 2;
    more.disabled = pad.sheet.classes.length >= spec.most;
    undo.disabled = !pad.past.length;
    showSlots();
    showAnswer();
  };
  const ask = makeAsker(model, (reply, buffers) => {
    if (reply.kind === "silent") say("The kernel does not answer. What you drew is kept: run this cell again.");
    else if (reply.kind === "none") say("Drawn. For an answer the pad needs its kernel: run this cell.");
    else if (reply.said) say(reply.said);
    else if (reply.kind === "export") { download(reply.text, "drawings.json"); say(`Exported: drawings.json, ${reply.text.length} characters.`); }
    else if (reply.kind === "ask") heardShares(buffers);
    else { change(() => { pad.sheet = reply.sheet; pad.slot = reply.sheet.classes.length; }); }
  });
  const heardShares = ([shares, pictures]) => {
    const bytes = ({ buffer, byteOffset, byteLength }) => buffer.slice(byteOffset, byteOffset + byteLength);
    pad.pictures = new Uint8Array(bytes(pictures));
    pad.shares = shares.byteLength ? new Float32Array(bytes(shares)) : null;
    if (!pad.shares) say(`Now draw the query: one of your ${pad.sheet.classes.length} characters again.`);
    showAnswer();
  };
  // Ask the kernel of all that is drawn so far; empty classes are left for later.
  const question = () => {
    const empty = pad.sheet.classes.filter((each) => !each.strokes.length);
    pad.shares = null;
    if (empty.length) {
      pad.pictures = null;
      say(`Draw one example of each character; ${empty.map(({ name }) => name).join(", ")} ${empty.length > 1 ? "are" : "is"} still empty.`);
    } else ask({ kind: "ask", sheet: pad.sheet, start: spec.starts[pad.start], norm: spec.norms[pad.norm] });
  };
  const changed = () => { store.write(pad.sheet); question(); show(); };
  // Remember how it was, so that Undo brings it back, whatever the change.
  const change = (work) => { pad.past.push(JSON.stringify(before)); work(); before = structuredClone(pad.sheet); changed(); };
  let before = structuredClone(pad.sheet);
  const stroke = () => { change(() => {}); };

  const undo = button("Undo", () => {
    pad.sheet = JSON.parse(pad.past.pop());
    pad.slot = Math.min(pad.slot, pad.sheet.classes.length);
    before = structuredClone(pad.sheet);
    changed();
  });
  const clear = button("Clear", () => change(() => { strokes().length = 0; }));
  const freeName = () => Array.from({ length: spec.most + 1 }, (_, i) => String(i + 1)).find((text) => pad.sheet.classes.every((each) => each.name !== text));
  const more = button("Add a class", () => change(() => {
    pad.sheet.classes.push({ name: freeName(), strokes: [] });
    pad.slot = pad.sheet.classes.length - 1;
  }));
  const fewer = button("Remove it", () => change(() => { pad.sheet.classes.splice(pad.slot, 1); pad.slot = Math.max(0, pad.slot - 1); }));
  const name = element("input", { type: "text", maxlength: 12, size: 10, "aria-label": "Name of this class", "data-lm-suppress-shortcuts": "true" });
  name.addEventListener("change", () => change(() => { if (name.value.trim()) pad.sheet.classes[pad.slot].name = name.value.trim(); }));
  const file = element("input", { type: "file", accept: ".json,application/json", hidden: "" });
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    if (chosen.size > spec.mostBytes) say(`${chosen.name} has ${chosen.size} bytes; a sheet of drawings has at most ${spec.mostBytes}.`);
    else ask({ kind: "import", text: await chosen.text(), name: chosen.name });
    file.value = "";
  });
  const buttons = [
    undo, clear, ...(spec.fixed ? [] : [more, fewer]), ...(spec.examples ? [button("Fill with examples", () => ask({ kind: "example" }))] : []),
    button("Export", () => ask({ kind: "export", sheet: pad.sheet })),
    ...(spec.fixed ? [] : [button("Import", () => file.click()), file]),
  ];
  const control = (label, values, key, again) => {
    const kind = key === "step" ? slider : choice;
    const [row, place] = kind({ label, values }, (at) => { pad[key] = at; place(at); if (again) question(); showAnswer(); });
    place(pad[key]);
    return row;
  };
  drawOn(canvas, strokes, stroke);
  const named = element("label", { class: "control" }, "name", name);
  const left = element("div", { class: "left" }, slots, canvas, ...(spec.fixed ? [] : [named]), element("div", { class: "buttons" }, ...buttons));
  const steps = Array.from({ length: spec.steps + 1 }, (_, k) => `${k} of ${spec.steps}`);
  const right = element("div", { class: "right" }, note, figure, control("inner step", steps, "step"),
    ...(spec.starts.length > 1 ? [control("start", spec.starts, "start", true)] : []),
    control("statistics", spec.norms, "norm", true));
  el.classList.add("mamlkit-explorer", "wide");
  el.replaceChildren(element("p", { class: "title" }, spec.title), element("div", { class: "pad" }, left, right));
  question();
  show();
  if (restored) say("This is what you drew here before. Clear or Undo as you like.");
}
