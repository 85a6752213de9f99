// One inner step of one start: the support loss around it with the path of all steps, the update by tensor, the
// confusion table of the query set, and the curves over the steps. Whatever belongs to a step chooses it when pointed at.
const LEVELS = 14;
const SURFACE = { left: 52, top: 70, size: 250 };
const LOWER = { top: 426, height: 148 };

// Where `heights` [side, side] are at least `level`: each square of four neighbours, cut where its edges cross the level.
function above(heights, side, level, size) {
  const cell = size / (side - 1);
  const corners = [[0, 0], [1, 0], [1, 1], [0, 1]];
  let path = "";
  const square = (i, j) => {
    const over = corners.map(([x, y]) => heights[(i + y) * side + j + x] - level);
    if (!over.every(Number.isFinite)) return;
    const points = corners.flatMap(([x, y], c) => {
      const [here, next, [nextX, nextY]] = [over[c], over[(c + 1) % 4], corners[(c + 1) % 4]];
      const own = here >= 0 ? [[x, y]] : [];
      const share = here / (here - next);
      return (here >= 0) === (next >= 0) ? own : [...own, [x + share * (nextX - x), y + share * (nextY - y)]];
    });
    const pixels = points.map(([x, y]) => `${((j + x) * cell).toFixed(1)} ${(size - (i + y) * cell).toFixed(1)}`);
    if (points.length) path += `M${pixels.join("L")}Z`;
  };
  for (let i = 0; i < side - 1; i += 1) for (let j = 0; j < side - 1; j += 1) square(i, j);
  return path;
}

// Filled contours of the loss at log-spaced levels, and beside them what the colours mean. Returns the gaps.
function contours(svg, inside, losses, least) {
  const { left, top, size } = SURFACE;
  const side = Math.sqrt(losses.length);
  const heights = Float64Array.from(losses, (loss) => Math.log10(Math.max(loss, least)));
  const finite = heights.filter(Number.isFinite);
  const low = finite.length ? finite.reduce((a, b) => Math.min(a, b)) : 0;
  const span = Math.max(finite.reduce((a, b) => Math.max(a, b), low) - low, 1e-3); // flatter than that is flat
  for (let i = 0; finite.length && i < LEVELS; i += 1) {
    const [fill] = ramp(i / (LEVELS - 1));
    const d = above(heights, side, low + (span * i) / LEVELS, size);
    inside.append(shape("path", { class: "contour", fill, stroke: fill, d }));
    const y = top + size * (1 - (i + 1) / LEVELS);
    svg.append(shape("rect", { x: left + size + 10, y, width: 12, height: size / LEVELS + 0.5, fill }));
  }
  for (const share of finite.length ? [0, 0.5, 1] : []) {
    const at = { x: left + size + 27, y: top + 9 + (size - 10) * (1 - share) };
    svg.append(shape("text", at, say(10 ** (low + share * span), 3)));
  }
  const cell = size / (side - 1);
  heights.forEach((height, i) => {
    if (Number.isFinite(height)) return;
    absentBox(inside, ((i % side) - 0.5) * cell, size - (Math.floor(i / side) + 0.5) * cell, cell, cell);
  });
  return heights.length - finite.length;
}

// The path of all steps on the plane of this one, and the step that is taken. Returns how many places are not finite,
// and how many lie outside.
function walk({ inside, x, y }, path, step, reach) {
  const last = path.length / 2 - 1;
  const places = Array.from({ length: last + 1 }, (_, k) => [path[2 * k], path[2 * k + 1]]);
  const there = places.map((place, k) => [k, place]).filter(([, place]) => place.every(Number.isFinite));
  const clip = (at) => Math.max(-1e4, Math.min(1e4, at)).toFixed(1);
  const pixels = there.map(([, [a, b]]) => `${clip(x(a))} ${clip(y(b))}`);
  if (there.length) inside.append(shape("path", { class: "path", d: `M${pixels.join("L")}` }));
  const from = Math.min(step, last - 1); // after the last step, the one that led there
  const ends = [places[from], places[from + 1]];
  const [[x1, y1], [x2, y2]] = ends.map(([a, b]) => [x(a), y(b)]);
  if (x2 > x1 && Number.isFinite(y1 + y2)) {
    const head = `M${x2} ${y2}L${x2 - 11} ${y2 - 6}L${x2 - 11} ${y2 + 6}Z`; // the update always points to the right
    for (const style of ["halo", "taken"]) {
      inside.append(shape("path", { class: style, d: `M${x1} ${y1}L${x2 - 8} ${y2}${head}` }));
    }
  }
  const nearestLast = [...there].sort(([j], [k]) => Math.abs(k - step) - Math.abs(j - step)); // so that it lies on top
  for (const [k, [a, b]] of nearestLast) {
    const [style, r, at] = [k === step ? "place here" : "place", k === step ? 6 : 3.5, { cx: clip(x(a)), cy: clip(y(b)) }];
    inside.append(shape("circle", { class: style, r, ...at }), shape("circle", { class: "hit", "data-step": k, r: 9, ...at }));
  }
  const outside = there.filter(([, place]) => !place.every((at) => Math.abs(at) <= reach));
  return [places.length - there.length, outside.length];
}

