// What every explorer shares. A file beside this one adds `const view = { draw(figure, data, ...at) }`: it draws into
// the figure with the controls at the places `at`, and returns { words, absent }: what is shown, in words, and how
// many values could not be shown. All numbers are here from the start: nothing is asked of a kernel.

function mount(el, spec, payload, model) {
  const data = unpack(spec, payload);
  const figure = element("div", { role: "img" });
  const note = element("p", { class: "note", role: "status" });
  let at = [...spec.at];
  const show = () => {
    made.forEach(([, place], i) => place(at[i]));
    figure.replaceChildren();
    const { words, absent } = view.draw(figure, data, ...at);
    figure.setAttribute("aria-label", words);
    note.textContent = absent ? `${absent} values are not finite (NaN or inf); they are left out as gaps.` : "";
  };
  const made = spec.controls.map((control, i) => (control.kind === "choice" ? choice : slider)(control, (place) => {
    at = at.map((old, j) => (j === i ? place : old));
    show();
    model?.set("at", at);
    model?.save_changes();
  }));
  model?.off("change:at"); // of the numbers before these
  model?.on("change:at", () => { at = [...model.get("at")]; show(); });
  el.classList.add("mamlkit-explorer");
  el.replaceChildren(element("p", { class: "title" }, spec.title), figure, ...made.map(([row]) => row), note);
  show();
}
