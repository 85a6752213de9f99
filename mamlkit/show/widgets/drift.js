// Mean and standard deviation of one channel over the inner steps, and the four bell curves at the chosen step.
const STYLES = ["series-0", "series-1", "series-2", "truth"];

const view = {
  draw(figure, data, step, channel, layer) {
    const { series } = data;
    const steps = data.controls[0].values.map(Number);
    const channels = data.controls[1].values.length;
    const pick = (name, i, k) => data.rows(name, i, layer, k)[channel];
    const means = series.map((_, i) => steps.map((k) => pick("mean", i, k)));
    const deviations = series.map((_, i) => steps.map((k) => Math.sqrt(Math.max(0, pick("var", i, k)))));
    const finite = (rows) => rows.flat().filter(Number.isFinite);
    const span = (values, pad) => {
      const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
      const room = (high - low || 1) * pad;
      return [low - room, high + room];
    };
    const ticks = ([low, high]) => [0.1, 0.5, 0.9].map((share) => low + share * (high - low)).map((v) => [v, say(v)]);
    const svg = drawing(figure, 300);
    const over = (left, rows, yLabel) => {
      const yRange = span(finite(rows), 0.12);
      const axes = panel(svg, {
        left, top: 62, width: 160, height: 190, xRange: [-0.3, steps.length - 0.7], yRange, xTicks: steps,
        yTicks: ticks(yRange), xLabel: "inner step", yLabel,
      });
      const gaps = rows.map((row, i) => {
        const absent = axes.line(steps, row, STYLES[i]);
        axes.mark(step, row[step], i < 3 ? `mark-${i}` : "", i === 1);
        return absent;
      });
      return gaps.reduce((a, b) => a + b, 0);
    };
    let absent = over(58, means, "mean");
    absent += over(290, deviations, "standard deviation");
    const edges = series.flatMap((_, i) => [-3, 3].map((n) => means[i][step] + n * deviations[i][step]));
    const xRange = span(edges.filter(Number.isFinite), 0.02);
    const bells = panel(svg, {
      left: 500, top: 62, width: 190, height: 190, xRange, yRange: [0, 1.08], xTicks: ticks(xRange), yTicks: [],
      xLabel: "value before normalising", yLabel: `as bell curves, at step ${step}`,
    });
    const grid = Array.from({ length: 121 }, (_, i) => xRange[0] + (i / 120) * (xRange[1] - xRange[0]));
    series.forEach((_, i) => {
      const [mean, deviation] = [means[i][step], Math.max(deviations[i][step], 1e-6)];
      bells.line(grid, grid.map((value) => Math.exp(-(((value - mean) / deviation) ** 2) / 2)), STYLES[i]);
    });
    const names = ["support pass", "query pass", "recorded for this step", "one set for all steps"];
    legend(svg, 40, 12, names.map((name, i) => [STYLES[i], name]));
    const shift = Math.abs(means[0][step] - means[3][step]) / Math.max(deviations[3][step], 1e-6);
    const said = names.map((name, i) => `${name}: mean ${say(means[i][step])}, deviation ${say(deviations[i][step])}`);
    const shown = `${data.controls[2].values[layer]}, channel ${channel} of ${channels}, inner step ${step}`;
    const words = `${shown}. ${said.join("; ")}. The support mean is ${say(shift)} deviations from the shared set.`;
    return { words, absent };
  },
};