// A bar for the update of each tensor, with its norm and its rate; a negative rate is framed. Returns the gaps.
function updates(svg, names, norms, rates, heading) {
  const [top, size, name, bar, wide, edge] = [SURFACE.top, SURFACE.size, 480, 486, 74, 692];
  const high = Math.min(28, size / names.length);
  const most = norms.reduce((a, b) => (Number.isFinite(b) ? Math.max(a, b) : a), 0) || 1;
  svg.append(shape("text", { x: 388, y: top - 24 }, heading));
  svg.append(shape("text", { x: bar, y: top - 6 }, "norm"), shape("text", { x: edge, y: top - 6, "text-anchor": "end" }, "rate"));
  let absent = 0;
  names.forEach((text, i) => {
    const y = top + i * high;
    const write = (x, said, anchor) => svg.append(shape("text", { x, y: y + high / 2 + 4, "text-anchor": anchor }, said));
    write(name, text, "end");
    const style = rates[i] < 0 ? "series-1" : "series-0";
    const box = { x: bar, y: y + 3, width: (wide * norms[i]) / most, height: high - 6 };
    if (Number.isFinite(norms[i])) {
      svg.append(shape("rect", { class: `bar ${style}`, ...box }));
      write(bar + box.width + 5, say(norms[i]), "start");
    } else {
      absentBox(svg, bar, box.y, wide, box.height);
      absent += 1;
    }
    absent += Number.isFinite(rates[i]) ? 0 : 1;
    const plain = Math.abs(rates[i]) >= 0.0005 && Math.abs(rates[i]) < 1000;
    write(edge, (plain ? rates[i].toFixed(3) : say(rates[i])).replaceAll("-", "\u2212"), "end");
    if (rates[i] < 0) svg.append(shape("rect", { class: "framed", x: edge - 46, y: y + 3, width: 50, height: high - 6 }));
  });
  return absent;
}

// A row of chips, one for each step.
function chips(svg, last, step) {
  svg.append(shape("text", { x: 4, y: 17 }, "point at a step"));
  const wide = Math.min(44, 570 / (last + 1));
  for (let k = 0; k <= last; k += 1) {
    const x = 114 + k * wide;
    svg.append(shape("rect", { class: k === step ? "chip on" : "chip", "data-step": k, x, y: 1, width: wide - 4, height: 24, rx: 4 }));
    svg.append(shape("text", { x: x + wide / 2 - 2, y: 18, "text-anchor": "middle" }, k));
  }
}

// The step that is pointed at becomes the one in hand. The path moves away below the pointer as the plane changes, so
// only a pointer that has moved on chooses again. A click hands the arrow keys to the slider.
function follow(figure) {
  const slider = () => figure.parentElement.querySelector("input[type=range]");
  let [x, y] = [NaN, NaN];
  const point = (event) => {
    const step = event.target.closest("[data-step]")?.dataset.step;
    if (step === undefined || step === slider().value || Math.hypot(event.clientX - x, event.clientY - y) < 4) return;
    [x, y] = [event.clientX, event.clientY];
    slider().value = step;
    slider().dispatchEvent(new Event("input"));
  };
  figure.addEventListener("pointermove", point);
  figure.addEventListener("pointerdown", point);
  figure.addEventListener("click", () => slider().focus({ preventScroll: true }));
  figure.classList.add("travel");
}

// The support loss around the step. Returns the gaps, and how many places of the path lie outside.
function surface(svg, data, step, start, length) {
  const { left, top, size } = SURFACE;
  const { reach } = data;
  const ticks = [-reach, -reach / 2, 0, reach / 2, reach];
  const plane = panel(svg, {
    left, top, width: size, height: size, xRange: [-reach, reach], yRange: [-reach, reach], xTicks: ticks, yTicks: ticks,
    xLabel: `along the step; 1 is its length, ${say(length)}`, yLabel: `support loss around step ${step}`,
  });
  const [x, y] = [14, top + size / 2];
  const turned = { x, y, transform: `rotate(-90 ${x} ${y})`, "text-anchor": "middle" };
  svg.append(shape("text", turned, "random direction, as long"));
  const gaps = contours(svg, plane.inside, data.rows("surfaces", start, step), data.least);
  const path = data.rows("path", start, step);
  const [lost, outside] = walk(plane, path, step, reach);
  if (outside) svg.append(shape("text", { x: left, y: top + size + 52 }, `${outside} of the ${path.length / 2} places lie outside`));
  return [gaps + lost, outside];
}

