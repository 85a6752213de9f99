// The classes of one episode as a wall: support left; query right, each with the label it was given and a tick or a cross.
const view = {
  draw(figure, data, episode, step, start) {
    const { nWay, kShot, qQuery, side, channels, names, series, stepless } = data;
    const steps = stepless.includes(series[start]) ? "" : ` after ${step} steps`;
    const columns = `max-content repeat(${kShot}, max-content) max-content repeat(${qQuery}, max-content)`;
    const wall = element("div", { class: "wall", "aria-hidden": "true", style: `grid-template-columns: ${columns}` });
    const head = (text, span) => element("span", { class: "head", style: `grid-column: span ${span}` }, text);
    const labels = data.rows("labels", start, step, episode);
    const rights = names[episode].map((_, label) =>
      Array.from(labels.subarray(label * qQuery, (label + 1) * qQuery)).filter((given) => given === label).length);
    const right = rights.reduce((a, b) => a + b, 0);
    wall.append(head("label", 1), head("support", kShot), element("span"));
    wall.append(head(`query${steps}: ${right} of ${labels.length} right`, qQuery));
    names[episode].forEach((name, label) => {
      wall.append(element("span", { class: "name" }, `${label}  ${name}`));
      for (let i = 0; i < kShot; i += 1) wall.append(picture(data.rows("support", episode, label, i), side, channels));
      wall.append(element("span", { class: "rule" }));
      for (let i = 0; i < qQuery; i += 1) {
        const given = labels[label * qQuery + i];
        const [sign, style] = given === label ? ["✓", "right"] : ["✗", "wrong"];
        const shown = picture(data.rows("query", episode, label, i), side, channels);
        wall.append(element("figure", { class: style }, shown, element("figcaption", {}, `${sign} ${given}`)));
      }
    });
    figure.append(wall);
    const rows = names[episode].map((name, label) => `label ${label} ${name}`.trimEnd() + ` ${rights[label]} of ${qQuery}`);
    const words = `Episode ${episode}, ${series[start]}${steps}: ${right} of ${labels.length} query pictures right; `
      + `${rows.join("; ")}.`;
    return { words, absent: 0 };
  },
};
