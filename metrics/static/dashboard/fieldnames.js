// Accessible names that Unfold, Django and Select2 leave out: of fields in tables, of Select2's fields, of columns.
(() => {
  const FIELDS = ".select2-hidden-accessible, td input, td select, td textarea, thead th, .help-tooltip";
  let isScheduled = false;

  function labelOf(select) {
    const label = select.id && document.querySelector(`label[for="${CSS.escape(select.id)}"]`);
    if (label && !label.id) label.id = `${select.id}_label`;
    return label || null;
  }

  /** What Select2 puts beside a <select> has no name while it is empty. */
  function nameSelect(select) {
    const label = labelOf(select);
    const field = select.nextElementSibling?.querySelector(".select2-selection[role=combobox]");
    if (!label || !field || field.getAttribute("aria-labelledby")?.includes(label.id)) return;
    field.setAttribute("aria-labelledby", `${label.id} ${field.getAttribute("aria-labelledby") ?? ""}`.trim());
    for (const part of field.querySelectorAll("[role=textbox], .select2-search__field")) {
      part.setAttribute("aria-labelledby", label.id);
    }
  }

  /** The text of a column's head, without the names of icons. */
  function textOf(head) {
    const copy = head?.cloneNode(true);
    copy?.querySelectorAll(".material-symbols-outlined").forEach((icon) => icon.remove());
    return copy?.textContent.replace("*", "").trim() ?? "";
  }

  /** A field in a table is named by its column. */
  function nameCell(field) {
    if (field.type === "hidden" || field.labels?.length || field.hasAttribute("aria-label") || field.hasAttribute("aria-labelledby")) return;
    const cell = field.closest("td");
    const heads = field.closest("table")?.querySelectorAll("thead tr:last-child > *");
    const name = textOf(heads?.[cell.cellIndex]) || cell.dataset.label || field.title;
    if (name) field.setAttribute("aria-label", name);
  }

  function nameAll() {
    isScheduled = false;
    for (const node of document.querySelectorAll(FIELDS)) {
      if (node.matches("select.select2-hidden-accessible")) nameSelect(node);
      else if (node.matches("th")) replaceIfEmpty(node);
      else if (node.matches(".help-tooltip")) node.setAttribute("role", "img");
      else nameCell(node);
    }
  }

  /** The head of a column without a name is no header. */
  function replaceIfEmpty(head) {
    if (head.textContent.trim() || head.querySelector("input, a, button")) return;
    const cell = document.createElement("td");
    for (const { name, value } of head.attributes) if (name !== "scope") cell.setAttribute(name, value);
    head.replaceWith(cell);
  }

  function schedule() {
    if (!isScheduled) requestAnimationFrame(nameAll);
    isScheduled = true;
  }

  function nameSearch({ target }) {
    const label = labelOf(target);
    const search = document.querySelector(".select2-container--open .select2-search__field");
    if (label && search) search.setAttribute("aria-labelledby", label.id);
  }

  window.addEventListener("load", () => window.django?.jQuery?.(document).on("select2:open", nameSearch));
  document.addEventListener("DOMContentLoaded", () => {
    schedule();
    new MutationObserver(schedule).observe(document.body, { childList: true, subtree: true });
  });
})();
