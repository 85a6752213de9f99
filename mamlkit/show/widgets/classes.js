// Bars of class probabilities, with the picture of each class below its bar. `probabilities` may be empty, for no bars;
// `truth` is the label of the true class, or null where nobody knows it; `style` colours the bars. Returns how many
// probabilities were not finite.
function classBars(svg, { left, top, width, height, pictures, side, channels, probabilities, truth, style }) {
  const area = channels * side * side;
  const labels = Array.from({ length: pictures.length / area }, (_, label) => label);
  const wide = width / labels.length;
  const size = Math.min(44, wide - 6);
  const bars = panel(svg, {
    left, top, width, height, xRange: [-0.5, labels.length - 0.5], yRange: [0, 1.2],
    xTicks: labels.map((label) => [label, `label ${label}`]),
    yTicks: [[0, "0"], [0.25, "25"], [0.5, "50"], [0.75, "75"], [1, "100"]], xLabel: "", yLabel: "probability (%)",
  });
  let absent = 0;
  labels.forEach((label) => {
    const x = bars.x(label);
    const box = { x: left + x - size / 2, y: top + height + 24, width: size, height: size };
    svg.append(still(pictures.subarray(label * area, (label + 1) * area), side, channels, box));
    if (!probabilities.length) return;
    const value = probabilities[label];
    absent += bars.bar(label, value, 0.55 * wide, style);
    if (label === truth) bars.bar(label, value, 0.55 * wide, "outline");
    if (Number.isFinite(value)) {
      bars.inside.append(shape("text", { x, y: bars.y(value) - 5, "text-anchor": "middle" }, percent(value)));
    }
    if (label !== truth) return;
    svg.append(shape("rect", { class: "bar outline", ...box }));
    svg.append(shape("text", { x: left + x, y: box.y + size + 16, "text-anchor": "middle" }, "true class"));
  });
  return absent;
}

// A picture inside an SVG.
function still(pixels, side, channels, box) {
  const href = picture(pixels, side, channels).toDataURL();
  return shape("image", { href, style: "image-rendering: pixelated", ...box });
}

const percent = (share) => (Number.isFinite(share) ? `${Math.round(100 * share)} %` : "not finite");

const likeliest = (shares) => Array.from(shares).reduce(
  (best, share, i) => (Number.isFinite(share) && !(share <= shares[best]) ? i : best), 0);
