// A curve, a few points of it, and what each start makes of them after `step` inner steps; beside it the losses.
const view = {
  draw(figure, data, step) {
    const svg = drawing(figure, 330);
    const steps = Array.from(data.rows("losses", 0), (_, i) => i);
    const fits = panel(svg, {
      left: 34, top: 60, width: 396, height: 222, xRange: data.xRange, yRange: data.yRange,
      xTicks: data.xTicks, yTicks: data.yTicks, xLabel: "x", yLabel: "y",
    });
    const losses = panel(svg, {
      left: 500, top: 60, width: 190, height: 222, xRange: [-0.4, steps.length - 0.6], yRange: data.lossRange,
      xTicks: steps.filter((i) => i % Math.ceil(steps.length / 8) === 0), yTicks: data.lossTicks,
      xLabel: "inner step", yLabel: "query loss (log)", log: true,
    });
    const xs = data.rows("x");
    let absent = fits.line(xs, data.rows("truth"), "truth");
    const rows = [["truth", "true curve"]];
    data.series.forEach((name, i) => {
      absent += fits.line(xs, data.rows("fits", i, step), `series-${i}`);
      const loss = data.rows("losses", i);
      losses.line(steps, loss, `series-${i}`);
      losses.mark(step, loss[step], `mark-${i}`, i === 1);
      absent += Number.isFinite(loss[step]) ? 0 : 1;
      rows.push([`series-${i}`, `${name}: loss ${say(loss[step])}`]);
    });
    const supportX = data.rows("support_x");
    data.rows("support_y").forEach((value, i) => fits.mark(supportX[i], value, ""));
    legend(svg, 34, 12, [...rows, ["", "support", "mark"]]);
    const words = rows.slice(1).map(([, text]) => text).join("; ");
    return { words: `Curve fit after ${step} inner steps: ${words}.`, absent };
  },
};
