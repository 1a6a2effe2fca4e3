// What is wrong with a form that was not saved: a list of links to its fields, at the beginning of the page.
import { el } from "../dashboard/dom.js";

const CONTROLS = "input:not([type=hidden]), select, textarea, button";
const MESSAGE = ".errorlist, .text-red-600:not(.errorlist *):not(label *)";

const plain = (node) => node?.textContent.replace(/\s+/g, " ").replace(/[*:\s]+$/, "").trim() ?? "";

/** The field of this box: {control, text, message}; null if the box has no control or no message. */
function fieldOf(box) {
  const controls = [...box.querySelectorAll(CONTROLS)];
  const shown = controls.find((each) => !each.hidden && !each.disabled);
  const message = box.querySelector(MESSAGE);
  if (!shown || !plain(message)) return null;
  const label = box.querySelector("label") ? plain(box.querySelector("label")) : box.dataset.label;
  const section = plain(box.closest("fieldset")?.querySelector("h2"));
  return { control: shown, controls, message, text: [section, label, plain(message)].filter(Boolean).join(": ") };
}

/** Fields of several controls, such as a number and its unit, name their message too. */
function describe({ controls, message }) {
  if (!message.id) return;
  for (const each of controls) if (!each.hasAttribute("aria-describedby")) each.setAttribute("aria-describedby", message.id);
}

export function startErrors(form) {
  const note = form.querySelector(".errornote");
  const boxes = [...form.querySelectorAll(".field-line.errors, td.errors")];
  const fields = note ? boxes.map(fieldOf).filter(Boolean) : [];
  if (!fields.length) return;
  for (const { control } of fields) {
    const folded = control.closest("details");
    if (folded) folded.open = true;
  }
  fields.forEach(describe);
  const items = fields.map(({ control, text }) => {
    const link = el("a", { href: `#${control.id}`, class: "underline" }, text);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      control.focus();
      control.scrollIntoView({ block: "center" });
    });
    return el("li", {}, link);
  });
  note.after(el("ul", { class: "error-summary" }, ...items));
  note.tabIndex = -1;
  note.focus();
}
