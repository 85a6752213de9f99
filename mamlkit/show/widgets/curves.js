// What curves over meta-iterations share: a logarithmic axis that fits, and crosses where values are not finite.

const finite = (values) => Array.from(values).filter(Number.isFinite);

// A range for a logarithmic axis, a little wider than the values, and a few ticks at 1, 2 and 5 or at powers of ten.
function logAxis(values) {
  const there = finite(values).filter((value) => value > 0);
  const [least, most] = there.length ? [Math.min(...there) / 1.12, Math.max(...there) * 1.12] : [0.1, 10];
  const first = Math.floor(Math.log10(least));
  const decades = Array.from({ length: Math.ceil(Math.log10(most)) - first + 2 }, (_, i) => Number(`1e${first + i}`));
  const fine = decades.flatMap((power) => [1, 2, 5].map((digit) => Number((digit * power).toPrecision(1))));
  const within = (all) => {
    const low = all.findLastIndex((tick) => tick <= least);
    return all.slice(low, Math.max(all.findIndex((tick) => tick >= most), low + 1) + 1);
  };
  const ticks = within(fine).length <= 7 ? within(fine) : within(decades);
  const every = Math.ceil(ticks.length / 7);
  return {
    log: true, yRange: [ticks[0], ticks.at(-1)],
    yTicks: ticks.filter((_, i) => i % every === 0).map((tick) => [tick, say(tick, 1)]),
  };
}

// Red crosses at the bottom of a panel, where a value is not finite.
function crosses(box, xs) {
  const bottom = box.inside.viewBox.baseVal.height - 5;
  const d = xs.map((x) => `M${Math.max(1, box.x(x) - 4)} ${bottom - 8}l8 8m0 -8l-8 8`).join("");
  box.inside.append(shape("path", { class: "cross", d }));
}
