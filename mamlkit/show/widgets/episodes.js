// The images of one episode as the network gets them: one row for each class, support left, query right.
const view = {
  draw(figure, data, step) {
    const { nWay, kShot, qQuery, side, channels } = data;
    const columns = `max-content repeat(${kShot}, max-content) max-content repeat(${qQuery}, max-content)`;
    const wall = element("div", { class: "wall", "aria-hidden": "true", style: `grid-template-columns: ${columns}` });
    const head = (text, span) => element("span", { class: "head", style: `grid-column: span ${span}` }, text);
    wall.append(head("label", 1), head("support", kShot), element("span"), head("query", qQuery));
    for (let label = 0; label < nWay; label += 1) {
      wall.append(element("span", { class: "name" }, `${label}  ${data.names[step][label]}`));
      for (let i = 0; i < kShot; i += 1) wall.append(picture(data.rows("support", step, label, i), side, channels));
      wall.append(element("span", { class: "rule" }));
      for (let i = 0; i < qQuery; i += 1) wall.append(picture(data.rows("query", step, label, i), side, channels));
    }
    figure.append(wall);
    const labels = data.names[step].map((name, label) => `label ${label} ${name}`.trimEnd()).join("; ");
    const sizes = `${nWay} classes with ${kShot} support and ${qQuery} query images each`;
    return { words: `Episode ${step}, ${sizes}: ${labels}.`, absent: 0 };
  },
};
