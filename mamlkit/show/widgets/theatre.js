// A training to watch. Up to four times a second the kernel sends what was measured, all of it, as float32 in `numbers`:
// loss, accuracy, taken [I]; at [M], norms [M, K + 1], drift [M, L], probabilities [M, N]; changes [C, 2]. The figure
// is drawn anew each time. Buttons go to the kernel as messages, controls as `at`; what it answers is `said`.
const mean = (values) => finite(values).reduce((sum, value) => sum + value, 0) / finite(values).length;

function measured(numbers) {
  const rows = (name) => {
    const size = numbers[name].length / numbers.at.length;
    return [name, Array.from(numbers.at, (_, i) => numbers[name].subarray(i * size, (i + 1) * size))];
  };
  const changes = Array.from({ length: numbers.changes.length / 2 }, (_, i) => numbers.changes.slice(2 * i, 2 * i + 2));
  const done = Array.from(numbers.loss, (_, i) => i + 1);
  const refused = done.filter((_, i) => !numbers.taken[i] || !Number.isFinite(numbers.loss[i])); // what was not finite
  return { ...numbers, ...Object.fromEntries(["norms", "drift", "probabilities"].map(rows)), changes, done, refused };
}

// At each place the mean of the last few finite values; a gap where the place's own is not finite.
const recent = (values, few) => Array.from(
  values, (value, i) => (Number.isFinite(value) ? mean(values.slice(Math.max(0, i + 1 - few), i + 1)) : NaN));

// A mark at each change of the rate, with the new rate where there is room. Changes that touch each other have one mark,
// with the first and the last of their rates.
function rateMarks(box, changes, [width, height]) {
  const marks = [];
  for (const [at, rate] of changes) {
    const [x, mark] = [box.x(at), marks.at(-1)];
    if (mark && x - mark.last < 4) Object.assign(mark, { last: x, text: `${mark.first} … ${say(rate)}` });
    else marks.push({ x, last: x, first: say(rate), text: say(rate) });
  }
  marks.forEach(({ x, text }, i) => {
    box.inside.append(shape("line", { class: "change", x1: x, x2: x, y1: 0, y2: height }));
    const room = (marks[i + 1]?.x ?? width) - x >= 7 * text.length + 6;
    const place = room ? { x: x + 3 } : { x: x - 3, "text-anchor": "end" };
    if (room || i === marks.length - 1) box.inside.append(shape("text", { class: "changed", y: 12, ...place }, text));
  });
}

// A panel over the meta-iterations.
function overTime(svg, { done, changes }, left, axis) {
  const end = [50, 100, 200, 500, 1000, 2000, 5000].find((most) => most >= done.length) ?? done.length;
  const x = { xRange: [0, end], xTicks: [0, end / 2, end], xLabel: "meta-iteration" };
  const box = panel(svg, { left, top: 28, width: 174, height: 130, ...x, ...axis });
  rateMarks(box, changes, [174, 130]);
  return box;
}

function curve(svg, numbers, left, values, { axis, few }) {
  const box = overTime(svg, numbers, left, axis);
  box.line(numbers.done, values, "series-0 pale");
  box.line(numbers.done, recent(values, few), "series-0");
  crosses(box, numbers.refused);
}

// The mean over layers, and from the lowest to the highest.
function driftCurve(svg, numbers, left) {
  const at = Array.from(numbers.at);
  const whole = (of) => numbers.drift.map((row) => (row.every(Number.isFinite) ? of(row) : NaN));
  const [low, high] = [whole((row) => Math.min(...row)), whole((row) => Math.max(...row))];
  const box = overTime(svg, numbers, left, { ...logAxis([...low, ...high]), yLabel: "batch-norm drift (sd)" });
  box.band(at, low, high, "series-0");
  box.line(at, whole(mean), "series-0");
  crosses(box, at.filter((_, i) => !Number.isFinite(low[i])));
}

