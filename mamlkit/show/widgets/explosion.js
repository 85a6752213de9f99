// Left, the total norm for every rate and number of steps; right, the chosen cell layer by layer, on a log axis.
const short = (value) => {
  if (value >= 1e9) return value.toExponential(0).replace("+", "");
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(2))}M`;
  if (value >= 1e3) return `${Number((value / 1e3).toPrecision(2))}k`;
  return value >= 10 ? String(Math.round(value)) : String(Number(value.toPrecision(1)));
};

const view = {
  draw(figure, data, step, rate, ...place) {
    const { layers, rates, range: [low, high] } = data;
    const steps = data.controls[0].values;
    const cells = data.rows("norms", ...place); // [R, K + 1, layers + 1], flat
    const cell = (r, k) => cells.subarray((r * steps.length + k) * layers.length, (r * steps.length + k + 1) * layers.length);
    const total = (r, k) => cell(r, k)[layers.length - 1];
    const svg = drawing(figure, 330);
    const order = rates.map((_, r) => rates.length - 1 - r); // the largest rate on top
    let absent = heat(svg, {
      left: 44, top: 34, width: 380, height: 244, rows: order.map((r) => rates[r]), columns: steps,
      values: order.flatMap((r) => steps.map((_, k) => total(r, k))),
      colour: (value) => ramp((Math.log10(Math.max(value, 1e-30)) - low) / (high - low)),
      text: short, chosen: [rates.length - 1 - rate, step],
      xLabel: "inner steps", yLabel: "inner rate (rows); norm of the whole meta-gradient (cells)",
    });
    const ticks = Array.from({ length: high - low + 1 }, (_, i) => low + i);
    const every = Math.ceil(ticks.length / 7);
    const bars = panel(svg, {
      left: 490, top: 34, width: 200, height: 244, xRange: [-0.6, layers.length - 0.4], yRange: [10 ** low, 10 ** high],
      xTicks: layers.map((_, i) => [i, i < layers.length - 2 ? `c${i + 1}` : ["h", "all"][i - layers.length + 2]]),
      yTicks: ticks.filter((_, i) => i % every === 0).map((power) => [10 ** power, `1e${power}`]),
      xLabel: "layer (c: convolution, h: head)", yLabel: `${steps[step]} steps at rate ${rates[rate]} (log)`, log: true,
    });
    const norms = cell(rate, step);
    norms.forEach((value, i) => { bars.bar(i, value, 22, i === layers.length - 1 ? "series-1" : "series-0"); });
    const [now, start] = [total(rate, step), total(rate, 0)];
    const said = layers.map((name, i) => `${name} ${say(norms[i])}`).join(", ");
    const chosen = data.controls.slice(2).map((control, i) => `${control.label} ${control.values[place[i]]}`).join(", ");
    const times = Number.isFinite(now / start) ? `, ${say(now / start)} times that of no step` : "";
    const words = `${steps[step]} inner steps at rate ${rates[rate]}; ${chosen}. Norm of the meta-gradient${times}: ${said}.`;
    return { words, absent };
  },
};
