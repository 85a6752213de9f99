// A pad to draw one of the given characters on. It keeps strokes; the network gets side x side pixels of ink or none, as
// the pictures of glyphs are. With a kernel each change of the drawing goes to Python, which answers with probabilities;
// without one the pad still draws.
const PEN = 2; // pixels of the small picture
const ZOOM = 9;

function draw(context, strokes, zoom) {
  context.fillStyle = "#000"; // as the pictures of glyphs are: light ink on dark
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  Object.assign(context, { strokeStyle: "#fff", lineWidth: PEN * zoom, lineCap: "round", lineJoin: "round" });
  for (const [[x, y], ...rest] of strokes) {
    context.beginPath();
    context.moveTo(x * zoom, y * zoom);
    for (const [toX, toY] of [[x + 0.01, y], ...rest]) context.lineTo(toX * zoom, toY * zoom); // a dot is a short line
    context.stroke();
  }
}

// The drawing as the network gets it: one byte for each pixel, 255 where at least half of it is ink.
function pixelsOf(strokes, side) {
  const context = element("canvas", { width: side, height: side }).getContext("2d");
  draw(context, strokes, 1);
  const { data } = context.getImageData(0, 0, side, side);
  return Uint8Array.from({ length: side * side }, (_, i) => (data[4 * i] > 127 ? 255 : 0));
}

// Pointer, pen and touch: `changed` after each stroke.
function strokesOn(canvas, strokes, changed) {
  let pen = null;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const place = (offset, size) => (offset / size) * (canvas.width / ZOOM);
    return [place(event.clientX - box.left, box.width), place(event.clientY - box.top, box.height)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (pen !== null || event.button !== 0) return;
    event.preventDefault();
    pen = event.pointerId;
    canvas.setPointerCapture(pen);
    strokes.push([at(event)]);
    draw(canvas.getContext("2d"), strokes, ZOOM);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pen) return;
    strokes.at(-1).push(at(event));
    draw(canvas.getContext("2d"), strokes, ZOOM);
  });
  const end = (event) => {
    if (event.pointerId !== pen) return;
    pen = null;
    changed();
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
}

// What stands below the pad.
function sayAnswer(spec, drawn, model, shares) {
  if (!drawn) return spec.invitation;
  if (!model) return "Drawn. For an answer the pad needs its kernel: run this cell.";
  if (!shares.length) return "Waiting for the kernel ...";
  const absent = shares.filter((share) => !Number.isFinite(share)).length;
  if (absent) return `${absent} of the ${shares.length} probabilities are not finite (NaN or inf).`;
  const best = likeliest(shares);
  return `Most likely label ${best}, with ${percent(shares[best])}.`;
}

function mount(el, spec, payload, model) {
  const data = unpack(spec, payload);
  const { side, nWay } = spec;
  const strokes = [];
  const canvas = element("canvas", {
    class: "sheet", width: side * ZOOM, height: side * ZOOM, role: "img",
    "aria-label": "Drawing area, for mouse, pen or touch",
  });
  const small = element("div", { class: "small", "aria-hidden": "true" });
  const figure = element("div", { class: "answer", role: "img" });
  const note = element("p", { class: "note", role: "status" });
  const show = (shares) => {
    const svg = shape("svg", { viewBox: "0 0 420 262", "aria-hidden": "true" });
    classBars(svg, {
      left: 40, top: 24, width: 372, height: 164, pictures: data.rows("support"), side, channels: 1,
      probabilities: shares, truth: null, style: "series-0",
    });
    figure.replaceChildren(svg);
    note.textContent = sayAnswer(spec, strokes.length > 0, model, shares);
    figure.setAttribute("aria-label", `${nWay} characters to draw. ${note.textContent}`);
  };
  const redraw = () => {
    draw(canvas.getContext("2d"), strokes, ZOOM);
    const pixels = pixelsOf(strokes, side);
    small.replaceChildren(picture(pixels, side, 1), element("span", {}, "what the network gets"));
    show([]);
    return pixels;
  };
  const changed = () => {
    const pixels = redraw();
    model?.set("drawing", new DataView(strokes.length ? pixels.buffer : new ArrayBuffer(0)));
    model?.save_changes();
  };
  const undo = button("Undo stroke", () => { strokes.pop(); changed(); });
  const clear = button("Clear", () => { strokes.length = 0; changed(); });
  strokesOn(canvas, strokes, changed);
  model?.on("change:answer", () => {
    const { buffer, byteOffset, byteLength } = model.get("answer");
    show(strokes.length ? Array.from(new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength))) : []);
  });
  const left = element("div", {}, canvas, element("div", { class: "control" }, undo, clear), small);
  el.classList.add("mamlkit-explorer");
  el.replaceChildren(element("p", { class: "title" }, spec.title), element("div", { class: "pad" }, left, figure), note);
  redraw();
}