// The norms of the meta-gradients by inner step: now, before any training, and at the last look before a new rate.
function profiles(svg, numbers) {
  const { norms, at, changes } = numbers;
  const shown = [["series-0 now", "now", norms.at(-1)], ["series-1", "before training", norms[0]]];
  const old = changes.length ? at.findLastIndex((done) => done <= changes.at(-1)[0]) : 0;
  if (old > 0) shown.push(["series-2", `before rate ${say(changes.at(-1)[1])}`, norms[old]]);
  const steps = Array.from(norms[0], (_, k) => k);
  const box = panel(svg, {
    left: 40, top: 242, width: 174, height: 120, xRange: [-0.3, steps.length - 0.7], xTicks: steps,
    xLabel: "inner step", yLabel: "norm of the meta-gradient", ...logAxis(shown.flatMap(([, , row]) => Array.from(row))),
  });
  shown.reverse().forEach(([style, , row]) => box.line(steps, row, style));
  steps.forEach((k) => box.mark(k, norms.at(-1)[k], "mark-0"));
  crosses(box, steps.filter((k) => !Number.isFinite(norms.at(-1)[k])));
  shown.reverse().forEach(([style, text], i) => legend(svg, 40, 412 + 17 * i, [[style, text]]));
}

function fixedDrawing(svg, numbers, data) {
  const { side, channels, truth, steps } = data;
  svg.append(shape("text", { x: 262, y: 234 }, "fixed drawing"), shape("text", { x: 262, y: 332 }, `after ${steps} steps`));
  svg.append(still(data.rows("query"), side, channels, { x: 262, y: 242, width: 72, height: 72 }));
  classBars(svg, {
    left: 392, top: 242, width: 300, height: 120, pictures: data.rows("support"), side, channels,
    probabilities: numbers.probabilities.at(-1), truth, style: "series-0",
  });
}

// How far it is, and what can be seen, in words.
function inWords({ done, loss, accuracy, norms, drift, probabilities }, { total, recent: few, truth }) {
  const [lately, row] = [done.slice(-few).length, norms.at(-1)];
  const curves = `meta-loss ${say(mean(loss.slice(-few)))}, query accuracy ${percent(mean(accuracy.slice(-few)))}`;
  const count = `Meta-iteration ${done.length} of ${total}.${lately ? ` Mean of the last ${lately}: ${curves}.` : ""}`;
  const looks = [
    `Norm of the meta-gradient: ${say(row[0])} before the first inner step, ${say(row.at(-1))} after the last.`,
    `Batch-norm drift ${say(mean(drift.at(-1)))} sd.`,
    `The fixed drawing is taken for its true class with ${percent(probabilities.at(-1)[truth])}.`,
  ];
  return [count, [count, ...looks].join(" ")];
}

function warning({ done, refused, norms, drift, probabilities }) {
  const now = [norms, drift, probabilities].every((rows) => rows.at(-1).every(Number.isFinite));
  const often = `${refused.length} of ${done.length} meta-iterations had a number that was not finite (NaN or inf): `
    + "a gap with a red cross, and no step.";
  const said = [refused.length ? often : "", now ? "" : "The fixed task has such numbers now."];
  return said.filter(Boolean).join(" ");
}

function drawTheatre(figure, sent, data) {
  const numbers = measured(sent);
  const svg = shape("svg", { viewBox: "0 0 700 458", "aria-hidden": "true" });
  const { loss, accuracy } = numbers;
  const few = data.recent;
  const percents = { yRange: [0, 100], yTicks: [0, 25, 50, 75, 100], yLabel: "query accuracy (%)" };
  curve(svg, numbers, 40, loss, { axis: { ...logAxis(loss), yLabel: "meta-loss (nats)" }, few });
  curve(svg, numbers, 272, accuracy.map((share) => 100 * share), { axis: percents, few });
  driftCurve(svg, numbers, 504);
  profiles(svg, numbers);
  fixedDrawing(svg, numbers, data);
  figure.replaceChildren(svg);
  const [count, words] = inWords(numbers, data);
  return { words, count, warning: warning(numbers) };
}

const view = { draw: drawTheatre };

