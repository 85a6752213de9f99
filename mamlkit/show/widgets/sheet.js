// A sheet to draw on, by mouse, pen or touch. A stroke is a list of points [x, y], whole numbers from 0 to 99.
const GRID = 100;
const PEN = 4; // of GRID

function paintStrokes(canvas, strokes) {
  const context = canvas.getContext("2d");
  const zoom = canvas.width / GRID;
  context.fillStyle = "#000"; // as the pictures of the data sets are: light ink on dark
  context.fillRect(0, 0, canvas.width, canvas.height);
  Object.assign(context, { strokeStyle: "#fff", lineWidth: PEN * zoom, lineCap: "round", lineJoin: "round" });
  for (const [[x, y], ...rest] of strokes) {
    context.beginPath();
    context.moveTo(x * zoom, y * zoom);
    for (const [toX, toY] of [[x + 0.01, y], ...rest]) context.lineTo(toX * zoom, toY * zoom); // a dot is a short line
    context.stroke();
  }
}

// `strokesOf()` is what is drawn so far; `begun()` is called when a pen comes down, `ended(stroke)` when it is lifted.
// One pen at a time: another finger does nothing.
function drawOn(canvas, strokesOf, begun, ended) {
  let [pen, stroke] = [null, []];
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const place = (offset, size) => Math.max(0, Math.min(GRID - 1, Math.round((offset / size) * GRID)));
    return [place(event.clientX - box.left, box.width), place(event.clientY - box.top, box.height)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (pen !== null || event.button !== 0) return;
    event.preventDefault();
    begun();
    [pen, stroke] = [event.pointerId, [at(event)]];
    canvas.setPointerCapture(pen);
    paintStrokes(canvas, [...strokesOf(), stroke]);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pen) return;
    const between = event.getCoalescedEvents?.() ?? [];
    for (const each of between.length ? between : [event]) {
      const [x, y] = at(each);
      if (Math.hypot(x - stroke.at(-1)[0], y - stroke.at(-1)[1]) >= 2) stroke.push([x, y]);
    }
    paintStrokes(canvas, [...strokesOf(), stroke]);
  });
  const end = (event) => {
    if (event.pointerId !== pen) return;
    pen = null;
    ended(stroke);
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
}
