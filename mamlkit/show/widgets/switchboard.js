// One combination of the fixes beside MAML (none) and MAML++ (all): validation, test, and the meta-gradient's norm.
const STYLES = ["series-0", "series-1", "series-2"];

// A number of points with its sign, and an interval around one.
const points = (share) => {
  const text = Math.abs(100 * share).toFixed(1);
  return Number(text) === 0 ? text : `${share < 0 ? "\u2212" : "+"}${text}`;
};

function verdict(gain, half) {
  if (!Number.isFinite(gain) || !Number.isFinite(half)) return "Difference from MAML, seed by seed: not finite.";
  const interval = `95 % interval ${points(gain - half)} to ${points(gain + half)}`;
  const sure = gain - half > 0 ? "better" : gain + half < 0 ? "worse" : "may be none";
  return `Difference from MAML, seed by seed: ${points(gain)} points, ${interval}; ${sure}.`;
}

const view = {
  draw(figure, data, ...at) {
    const { fixes, iterations, seeds, valTicks, testTicks, normTop, normTicks } = data;
    const svg = drawing(figure, 322);
    figure.parentElement.classList.add("long-names");
    const [chosen, all] = [at.reduce((sum, on, i) => sum + (on << i), 0), 2 ** fixes.length - 1];
    const name = ["MAML", ...fixes.filter((_, i) => at[i])].join(" + ");
    const rows = [[chosen, name], [0, "MAML"], [all, "MAML++"]];
    const ends = (ticks) => [ticks[0], ticks.at(-1)];
    const span = [0, iterations.at(-1) * 1.04];
    const box = { top: 48, height: 190 };
    const some = iterations.filter((_, i) => i % 2 === 1);
    const val = panel(svg, {
      ...box, left: 36, width: 268, xRange: span, yRange: ends(valTicks), xTicks: some, yTicks: valTicks,
      xLabel: "meta-iteration", yLabel: "validation accuracy (%)",
    });
    const test = panel(svg, {
      ...box, left: 346, width: 158, xRange: [-0.6, 2.6], yRange: ends(testTicks), yTicks: testTicks,
      xTicks: [[0, "chosen"], [1, "MAML"], [2, "MAML++"]], xLabel: `95 % interval, ${seeds} seeds`, yLabel: "test accuracy (%)",
    });
    const norm = panel(svg, {
      ...box, left: 542, width: 148, xRange: span, yRange: [0, normTop], yTicks: normTicks,
      xTicks: some.filter((_, i) => i % 2 === 0), xLabel: "meta-iteration", yLabel: "meta-gradient norm",
    });
    let absent = 0;
    const said = [];
    [2, 1, 0].forEach((i) => { // the chosen one last, on top
      const [c, what] = rows[i];
      const percent = (k) => data.rows("val", c, k).map((share) => 100 * share);
      val.band(iterations, percent(1), percent(2), STYLES[i]);
      absent += val.line(iterations, percent(0), STYLES[i]);
      const [mean, half] = data.rows("test", c);
      test.line([i, i], [100 * (mean - half), 100 * (mean + half)], STYLES[i]);
      test.mark(i, 100 * mean, `mark-${i}`, i === 1);
      absent += Number.isFinite(mean) ? 0 : 1;
      absent += norm.line(iterations, data.rows("norm", c), STYLES[i]);
      said.unshift(`${what} ${(100 * mean).toFixed(1)} \u00b1 ${(100 * half).toFixed(1)} %`);
    });
    legend(svg, 36, 12, rows.map(([, what], i) => [STYLES[i], `${what}   `]));
    const [, , gain, half] = data.rows("test", chosen);
    const lines = [`Test accuracy: ${said.join("; ")}.`, verdict(gain, half)];
    lines.forEach((text, i) => svg.append(shape("text", { x: 4, y: 296 + 18 * i }, text)));
    return { words: lines.join(" "), absent };
  },
};
