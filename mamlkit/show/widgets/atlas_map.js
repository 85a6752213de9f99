// What the figures of the stability atlas share: the map of a network and a method, the course of one training, and the
// norms of the support gradient by layer and inner step. Numbers over many decades come as bytes, see `decoded`.

// Values that were stored as bytes: 0 stands for a value that is not finite or absent, 1 to 255 for low to high.
const decoded = (bytes, [low, high]) => Array.from(bytes, (b) => (b ? 10 ** (low + ((b - 1) / 254) * (high - low)) : NaN));

const dying = (share) => mix([[232, 240, 247], [249, 196, 168], [190, 32, 38]], share);

// A map of inner steps and rates: colour and numbers say how many runs died, and the mean test accuracy.
function atlasMap(svg, { left, top, title, dead, accuracy, runs, steps, rates, chosen }) {
  const order = steps.map((_, k) => steps.length - 1 - k); // the most steps on top
  const values = order.flatMap((k) => rates.map((_, r) => dead[k * rates.length + r]));
  heat(svg, {
    left, top, width: 192, height: 108, rows: order.map((k) => steps[k]), columns: rates, values,
    colour: (value) => dying(value / runs),
    text: (value, i, r) => `${value}/${runs} · ${Math.round(100 * accuracy[order[i] * rates.length + r])}`,
    chosen: chosen && [order.indexOf(chosen[0]), chosen[1]], xLabel: "inner rate", yLabel: title,
  });
}

// A curve over meta-iterations, of which one of `every` is known, on a logarithmic axis, with a line at the present one.
function course(svg, { left, top, width, values, total, every = 1, now, label }) {
  const done = values.map((_, i) => 1 + i * every);
  const x = { xRange: [0, total], xTicks: [0, total / 2, total], xLabel: "meta-iteration" };
  const box = panel(svg, { left, top, width, height: 96, ...x, ...logAxis(values), yLabel: label });
  box.line(done, values, "series-0");
  crosses(box, done.filter((_, i) => !Number.isFinite(values[i])));
  if (now !== undefined) {
    box.inside.append(shape("line", { class: "change", x1: box.x(done[now]), x2: box.x(done[now]), y1: 0, y2: 96 }));
  }
}

// Norms of the support gradient: a row for each layer, a column for each inner step.
function layerHeat(svg, { left, top, width, norms, steps, layers, range: [low, high], label }) {
  const names = Array.from({ length: layers }, (_, i) => (i < layers - 1 ? `c${i + 1}` : "head"));
  const columns = Array.from({ length: steps }, (_, k) => String(k + 1));
  const values = names.flatMap((_, layer) => columns.map((__, k) => norms[k * (norms.length / steps) + layer]));
  const wide = width / steps >= 34;
  heat(svg, {
    left, top, width, height: 171, rows: names, columns, values, xLabel: "inner step", yLabel: label,
    colour: (value) => ramp((Math.log10(Math.max(value, 1e-30)) - low) / (high - low)),
    text: (value) => (wide ? say(value, 1) : ""),
  });
}
