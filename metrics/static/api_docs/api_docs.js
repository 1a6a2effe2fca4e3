// What Swagger UI leaves out for screen readers: levels of headings, landmarks, names of fields, links within buttons.
(() => {
  const LEVELS = { "h3.opblock-tag": 2, ".models h4": 2, ".opblock-body h4": 3, ".opblock-body h5": 4 };
  const REGIONS = { ".information-container": "About this API", ".scheme-container": "Authorization" };
  let isScheduled = false;

  function mend() {
    isScheduled = false;
    for (const [selector, level] of Object.entries(LEVELS)) {
      for (const heading of document.querySelectorAll(`${selector}:not([aria-level])`)) {
        heading.setAttribute("role", "heading");
        heading.setAttribute("aria-level", level);
      }
    }
    for (const [selector, name] of Object.entries(REGIONS)) {
      const part = document.querySelector(selector);
      part?.setAttribute("role", "region");
      part?.setAttribute("aria-label", name);
    }
    for (const table of document.querySelectorAll("table[role=region][id]")) {
      table.setAttribute("aria-label", table.id.replaceAll("_", " "));
    }
    for (const field of document.querySelectorAll("select:not([aria-label]), textarea:not([aria-label])")) {
      const parameter = field.closest("tr")?.querySelector(".parameter__name")?.firstChild?.textContent;
      field.setAttribute("aria-label", parameter || (field.closest(".examples-select") ? "Example" : "Value"));
    }
    // The button that opens an operation contains a link to it, which the keyboard could not tell from the button.
    document.querySelectorAll(".opblock-summary-control a[href]").forEach((link) => link.removeAttribute("href"));
  }

  function schedule() {
    if (!isScheduled) requestAnimationFrame(mend);
    isScheduled = true;
  }

  document.addEventListener("DOMContentLoaded", () => {
    new MutationObserver(schedule).observe(document.body, { childList: true, subtree: true });
  });
})();
