// Left, the weight of each step's query loss; right, the gradients that the parameters after each step get.
const view = {
  draw(figure, data, epoch, last, schedule) {
    const [low, high] = data.range;
    const steps = Array.from({ length: last + 1 }, (_, i) => i + 1);
    const row = (name) => Array.from(data.rows(name, schedule, last, epoch)).slice(0, steps.length);
    const [weights, direct, chained] = ["weights", "direct", "chained"].map(row);
    const plain = Array.from(data.rows("plain", last)).slice(0, steps.length);
    const svg = drawing(figure, 330);
    const xRange = [0.4, Math.max(steps.length, 3) + 0.6];
    const left = panel(svg, {
      left: 36, top: 64, width: 214, height: 218, xRange, yRange: [0, 1.1], xTicks: steps,
      yTicks: [0, 0.25, 0.5, 0.75, 1], xLabel: "inner step", yLabel: `weight of its query loss, epoch ${epoch}`,
    });
    let absent = 0;
    weights.forEach((weight, i) => {
      absent += left.bar(steps[i], weight, 22, "series-0");
      if (!Number.isFinite(weight)) return;
      const said = String(Number(weight.toFixed(3)));
      svg.append(shape("text", { x: 36 + left.x(steps[i]), y: 64 + left.y(weight) - 5, "text-anchor": "middle" }, said));
    });
    const every = Math.ceil((high - low + 1) / 7);
    const powers = Array.from({ length: high - low + 1 }, (_, i) => low + i).filter((_, i) => i % every === 0);
    const right = panel(svg, {
      left: 326, top: 64, width: 364, height: 218, xRange, yRange: [10 ** low, 10 ** high], xTicks: steps,
      yTicks: powers.map((power) => [10 ** power, `1e${power}`]), xLabel: "inner step",
      yLabel: "gradient at the parameters after the step: norm (log)", log: true,
    });
    const wide = Math.min(20, 100 / xRange[1]);
    const shift = (wide + 2) / (right.x(1) - right.x(0)); // one bar and a little, in steps
    steps.forEach((step, i) => {
      absent += right.bar(step - shift, direct[i], wide, "series-0");
      absent += right.bar(step, chained[i], wide, "series-1");
      absent += right.bar(step + shift, plain[i], wide, "outline");
    });
    const names = ["direct: its own loss", "through later steps", "plain MAML, all"];
    legend(svg, 36, 18, [["series-0", names[0], "bar"], ["series-1", names[1], "bar"], ["outline", names[2], "bar"]]);
    const said = steps.map((step, i) => `step ${step} has weight ${say(weights[i])}, direct gradient ${say(direct[i])}, `
      + `through later steps ${say(chained[i])}, in plain MAML ${say(plain[i])}`);
    const controls = data.controls;
    const words = `Schedule ${controls[2].values[schedule]}, epoch ${epoch}, ${steps.length} inner ${steps.length === 1 ? "step" : "steps"}: ${said.join("; ")}.`;
    return { words, absent };
  },
};
