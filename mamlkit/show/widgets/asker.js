// Questions to the kernel, one at a time and in order; of those of kind "ask" the newest alone. `heard(reply, buffers,
// question)` gets each answer; a reply of kind "silent" where the kernel takes too long, "none" where there is no kernel.
const PATIENCE = 10000; // milliseconds

function makeAsker(model, heard) {
  const queue = [];
  let [open, number] = [null, 0];
  const next = () => {
    if ((open && !open.silent) || !queue.length) return;
    number += 1;
    const sent = { number, question: queue.shift(), silent: false };
    sent.timer = setTimeout(() => { sent.silent = true; heard({ kind: "silent" }, [], sent.question); next(); }, PATIENCE);
    open = sent;
    try { model.send({ ...sent.question, number }); } catch { /* the silence tells */ }
  };
  model?.on("msg:custom", (reply, buffers) => {
    if (reply.number !== open?.number) return;
    const { timer, question } = open;
    clearTimeout(timer);
    open = null;
    heard(reply, buffers, question);
    next();
  });
  return (question) => {
    if (!model) { heard({ kind: "none" }, [], question); return; }
    const old = question.kind === "ask" ? queue.findIndex(({ kind }) => kind === "ask") : -1;
    if (old >= 0) queue.splice(old, 1);
    queue.push(question);
    next();
  };
}
