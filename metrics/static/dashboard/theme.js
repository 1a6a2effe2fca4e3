// Light, dark or the system's own: applied before the first paint, kept in this browser alone.
(() => {
  const root = document.documentElement;
  const order = ["system", "light", "dark"];
  const kept = () => {
    try { return localStorage.getItem("gateway-theme"); } catch { return null; }
  };
  const show = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.textContent = `Theme: ${theme}`;
      button.dataset.short = theme;
    }
  };
  let theme = order.includes(kept()) ? kept() : "system";
  show(theme);
  document.addEventListener("DOMContentLoaded", () => {
    show(theme);
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        theme = order[(order.indexOf(theme) + 1) % order.length];
        try { localStorage.setItem("gateway-theme", theme); } catch { /* a browser that keeps nothing */ }
        show(theme);
      });
    }
  });
})();
