// A curve, a few points of it, and what each start makes of them after `step` inner steps; beside it the losses.
const view = {
  draw(figure, data, step) {
    const svg = shape("svg", { viewBox: "0 0 700 330", "aria-hidden": "true" });
    const fits = panel(svg, {
      left: 34, top: 60, width: 396, height: 222, xRange: data.xRange, yRange: data.yRange,
      xTicks: data.xTicks, yTicks: data.yTicks, xLabel: "x", yLabel: "y",
    });
    const losses = panel(svg, {
      left: 500, top: 60, width: 190, height: 222, xRange: [-0.4, data.values.length - 0.6], yRange: data.lossRange,
      xTicks: data.values.map((_, i) => i).filter((i) => i % 2 === 0), yTicks: data.lossTicks,
      xLabel: "inner step", yLabel: "query loss (log)", log: true,
    });
    const xs = data.rows("x");
    let absent = fits.line(xs, data.rows("truth"), "truth");
    const steps = data.values.map((_, i) => i);
    const rows = [["truth", "true curve"]];
    data.series.forEach((name, i) => {
      absent += fits.line(xs, data.rows("fits", i, step), `series-${i}`);
      const loss = data.rows("losses", i);
      losses.line(steps, loss, `series-${i}`);
      losses.mark(step, loss[step], `mark-${i}`, i === 1);
      const shown = Number.isFinite(loss[step]) ? loss[step].toPrecision(2) : "not finite";
      absent += Number.isFinite(loss[step]) ? 0 : 1;
      rows.push([`series-${i}`, `${name}: loss ${shown}`]);
    });
    const supportX = data.rows("support_x");
    data.rows("support_y").forEach((value, i) => fits.mark(supportX[i], value, ""));
    rows.forEach(([style, text], i) => {
      const at = 34 + (i ? 120 + (i - 1) * 230 : 0);
      svg.append(shape("line", { class: `line ${style}`, x1: at, x2: at + 30, y1: 12, y2: 12 }));
      svg.append(shape("text", { x: at + 36, y: 16 }, text));
    });
    svg.append(shape("circle", { class: "mark", cx: 615, cy: 12, r: 5 }), shape("text", { x: 626, y: 16 }, "support"));
    figure.append(svg);
    return absent;
  },
};