// What the query images are taken for. Returns the gaps, and how many are right, in words.
function table(svg, counts) {
  const nWay = Math.sqrt(counts.length);
  const labels = Array.from({ length: nWay }, (_, label) => label);
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const rows = labels.map((i) => sum(counts.subarray(i * nWay, (i + 1) * nWay)));
  const [right, all] = [sum(labels.map((i) => counts[i * nWay + i])), sum(rows)];
  const judged = Number.isFinite(all) ? `${right} of ${all} right` : "not finite";
  const gaps = heat(svg, {
    left: SURFACE.left, top: LOWER.top, width: LOWER.height, height: LOWER.height, rows: labels, columns: labels,
    values: counts, colour: (count) => ramp(count / Math.max(...rows)), text: nWay > 8 ? null : String,
    xLabel: "query image taken for", yLabel: `true class; ${judged}`,
  });
  return [gaps, judged];
}

// The losses and the accuracy over the steps, whose columns can be pointed at. Returns the gaps.
function curves(svg, data, step, start) {
  const steps = data.controls[0].values.map((_, k) => k);
  const [low, high] = data.losses;
  const shared = {
    ...LOWER, xRange: [-0.4, steps.length - 0.6], xLabel: "inner steps made",
    xTicks: steps.filter((k) => k % Math.ceil(steps.length / 8) === 0),
  };
  const losses = panel(svg, {
    ...shared, left: 278, width: 210, yRange: [10 ** (low - 0.1), 10 ** (high + 0.1)], yLabel: "loss (log)", log: true,
    yTicks: Array.from({ length: high - low + 1 }, (_, i) => [10 ** (low + i), `1e${low + i}`]),
  });
  const accuracy = panel(svg, {
    ...shared, left: 542, width: 150, yRange: [0, 1.05], yLabel: "query accuracy (%)",
    yTicks: [[0, "0"], [0.25, "25"], [0.5, "50"], [0.75, "75"], [1, "100"]],
  });
  legend(svg, 342, LOWER.top - 12, [["series-0", "support"], ["series-1", "query"]]);
  const lines = [[losses, "support", 0], [losses, "query", 1], [accuracy, "accuracy", 1]];
  for (const { inside, x } of [losses, accuracy]) {
    inside.append(shape("line", { class: "line truth", x1: x(step), x2: x(step), y1: 0, y2: LOWER.height }));
  }
  const gaps = lines.map(([axes, name, style]) => {
    const values = data.rows(name, start);
    const absent = axes.line(steps, values, `series-${style}`);
    axes.mark(step, values[step], `mark-${style}`, style === 1);
    return absent;
  });
  for (const { inside, x } of [losses, accuracy]) {
    const [wide, height] = [x(1) - x(0), LOWER.height];
    steps.forEach((k) => inside.append(shape("rect", { class: "hit", "data-step": k, x: x(k - 0.5), y: 0, width: wide, height })));
  }
  return gaps.reduce((a, b) => a + b, 0);
}

// What the step does to the support loss, in words: with per-step batch norm the next step sees another loss.
function effect(before, reached, next) {
  const change = `support loss ${say(before)} \u2192 ${say(reached)}`;
  return say(reached) === say(next) ? [change] : [change, `(${say(next)} with the next step's batch norm)`];
}

const view = {
  draw(figure, data, step, start) {
    if (!figure.classList.contains("travel")) follow(figure);
    const last = data.controls[0].values.length - 1;
    const taken = Math.min(step, last - 1); // after the last step, the one that led there
    const [norms, rates] = ["norms", "rates"].map((name) => data.rows(name, start, taken));
    const length = Math.hypot(...norms);
    const svg = drawing(figure, 612);
    chips(svg, last, step);
    const [around, outside] = surface(svg, data, step, start, length);
    const which = `the ${step < last ? "next" : "last"} step, ${taken} \u2192 ${taken + 1}`;
    const missing = updates(svg, data.tensors, norms, rates, which);
    const [unread, judged] = table(svg, data.rows("confusion", start, step));
    const gone = curves(svg, data, step, start);

    const [support, query] = ["support", "query"].map((name) => data.rows(name, start));
    const negative = rates.filter((rate) => rate < 0).length;
    const climbs = negative ? `${negative} of ${rates.length} rates negative (framed): uphill there` : "no rate is negative";
    const change = effect(support[taken], data.rows("reached", start)[taken], support[taken + 1]);
    const below = SURFACE.top + SURFACE.size;
    [climbs, ...change].forEach((text, i) => svg.append(shape("text", { x: 388, y: below + 18 * (i + 1) }, text)));
    const words = `${data.series[start]} after ${step} of ${last} inner steps: support loss ${say(support[step])}, query loss `
      + `${say(query[step])}, query images ${judged}. On ${which}, of length ${say(length)}: ${change.join(" ")}; ${climbs}. `
      + `${outside} of the ${last + 1} places of the path lie outside the surface.`;
    return { words, absent: around + missing + unread + gone };
  },
};
