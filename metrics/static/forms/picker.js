// Lists of words: a text area with one in each line becomes a row of entries with an input for the next.
import { el } from "../dashboard/dom.js";
import { gettext } from "../dashboard/i18n.js";

const labelOf = (field) =>
  document.querySelector(`label[for="${CSS.escape(field.id)}"]`)?.textContent.replace(/[*:\s]+$/, "").trim() ?? "";

const entriesOf = (area) => area.value.split("\n").map((line) => line.trim()).filter(Boolean);

function startPicker(area) {
  const name = labelOf(area) || area.closest("td")?.dataset.label || gettext("Entry");
  const list = area.parentElement.querySelector("datalist");
  const input = el("input", {
    type: "text",
    class: "picker-input",
    "aria-label": gettext("%s: add an entry", name),
    placeholder: gettext("Add…"),
    autocomplete: "off",
    spellcheck: "false",
  });
  if (list) input.setAttribute("list", list.id);
  const entries = el("ul", { class: "picker-entries", "aria-label": name });

  function write(values) {
    area.value = values.join("\n");
    area.dispatchEvent(new Event("change", { bubbles: true }));
    draw();
  }

  function draw() {
    const values = entriesOf(area);
    entries.replaceChildren(
      ...values.map((value, index) => {
        const remove = el("button", { type: "button", "aria-label": gettext("Remove %s", value) }, "×");
        remove.addEventListener("click", () => {
          write(values.toSpliced(index, 1));
          (entries.querySelectorAll("button")[Math.min(index, values.length - 2)] ?? input).focus();
        });
        return el("li", {}, el("span", {}, value), remove);
      }),
    );
    entries.hidden = !values.length;
  }

  function add() {
    const added = input.value.split(/[\n,]/).map((each) => each.trim()).filter(Boolean);
    input.value = "";
    const values = entriesOf(area);
    const fresh = added.filter((each) => !values.includes(each));
    if (fresh.length) write([...values, ...fresh]);
  }

  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === ",") {
      if (!input.value.trim() && event.key === "Enter") return;
      event.preventDefault();
      add();
    } else if (event.key === "Backspace" && !input.value && area.value) {
      write(entriesOf(area).slice(0, -1));
    }
  });
  input.addEventListener("change", add);
  area.form?.addEventListener("submit", add, true);
  area.hidden = true;
  area.after(entries, input);
  const label = document.querySelector(`label[for="${CSS.escape(area.id)}"]`);
  input.id = `${area.id}_add`;
  if (label) label.htmlFor = input.id;
  draw();
}

export function startPickers(root) {
  for (const area of root.querySelectorAll("textarea[data-picker]:not([hidden])")) {
    if (!area.closest(".empty-form")) startPicker(area);
  }
}
