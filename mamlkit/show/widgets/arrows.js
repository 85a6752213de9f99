// Left, the contour lines of both losses, the inner path, and both meta-gradients as downhill arrows of equal length
// from the start of the path; right, how long the gradients are.
const view = {
  draw(figure, data, rate, last, curvature) {
    const { reach, arrow, range: [low, high] } = data;
    const styles = ["series-0", "series-1"];
    const names = ["second order", "first order"];
    const points = (flat) => Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
    const column = (pairs, axis) => pairs.map((pair) => pair[axis]);
    const svg = drawing(figure, 400);
    const plane = panel(svg, {
      left: 36, top: 52, width: 300, height: 300, xRange: [-reach, reach], yRange: [-reach, reach],
      xTicks: [-reach, 0, reach], yTicks: [-reach, 0, reach], xLabel: "first parameter", yLabel: "second parameter",
    });
    const [, , nLines] = data.arrays.contours.shape;
    const dots = "stroke-dasharray: 2 4";
    for (const loss of [0, 1]) {
      for (let i = 0; i < nLines; i += 1) {
        const line = points(data.rows("contours", curvature, loss, i));
        plane.line([...column(line, 0), line[0][0]], [...column(line, 1), line[0][1]], "truth");
        if (loss === 0) plane.inside.lastChild.setAttribute("style", dots);
      }
    }
    const path = points(data.rows("paths", curvature, rate)).slice(0, last + 1);
    const there = path.filter((pair) => pair.every(Number.isFinite));
    plane.line(column(there, 0), column(there, 1), "series-2");
    there.forEach(([x, y]) => plane.mark(x, y, "mark-2"));
    const outside = path.some((pair) => !pair.every((value) => Math.abs(value) <= reach));
    svg.append(shape("text", { x: 28 + plane.x(path[0][0]), y: 56 + plane.y(path[0][1]), "text-anchor": "end" }, "start"));

    const gradients = points(data.rows("gradients", curvature, rate, last));
    const lengths = gradients.map(([x, y]) => Math.hypot(x, y));
    const bars = panel(svg, {
      left: 420, top: 52, width: 250, height: 200, xRange: [-0.6, 1.6], yRange: [10 ** low, 10 ** high],
      xTicks: names.map((name, i) => [i, name]), xLabel: "",
      yTicks: Array.from({ length: high - low + 1 }, (_, i) => [10 ** (low + i), `1e${low + i}`]),
      yLabel: "length of the meta-gradient (log)", log: true,
    });
    gradients.forEach(([x, y], i) => {
      bars.bar(i, lengths[i], 50, styles[i]);
      const at = Math.max(14, bars.y(Math.min(Math.max(lengths[i], 10 ** low), 10 ** high)) - 5);
      if (Number.isFinite(at)) bars.inside.append(shape("text", { x: bars.x(i), y: at, "text-anchor": "middle" }, say(lengths[i])));
      if (!(lengths[i] > 0 && Number.isFinite(lengths[i]))) return;
      const [ux, uy] = [-x / lengths[i], -y / lengths[i]]; // downhill
      const [fromX, fromY] = [plane.x(path[0][0]), plane.y(path[0][1])];
      const size = arrow * 150 * (i ? 1 : 1.12); // so that both heads show where the arrows coincide
      const [toX, toY] = [fromX + ux * size, fromY - uy * size];
      plane.inside.append(shape("line", { class: `line ${styles[i]}`, x1: fromX, y1: fromY, x2: toX, y2: toY }));
      const [backX, backY] = [toX - 11 * ux, toY + 11 * uy];
      const head = `M${toX} ${toY}L${backX + 5 * uy} ${backY + 5 * ux}L${backX - 5 * uy} ${backY - 5 * ux}Z`;
      plane.inside.append(shape("path", { class: `mark mark-${i}`, d: head }));
    });
    const [[ax, ay], [bx, by]] = gradients;
    const cosine = (ax * bx + ay * by) / (lengths[0] * lengths[1]);
    const angle = (Math.acos(Math.max(-1, Math.min(1, cosine))) * 180) / Math.PI;
    const degrees = Number.isFinite(angle) ? `${Math.round(angle)} degrees` : "not defined";
    svg.append(shape("text", { x: 420, y: 300, style: "font-size: 15px" }, `angle between them: ${degrees}`));
    if (outside) svg.append(shape("text", { x: 420, y: 324 }, "the path leaves the picture"));
    legend(svg, 36, 14, [
      ["truth", "support loss"], ["truth", "query loss"], ["series-2", "inner path"], [styles[0], names[0]], [styles[1], names[1]],
    ]);
    svg.querySelectorAll("line.truth")[0].setAttribute("style", dots);
    const [rates, steps, curvatures] = data.controls.map((control) => control.values);
    const lengthsSaid = names.map((name, i) => `the ${name.replace(" ", "-")} meta-gradient has length ${say(lengths[i])}`).join(", ");
    const words = `Curvature ${curvatures[curvature]}, inner rate ${rates[rate]}, ${steps[last]} inner ${steps[last] === "1" ? "step" : "steps"}: ${lengthsSaid}; `
      + `the angle between them is ${degrees}.${outside ? " The path leaves the picture." : ""}`;
    const numbers = [...path.flat(), ...gradients.flat()];
    return { words, absent: numbers.filter((value) => !Number.isFinite(value)).length };
  },
};
