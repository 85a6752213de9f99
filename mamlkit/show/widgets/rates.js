// The inner rate of each tensor (row) at each step (column) after an epoch; beside it the outer rate over the epochs.
const signed = (rate) => rate.toFixed(3).replace("-", "\u2212");

// What the colours mean: from `reach` below the start to `reach` above it.
function scale(svg, left, top, width, reach) {
  const cells = 40;
  for (let i = 0; i < cells; i += 1) {
    const [fill] = balance((2 * i) / (cells - 1) - 1);
    svg.append(shape("rect", { x: left + (i * width) / cells, y: top, width: width / cells + 0.5, height: 10, fill }));
  }
  const ends = [`start \u2212 ${say(reach)}`, "start", `start + ${say(reach)}`];
  ends.forEach((text, i) => {
    const at = { x: left + (i * width) / 2, y: top + 26, "text-anchor": ["start", "middle", "end"][i] };
    svg.append(shape("text", at, text));
  });
}

const view = {
  draw(figure, data, epoch, schedule) {
    const { rowNames, schedules, reach, epochs } = data;
    const svg = drawing(figure, 378);
    const [rates, first] = [data.rows("rates", epoch), data.rows("rates", 0)];
    const nSteps = rates.length / rowNames.length;
    const box = { left: 112, top: 24, width: 310, height: 262 };
    const [wide, high] = [box.width / nSteps, box.height / rowNames.length];
    let absent = heat(svg, {
      ...box, rows: rowNames, columns: Array.from({ length: nSteps }, (_, k) => k), yLabel: "inner rates",
      values: rates.map((rate, i) => rate - first[i]), colour: (change) => balance(change / reach),
      text: (_, i, k) => signed(rates[i * nSteps + k]), xLabel: "inner step",
    });
    const there = [...rates.keys()].filter((i) => Number.isFinite(rates[i]));
    const negative = there.filter((i) => rates[i] < 0);
    for (const i of negative) {
      const [x, y] = [box.left + (i % nSteps) * wide, box.top + Math.floor(i / nSteps) * high];
      svg.append(shape("rect", { class: "chosen", x: x + 4, y: y + 3, width: wide - 8, height: high - 6 }));
    }
    scale(svg, box.left, box.top + box.height + 46, box.width, reach);

    const outer = panel(svg, {
      left: 490, top: 24, width: 196, height: 150, xRange: [-0.03 * epochs, 1.03 * epochs], yRange: [0, data.outerTop],
      xTicks: data.epochTicks, yTicks: data.outerTicks, xLabel: "epoch", yLabel: "outer rate",
    });
    const at = Array.from({ length: epochs + 1 }, (_, e) => e);
    schedules.forEach((_, i) => { if (i !== schedule) outer.line(at, data.rows("outer", i), "truth"); });
    const chosen = data.rows("outer", schedule);
    absent += outer.line(at, chosen, "series-0");
    outer.mark(epoch, chosen[epoch], "mark-0");

    const styles = schedules.map((name, i) => [i === schedule ? "series-0" : "truth", name]);
    legend(svg, 480, 232, styles);

    const place = (i) => `${rowNames[Math.floor(i / nSteps)]}, step ${i % nSteps}`;
    const extreme = (sign) => there.reduce((a, b) => (sign * rates[b] > sign * rates[a] ? b : a), there[0]);
    const [smallest, largest] = [extreme(-1), extreme(1)];
    const extremes = there.length
      ? [`smallest ${signed(rates[smallest])}: ${place(smallest)}`, `largest ${signed(rates[largest])}: ${place(largest)}`] : [];
    const counted = `${negative.length} of ${rates.length} rates are negative (framed)`;
    const now = `outer rate, ${schedules[schedule]}: ${say(chosen[epoch])}`;
    [now, counted, ...extremes].forEach((text, i) => svg.append(shape("text", { x: 450, y: 270 + 20 * i }, text)));
    return { words: `Inner rates after ${epoch} of ${epochs} epochs. ${[...extremes, counted, now].join("; ")}.`, absent };
  },
};
