// What every figure shares: its numbers unpacked, the controls, and the two ways into a page. A file beside this one
// defines mount(el, spec, payload, model): it fills the element; `model` is absent where there is no kernel.

// A copy of the bytes that a view of memory shows: a buffer of their own, as typed arrays need.
const copyOf = ({ buffer, byteOffset, byteLength }) => buffer.slice(byteOffset, byteOffset + byteLength);

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

function slider({ label, values }, moved) {
  const input = element("input", {
    type: "range", min: 0, max: values.length - 1, step: 1, "aria-label": label,
    "data-lm-suppress-shortcuts": "true", // else JupyterLab takes the arrow keys
  });
  const value = element("output");
  input.addEventListener("input", () => moved(Number(input.value)));
  const place = (at) => {
    input.value = at;
    input.setAttribute("aria-valuetext", values[at]);
    value.textContent = values[at];
  };
  return [element("label", { class: "control" }, element("span", { class: "name" }, label), input, value), place];
}

let groups = 0;

function choice({ label, values }, moved) {
  groups += 1;
  const name = `mamlkit-${groups}-${Math.random()}`; // radio buttons of one name belong together in the whole page
  const inputs = values.map((_, i) => {
    const input = element("input", { type: "radio", name, "data-lm-suppress-shortcuts": "true" });
    input.addEventListener("change", () => moved(i));
    return input;
  });
  const buttons = values.map((text, i) => element("label", { class: "choice" }, inputs[i], text));
  const group = element("div", { role: "radiogroup", "aria-label": label, class: "choices" }, ...buttons);
  const place = (at) => { inputs[at].checked = true; };
  return [element("div", { class: "control" }, element("span", { class: "name" }, label), group), place];
}

function button(text, pressed) {
  const made = element("button", { type: "button", "data-lm-suppress-shortcuts": "true" }, text);
  made.addEventListener("click", pressed);
  return made;
}

// In a widget box: anywidget calls this. A live figure gets new numbers, and maybe new words with them.
function render({ model, el }) {
  const draw = () => mount(el, { ...model.get("spec"), at: model.get("at") }, model.get("payload"), model);
  model.on("change:payload", draw);
  draw();
}

// In a page of its own, without a kernel: fill the boxes that Python wrote.
function mountAll(kind) {
  for (const el of document.querySelectorAll(`[data-mamlkit="${kind}"][data-payload]`)) {
    const { spec, payload } = el.dataset;
    el.removeAttribute("data-payload");
    mount(el, JSON.parse(spec), Uint8Array.from(atob(payload), (c) => c.charCodeAt(0)));
  }
}
