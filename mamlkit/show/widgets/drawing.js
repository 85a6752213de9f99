// What explorers draw with: elements, axes with lines, bands, marks and bars, tables of coloured cells, legends, pictures.

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

const shape = (tag, attributes = {}, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

// An SVG 700 units wide, in the figure.
function drawing(figure, height) {
  const svg = shape("svg", { viewBox: `0 0 700 ${height}`, "aria-hidden": "true" });
  figure.append(svg);
  return svg;
}

// Numbers for people: two digits, powers of ten where they are far from one.
function say(value, digits = 2) {
  if (!Number.isFinite(value)) return "not finite";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e4 || size < 1e-3 ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
}

// A panel with axes inside an SVG: {x, y} map a value to a pixel of `inside`; line, mark and bar draw, and leave gaps
// at NaN and inf. xTicks and yTicks are numbers, or pairs [number, text].
function panel(svg, { left, top, width, height, xRange, yRange, xTicks, yTicks, xLabel, yLabel, log = false }) {
  const scaled = log ? Math.log10 : (value) => value;
  const [low, high] = yRange.map(scaled);
  const x = (value) => ((value - xRange[0]) / (xRange[1] - xRange[0])) * width;
  const y = (value) => height - ((scaled(value) - low) / (high - low)) * height;
  const pair = (tick) => (Array.isArray(tick) ? tick : [tick, String(tick)]);
  for (const [tick, text] of yTicks.map(pair)) {
    const at = top + y(tick);
    svg.append(shape("line", { class: "grid", x1: left, x2: left + width, y1: at, y2: at }));
    svg.append(shape("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, text));
  }
  for (const [tick, text] of xTicks.map(pair)) {
    svg.append(shape("text", { x: left + x(tick), y: top + height + 16, "text-anchor": "middle" }, text));
  }
  svg.append(shape("rect", { class: "frame", x: left, y: top, width, height }));
  svg.append(shape("text", { x: left + width / 2, y: top + height + 33, "text-anchor": "middle" }, xLabel));
  svg.append(shape("text", { x: left, y: top - 8 }, yLabel));
  const inside = shape("svg", { x: left, y: top, width, height, viewBox: `0 0 ${width} ${height}` });
  svg.append(inside); // an inner svg clips what lies outside its box
  const clip = (at) => Math.max(-1e4, Math.min(1e4, at)).toFixed(1);
  const line = (xs, ys, style) => {
    let [path, gaps, pen] = ["", 0, "M"];
    ys.forEach((value, i) => {
      const at = y(value);
      if (!Number.isFinite(at)) { gaps += 1; pen = "M"; return; }
      path += `${pen}${x(xs[i]).toFixed(1)} ${clip(at)}`;
      pen = "L";
    });
    inside.append(shape("path", { class: `line ${style}`, d: path }));
    return gaps;
  };
  const band = (xs, lows, highs, style) => {
    const there = xs.map((_, i) => i).filter((i) => Number.isFinite(y(lows[i])) && Number.isFinite(y(highs[i])));
    const edge = (of, order) => order.map((i) => `${x(xs[i]).toFixed(1)} ${clip(y(of[i]))}`);
    const points = [...edge(highs, there), ...edge(lows, [...there].reverse())];
    if (points.length) inside.append(shape("path", { class: `band ${style}`, d: `M${points.join("L")}Z` }));
  };
  const mark = (px, py, style, square = false) => {
    const [cx, cy] = [x(px), y(py)];
    if (!Number.isFinite(cy)) return;
    inside.append(square
      ? shape("rect", { class: `mark ${style}`, x: cx - 5, y: cy - 5, width: 10, height: 10 })
      : shape("circle", { class: `mark ${style}`, cx, cy, r: 5 }));
  };
  // A bar from the bottom, or from zero where that is inside; a value that is not finite is a hatched box with a cross.
  const bar = (px, value, wide, style) => {
    const at = y(value);
    if (!Number.isFinite(at)) {
      if (log && value === 0) return 0;
      absentBox(inside, x(px) - wide / 2, 2, wide, height - 4);
      return 1;
    }
    const foot = !log && low < 0 ? y(0) : height;
    const [from, to] = [Math.min(at, foot), Math.max(at, foot)];
    inside.append(shape("rect", { class: `bar ${style}`, x: x(px) - wide / 2, y: from, width: wide, height: to - from }));
    return 0;
  };
  return { line, band, mark, bar, x, y, inside };
}

// What stands where a value is not finite.
function absentBox(svg, x, y, width, height) {
  svg.append(shape("rect", { class: "absent", x, y, width, height }));
  const [cx, cy, r] = [x + width / 2, y + height / 2, Math.min(width, height, 14) / 2 - 1];
  svg.append(shape("path", { class: "cross", d: `M${cx - r} ${cy - r}L${cx + r} ${cy + r}M${cx - r} ${cy + r}L${cx + r} ${cy - r}` }));
}

// A table of coloured cells. colour(value) gives [css colour, dark?]; text(value, row, column) what stands in a cell.
// rows and columns are labels; `chosen` = [row, column] is framed; both may be null for none.
function heat(svg, { left, top, width, height, rows, columns, values, colour, text, chosen, xLabel, yLabel }) {
  const [wide, high] = [width / columns.length, height / rows.length];
  let gaps = 0;
  rows.forEach((row, i) => {
    svg.append(shape("text", { x: left - 6, y: top + (i + 0.5) * high + 4, "text-anchor": "end" }, row));
    columns.forEach((_, j) => {
      const value = values[i * columns.length + j];
      const [x, y] = [left + j * wide, top + i * high];
      if (!Number.isFinite(value)) { absentBox(svg, x, y, wide, high); gaps += 1; return; }
      const [fill, dark] = colour(value);
      svg.append(shape("rect", { class: "cell", x, y, width: wide, height: high, fill }));
      const said = text ? text(value, i, j) : "";
      if (said) {
        const style = `text-anchor: middle; fill: ${dark ? "#fff" : "#111"}`;
        svg.append(shape("text", { x: x + wide / 2, y: y + high / 2 + 4, style }, said));
      }
    });
  });
  columns.forEach((column, j) => {
    svg.append(shape("text", { x: left + (j + 0.5) * wide, y: top + height + 16, "text-anchor": "middle" }, column));
  });
  if (xLabel) svg.append(shape("text", { x: left + width / 2, y: top + height + 33, "text-anchor": "middle" }, xLabel));
  if (yLabel) svg.append(shape("text", { x: left, y: top - 8 }, yLabel));
  if (chosen) {
    const [i, j] = chosen;
    svg.append(shape("rect", { class: "chosen", x: left + j * wide, y: top + i * high, width: wide, height: high }));
  }
  return gaps;
}

// Colours for numbers. `ramp` runs from 0 to 1 (viridis); `balance` from -1 over a neutral 0 to 1 (purple, orange).
const mix = (stops, share) => {
  const at = Math.max(0, Math.min(1, share)) * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  const channel = stops[i].map((low, c) => Math.round(low + (stops[i + 1][c] - low) * (at - i)));
  const light = 0.299 * channel[0] + 0.587 * channel[1] + 0.114 * channel[2];
  return [`rgb(${channel.join(",")})`, light < 140];
};
const ramp = (share) => mix([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], share);
const balance = (share) => mix([[84, 39, 136], [153, 142, 195], [247, 247, 247], [241, 163, 64], [179, 88, 6]], (share + 1) / 2);

// A row of samples and names: items are [style, text, kind], kind "line" (the default), "mark" or "bar".
function legend(svg, x, y, items) {
  let at = x;
  for (const [style, text, kind = "line"] of items) {
    if (kind === "line") svg.append(shape("line", { class: `line ${style}`, x1: at, x2: at + 30, y1: y, y2: y }));
    if (kind === "mark") svg.append(shape("circle", { class: `mark ${style}`, cx: at + 15, cy: y, r: 5 }));
    if (kind === "bar") svg.append(shape("rect", { class: `bar ${style}`, x: at + 8, y: y - 6, width: 14, height: 12 }));
    svg.append(shape("text", { x: at + 36, y: y + 4 }, text));
    at += 52 + 6.6 * text.length;
  }
}

// A picture of channels x side x side bytes on a canvas.
function picture(pixels, side, channels) {
  const canvas = element("canvas", { width: side, height: side });
  const image = new ImageData(side, side);
  for (let i = 0; i < side * side; i += 1) {
    for (let c = 0; c < 3; c += 1) image.data[4 * i + c] = pixels[(c % channels) * side * side + i];
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
