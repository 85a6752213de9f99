// What one query picture is taken for after `step` inner steps; beside it the true class over the steps, for each start.
const view = {
  draw(figure, data, query, step, start) {
    const { series, side, channels, truth } = data;
    const [own, nWay] = [truth[query], data.arrays.support.shape[0]];
    const steps = data.controls[1].values.map((_, k) => k);
    const shares = (i, k) => data.rows("probabilities", i, k, query);
    const now = Array.from(shares(start, step));
    const svg = drawing(figure, 330);
    svg.append(shape("text", { x: 8, y: 54 }, "query picture"));
    svg.append(still(data.rows("query", query), side, channels, { x: 8, y: 62, width: 112, height: 112 }));
    svg.append(shape("text", { x: 8, y: 192 }, `its true class: ${own}`));
    let absent = classBars(svg, {
      left: 178, top: 62, width: 282, height: 176, pictures: data.rows("support"), side, channels,
      probabilities: now, truth: own, style: `series-${start}`,
    });
    const curves = panel(svg, {
      left: 530, top: 62, width: 160, height: 176, xRange: [-0.3, steps.length - 0.7], yRange: [0, 1.2],
      xTicks: steps.filter((k) => k % Math.ceil(steps.length / 6) === 0),
      yTicks: [[0, "0"], [0.5, "50"], [1, "100"]], xLabel: "inner step", yLabel: "true class, each start (%)",
    });
    curves.line([-0.3, steps.length - 0.7], [1 / nWay, 1 / nWay], "truth");
    series.forEach((_, i) => {
      const curve = steps.map((k) => shares(i, k)[own]);
      absent += curves.line(steps, curve, `series-${i}`);
      curves.mark(step, curve[step], `mark-${i}`, i === 1);
    });
    legend(svg, 8, 12, [
      ["truth", "guessing"],
      ...series.map((name, i) => [`series-${i}`, `${name}: ${percent(shares(i, step)[own])}`]),
    ]);
    const best = likeliest(now);
    const verdict = best === own ? "right" : `wrong, the largest is label ${best} with ${percent(now[best])}`;
    const words = `Query picture ${query} of class ${own}, ${series[start]} after ${step} inner steps: `
      + `the true class has ${percent(now[own])}, ${verdict}.`;
    return { words, absent };
  },
};
