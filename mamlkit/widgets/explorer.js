// What every explorer shares. A file beside this one adds `const view = { draw(figure, data, step) }`; draw returns
// the number of values that it could not show. All numbers are here from the start: nothing is asked of a kernel.

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

const shape = (tag, attributes = {}, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

// The bytes as typed arrays: data.rows(name, i, j, ...) is the slice name[i, j, ...], flat.
function unpack(spec, payload) {
  const kinds = { f4: Float32Array, u1: Uint8Array };
  const arrays = {};
  for (const [name, { kind, shape, offset }] of Object.entries(spec.arrays)) {
    const size = shape.reduce((a, b) => a * b, 1) * kinds[kind].BYTES_PER_ELEMENT;
    const first = payload.byteOffset + offset;
    arrays[name] = { shape, values: new kinds[kind](payload.buffer.slice(first, first + size)) };
  }
  const rows = (name, ...index) => {
    const { shape, values } = arrays[name];
    let [first, size] = [0, values.length];
    index.forEach((i, axis) => { size /= shape[axis]; first += i * size; });
    return values.subarray(first, first + size);
  };
  return { ...spec, rows };
}

// A panel with axes inside an SVG: {x, y} map a value to a pixel; line and mark draw, and leave gaps at NaN and inf.
function panel(svg, { left, top, width, height, xRange, yRange, xTicks, yTicks, xLabel, yLabel, log = false }) {
  const scaled = log ? Math.log10 : (value) => value;
  const [low, high] = yRange.map(scaled);
  const x = (value) => ((value - xRange[0]) / (xRange[1] - xRange[0])) * width;
  const y = (value) => height - ((scaled(value) - low) / (high - low)) * height;
  for (const tick of yTicks) {
    const at = top + y(tick);
    svg.append(shape("line", { class: "grid", x1: left, x2: left + width, y1: at, y2: at }));
    svg.append(shape("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, String(tick)));
  }
  for (const tick of xTicks) {
    svg.append(shape("text", { x: left + x(tick), y: top + height + 16, "text-anchor": "middle" }, String(tick)));
  }
  svg.append(shape("rect", { class: "frame", x: left, y: top, width, height }));
  svg.append(shape("text", { x: left + width / 2, y: top + height + 33, "text-anchor": "middle" }, xLabel));
  svg.append(shape("text", { x: left, y: top - 8 }, yLabel));
  const inside = shape("svg", { x: left, y: top, width, height, viewBox: `0 0 ${width} ${height}` });
  svg.append(inside); // an inner svg clips what lies outside its box
  const line = (xs, ys, style) => {
    let [path, gaps, pen] = ["", 0, "M"];
    ys.forEach((value, i) => {
      const at = y(value);
      if (!Number.isFinite(at)) { gaps += 1; pen = "M"; return; }
      path += `${pen}${x(xs[i]).toFixed(1)} ${Math.max(-1e4, Math.min(1e4, at)).toFixed(1)}`;
      pen = "L";
    });
    inside.append(shape("path", { class: `line ${style}`, d: path }));
    return gaps;
  };
  const mark = (px, py, style, square = false) => {
    const [cx, cy] = [x(px), y(py)];
    if (!Number.isFinite(cy)) return;
    inside.append(square
      ? shape("rect", { class: `mark ${style}`, x: cx - 5, y: cy - 5, width: 10, height: 10 })
      : shape("circle", { class: `mark ${style}`, cx, cy, r: 5 }));
  };
  return { line, mark };
}

function mount(el, spec, payload, model) {
  const data = unpack(spec, payload);
  const figure = element("div", { role: "img" });
  const slider = element("input", {
    type: "range", min: 0, max: spec.values.length - 1, step: 1, "aria-label": spec.label,
    "data-lm-suppress-shortcuts": "true", // else JupyterLab takes the arrow keys
  });
  const value = element("output");
  const note = element("p", { class: "note", role: "status" });
  const show = (step) => {
    slider.value = step;
    slider.setAttribute("aria-valuetext", spec.values[step]);
    value.textContent = spec.values[step];
    figure.setAttribute("aria-label", spec.descriptions[step]);
    figure.replaceChildren();
    const absent = view.draw(figure, data, step);
    note.textContent = absent ? `${absent} values are not finite (NaN or inf); they are left out as gaps.` : "";
  };
  slider.addEventListener("input", () => {
    show(Number(slider.value));
    model?.set("step", Number(slider.value));
    model?.save_changes();
  });
  model?.on("change:step", () => show(model.get("step")));
  el.classList.add("mamlkit-explorer");
  el.replaceChildren(
    element("p", { class: "title" }, spec.title),
    figure,
    element("label", { class: "control" }, spec.label, slider, value),
    note,
  );
  show(spec.first);
}

// In a widget box: anywidget calls this.
function render({ model, el }) {
  mount(el, { ...model.get("spec"), first: model.get("step") }, model.get("payload"), model);
}

// In a page of its own, without a kernel: fill the boxes that Python wrote.
function mountAll(kind) {
  for (const el of document.querySelectorAll(`[data-mamlkit="${kind}"][data-payload]`)) {
    const { spec, payload } = el.dataset;
    el.removeAttribute("data-payload");
    mount(el, JSON.parse(spec), Uint8Array.from(atob(payload), (c) => c.charCodeAt(0)));
  }
}
