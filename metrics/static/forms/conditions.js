// Lists of conditions: a button adds another one.
import { el } from "../dashboard/dom.js";

const LIMIT = 64;

function add(list, button) {
  const index = list.querySelectorAll(".condition").length;
  const row = list.querySelector("template").content.firstElementChild.cloneNode(true);
  row.setAttribute("aria-label", `Condition ${index + 1}`);
  for (const each of row.querySelectorAll("[id], [name], [for]")) {
    for (const name of ["id", "name", "for"]) {
      if (each.hasAttribute(name)) each.setAttribute(name, each.getAttribute(name).replace("__index__", index));
    }
  }
  button.before(row);
  row.querySelector("input").focus();
  button.hidden = index + 1 >= LIMIT;
}

export function startConditions(form) {
  for (const list of form.querySelectorAll("[data-conditions]")) {
    const button = el("button", { type: "button", class: "setting-button" }, "Add a condition");
    button.addEventListener("click", () => add(list, button));
    list.append(button);
  }
}
