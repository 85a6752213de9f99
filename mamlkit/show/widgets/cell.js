// One cell of the atlas, trained before the reader's eyes. Left, the committed maps of plain MAML and of the chosen
// method, with a mark for each training that was finished here: marks [n, 5] (network, method, steps, rate, died).
const MARKS = ["○", "✕"]; // alive, dead

// The marks on the map of a network and a method.
function marksOf(svg, marks, { left, top, steps, rates }, network, method) {
  const [wide, high] = [192 / rates, 108 / steps];
  const counts = {};
  for (let i = 0; i < marks.length; i += 5) {
    const [n, m, k, r, died] = marks.subarray(i, i + 5);
    if (n !== network || m !== method) continue;
    const key = `${k} ${r}`;
    counts[key] = (counts[key] ?? 0) + 1;
    const x = left + r * wide + 5 + 11 * (counts[key] - 1);
    const y = top + (steps - 1 - k) * high + 13;
    svg.append(shape("text", { x, y, class: "mark-text", "text-anchor": "start" }, MARKS[died]));
  }
}

function drawCell(figure, numbers, data, network, method, k, r) {
  const [networks, methods, steps, rates] = data.controls.map((control) => control.values);
  const svg = shape("svg", { viewBox: "0 0 700 410", "aria-hidden": "true" });
  const { runs, total } = data;
  const [was, mode, ...place] = numbers.cell; // what is being trained
  const map = (m, top, title) => {
    atlasMap(svg, {
      left: 34, top, title, runs, steps, rates, chosen: [k, r],
      dead: data.rows("dead", network, m), accuracy: data.rows("accuracy", network, m),
    });
    marksOf(svg, numbers.marks, { left: 34, top, steps: steps.length, rates: rates.length }, network, m);
  };
  map(0, 36, `${methods[0]}: dead runs · accuracy (%)`);
  if (method !== 0) map(method, 250, methods[method]);
  const [loss, norm] = [Array.from(numbers.loss), Array.from(numbers.grad_norm)];
  course(svg, { left: 300, top: 36, width: 150, values: loss, total, label: "meta-loss (nats)" });
  course(svg, { left: 300, top: 250, width: 150, values: norm, total, label: "norm of the meta-gradient" });
  const count = Number(steps[place[0]]);
  if (numbers.inner_norms.length) {
    layerHeat(svg, {
      left: 510, top: 36, width: 180, norms: Array.from(numbers.inner_norms), steps: count,
      layers: numbers.inner_norms.length / count, range: data.range, label: "support gradient, this epoch",
    });
  }
  const scale = data.range.map((power) => say(10 ** power, 1));
  const validation = Array.from(numbers.validation, (share) => `${Math.round(100 * share)} %`);
  const trained = `${networks[was]}, ${methods[mode]}, ${count} inner steps at rate ${rates[place[1]]}`;
  const lines = [`validation after each epoch:`, validation.join(", ") || "none yet"];
  const all = [`dark: up to ${scale[0]}`, `light: from ${scale[1]}`, "", ...lines];
  all.forEach((line, i) => svg.append(shape("text", { x: 510, y: 262 + 17 * i }, line)));
  figure.replaceChildren(svg);
  const bad = [...loss, ...norm].filter((value) => !Number.isFinite(value)).length;
  const now = loss.length
    ? ` Meta-loss ${say(loss.at(-1))}, norm of the meta-gradient ${say(norm.at(-1))}.` : "";
  return {
    words: `${trained}.${now} Validation: ${lines[1]}.`,
    count: `${trained}: meta-iteration ${loss.length} of ${total}.${now}`,
    warning: bad ? `${bad} values were not finite (NaN or inf): a gap with a red cross, and no step.` : "",
  };
}

const view = { draw: drawCell };
