// Names for what Unfold leaves without: the regions of its scroll bars, the sidebar, and the fields of a table of rows.
(() => {
  const gettext = (text) => globalThis.gettext?.(text) ?? text;

  function nameRegions() {
    const regions = { "#nav-sidebar": gettext("Navigation"), "#changelist": gettext("Results") };
    for (const region of document.querySelectorAll(".simplebar-content-wrapper[role=region]")) {
      const place = Object.keys(regions).find((selector) => region.closest(selector));
      if (place) region.setAttribute("aria-label", regions[place]);
    }
    document.getElementById("nav-sidebar-inner")?.setAttribute("aria-label", gettext("Pages"));
  }

  function nameFields() {
    for (const cell of document.querySelectorAll(".tabular td[data-label]")) {
      for (const field of cell.querySelectorAll("input:not([type=hidden]), select, textarea")) {
        if (!field.labels?.length) field.setAttribute("aria-label", cell.dataset.label);
      }
    }
    for (const head of document.querySelectorAll(".tabular th")) {
      if (!head.textContent.trim()) {
        const text = document.createElement("span");
        text.className = "sr-only";
        text.textContent = gettext("Remove");
        head.append(text);
      }
    }
  }

  window.addEventListener("load", () => {
    nameRegions();
    nameFields();
  });
  document.addEventListener("formset:added", () => setTimeout(nameFields));
})();
