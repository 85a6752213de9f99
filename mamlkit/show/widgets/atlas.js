// Left, the map of plain MAML and that of the chosen method, on one network; right and below, the course of one run of
// the framed cell, and its gradients by layer and inner step in the last stored epoch of the chosen meta-iteration.
const view = {
  draw(figure, data, network, method, k, r, now) {
    const [networks, methods, steps, rates, moments] = data.controls.map((control) => control.values);
    const { runs, ranges, layers, epochs, every, total } = data;
    const svg = drawing(figure, 410);
    const map = (m) => ({
      dead: data.rows("dead", network, m), accuracy: data.rows("accuracy", network, m), runs, steps, rates, chosen: [k, r],
    });
    const compared = method !== 0;
    atlasMap(svg, { left: 34, top: 36, title: `${methods[0]}: dead runs · accuracy (%)`, ...map(0) });
    if (compared) atlasMap(svg, { left: 34, top: 250, title: methods[method], ...map(method) });
    const at = [network, method, k, r];
    const [loss, norm] = ["loss", "grad_norm"].map((name) => decoded(data.rows(name, ...at), ranges[name]));
    const stored = Math.floor((now * epochs) / total); // of the stored epochs, the last that had begun
    const epoch = stored * every;
    const inner = decoded(data.rows(`inner_norms.${steps[k]}`, network, method, r, stored), ranges.inner_norms);
    course(svg, { left: 300, top: 36, width: 150, values: loss, total, every, now, label: "meta-loss (nats)" });
    course(svg, { left: 300, top: 250, width: 150, values: norm, total, every, now, label: "norm of the meta-gradient" });
    layerHeat(svg, {
      left: 510, top: 36, width: 180, norms: inner, steps: Number(steps[k]), layers: layers[network],
      range: ranges.inner_norms, label: `support gradient, epoch ${epoch + 1}`,
    });
    const cell = (k * rates.length) + r;
    const [died, right] = [data.rows("dead", network, method)[cell], data.rows("accuracy", network, method)[cell]];
    const why = data.why[((network * methods.length + method) * steps.length + k) * rates.length + r];
    const lines = [
      `${died} of ${runs} runs died`, `mean accuracy ${Math.round(100 * right)} %`, `run shown: seed ${data.seeds[data.rows("shown", ...at)[0]]}`,
      ...wrapped(why ? `it died: ${why}` : "it lives", 30),
    ];
    const scale = ranges.inner_norms.map((power) => say(10 ** power, 1));
    const all = [`dark: up to ${scale[0]}`, `light: from ${scale[1]}`, "", ...lines];
    all.forEach((line, i) => svg.append(shape("text", { x: 510, y: 262 + 17 * i }, line)));
    const told = (value, [, high]) => `${value >= 10 ** high ? "at least " : ""}${say(value)}`;
    const words = `${networks[network]}, ${methods[method]}, ${steps[k]} inner steps at rate ${rates[r]}: ${lines.slice(0, 3).join(", ")}, ${lines.slice(3).join(" ")}. `
      + `Meta-iteration ${moments[now]}: meta-loss ${told(loss[now], ranges.loss)}, `
      + `norm of the meta-gradient ${told(norm[now], ranges.grad_norm)}, largest support gradient in epoch ${epoch + 1} ${say(Math.max(...inner.filter(Number.isFinite)))}.`;
    return { words, absent: [...loss, ...norm].filter((value) => !Number.isFinite(value)).length };
  },
};

function wrapped(text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1).length + word.length >= width) lines.push("");
    lines[lines.length - 1] += `${lines.at(-1) ? " " : ""}${word}`;
  }
  return lines;
}
