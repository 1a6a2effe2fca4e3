// Accessible names for the admin's Select2 fields: what Select2 puts beside a <select> has no name while it is empty.
(() => {
  function labelOf(select) {
    const label = select.id && document.querySelector(`label[for="${CSS.escape(select.id)}"]`);
    if (label && !label.id) label.id = `${select.id}_label`;
    return label || null;
  }

  function nameFields() {
    for (const select of document.querySelectorAll("select.select2-hidden-accessible")) {
      const label = labelOf(select);
      const field = select.nextElementSibling?.querySelector(".select2-selection[role=combobox]");
      if (!label || !field || field.getAttribute("aria-labelledby")?.includes(label.id)) continue;
      field.setAttribute("aria-labelledby", `${label.id} ${field.getAttribute("aria-labelledby") ?? ""}`.trim());
      for (const part of field.querySelectorAll("[role=textbox], .select2-search__field")) {
        part.setAttribute("aria-labelledby", label.id);
      }
    }
  }

  function nameSearch({ target }) {
    const label = labelOf(target);
    const search = document.querySelector(".select2-container--open .select2-search__field");
    if (label && search) search.setAttribute("aria-labelledby", label.id);
  }

  window.addEventListener("load", () => {
    nameFields();
    window.django?.jQuery(document).on("select2:open", nameSearch);
  });
  document.addEventListener("formset:added", () => setTimeout(nameFields));
})();
