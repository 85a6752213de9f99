// The card of a game's end, to keep and to show: title, what was played and how fast, a bar for each score, who won. In a
// page of any theme it looks the same.
const CARD = { width: 1200, height: 630, ink: "#1c2733", pale: "#5b6773", paper: "#ffffff" };
const BARS = ["#c65f00", "#2077c4", "#17805f", "#7a6aa8", "#8a949e"]; // the reader's own first

function card(data, players, outcome, time) {
  const canvas = element("canvas", { width: CARD.width, height: CARD.height });
  const context = canvas.getContext("2d");
  const write = (text, x, y, size, { weight = 400, colour = CARD.ink, align = "left" } = {}) => {
    Object.assign(context, { font: `${weight} ${size}px system-ui, sans-serif`, fillStyle: colour, textAlign: align });
    context.fillText(text, x, y);
  };
  context.fillStyle = CARD.paper;
  context.fillRect(0, 0, CARD.width, CARD.height);
  context.fillStyle = BARS[0];
  context.fillRect(0, 0, CARD.width, 14);
  write(data.title, 70, 110, 60, { weight: 700 });
  const played = `${data.nRounds} rounds of ${data.nWay}-way one-shot on ${data.data}, median time ${time}`;
  write(played, 70, 162, 30, { colour: CARD.pale });
  const high = 330 / players.length;
  players.forEach(({ name, right }, i) => {
    const [y, thick] = [200 + i * high, 0.62 * high];
    const wide = (620 * right) / data.nRounds;
    const line = y + thick / 2 + 11;
    write(name, 340, line, 30, { weight: i ? 400 : 700, align: "right" });
    context.fillStyle = "#eef1f4";
    context.fillRect(364, y, 620, thick);
    context.fillStyle = BARS[Math.min(i, BARS.length - 1)];
    context.fillRect(364, y, wide, thick);
    write(`${right} of ${data.nRounds}`, 1004, line, 30, { weight: i ? 400 : 700 });
  });
  write(outcome, 70, 586, 34, { weight: 700 });
  return canvas;
}
