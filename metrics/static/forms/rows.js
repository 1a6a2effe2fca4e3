// Lists of rows with several controls each: a button adds another row.
import { el } from "../dashboard/dom.js";

function add(list, button) {
  const index = list.querySelectorAll(".setting-rows-item").length;
  const row = list.querySelector("template").content.firstElementChild.cloneNode(true);
  row.setAttribute("aria-label", `${list.dataset.rows} ${index + 1}`);
  for (const each of row.querySelectorAll("[id], [name], [for], [list]")) {
    for (const name of ["id", "name", "for", "list"]) {
      if (each.hasAttribute(name)) each.setAttribute(name, each.getAttribute(name).replace("__index__", index));
    }
  }
  button.before(row);
  row.querySelector("input, select, textarea").focus();
  button.hidden = index + 1 >= Number(list.dataset.limit);
}

export function startRows(root) {
  for (const list of root.querySelectorAll("[data-rows]")) {
    const button = el("button", { type: "button", class: "setting-button" }, list.dataset.add);
    button.addEventListener("click", () => add(list, button));
    list.append(button);
  }
}
