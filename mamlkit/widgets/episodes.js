// The images of one episode as the network gets them: one row for each class, support left, query right.
const view = {
  draw(figure, data, step) {
    const { nWay, kShot, qQuery, side, channels } = data;
    const columns = `max-content repeat(${kShot}, max-content) max-content repeat(${qQuery}, max-content)`;
    const wall = element("div", { class: "wall", "aria-hidden": "true", style: `grid-template-columns: ${columns}` });
    const head = (text, span) => element("span", { class: "head", style: `grid-column: span ${span}` }, text);
    wall.append(head("label", 1), head("support", kShot), element("span"), head("query", qQuery));
    const picture = (pixels) => {
      const canvas = element("canvas", { width: side, height: side });
      const image = new ImageData(side, side);
      for (let i = 0; i < side * side; i += 1) {
        for (let c = 0; c < 3; c += 1) image.data[4 * i + c] = pixels[(c % channels) * side * side + i];
        image.data[4 * i + 3] = 255;
      }
      canvas.getContext("2d").putImageData(image, 0, 0);
      return canvas;
    };
    for (let label = 0; label < nWay; label += 1) {
      wall.append(element("span", { class: "name" }, `${label}  ${data.names[step][label]}`));
      for (let i = 0; i < kShot; i += 1) wall.append(picture(data.rows("support", step, label, i)));
      wall.append(element("span", { class: "rule" }));
      for (let i = 0; i < qQuery; i += 1) wall.append(picture(data.rows("query", step, label, i)));
    }
    figure.append(wall);
    return 0;
  },
};
