// The colour theme: system, light or dark. Applied before the first paint and stored in this browser only.
(() => {
  const gettext = globalThis.gettext ?? ((text) => text);
  const names = { system: gettext("Theme: system"), light: gettext("Theme: light"), dark: gettext("Theme: dark") };
  const root = document.documentElement;
  const order = ["system", "light", "dark"];
  const stored = () => {
    try { return localStorage.getItem("gateway-theme"); } catch { return null; }
  };
  const show = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.textContent = names[theme];
    }
  };
  let theme = order.includes(stored()) ? stored() : "system";
  show(theme);
  document.addEventListener("DOMContentLoaded", () => {
    show(theme);
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        theme = order[(order.indexOf(theme) + 1) % order.length];
        try { localStorage.setItem("gateway-theme", theme); } catch { /* storage is unavailable */ }
        show(theme);
      });
    }
  });
})();
