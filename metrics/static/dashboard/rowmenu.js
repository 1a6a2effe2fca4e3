// Keyboard access to the row menus of the admin: Unfold opens them from spans that cannot be focused.
(() => {
  const gettext = (text) => globalThis.gettext?.(text) ?? text;
  const FRAMES = 30; // about half a second, until an opened menu is visible

  function menuOf(opener) {
    const anchor = `$refs.${opener.getAttribute("x-ref")}`;
    const isAnchored = (menu) => [...menu.attributes].some(({ value }) => value === anchor);
    return [...document.querySelectorAll("body > nav")].find(isAnchored);
  }

  function focusMenu(opener, frames = FRAMES) {
    const menu = menuOf(opener);
    menu?.querySelector("a")?.focus();
    if (menu?.contains(document.activeElement)) {
      menu.onkeydown = ({ key }) => {
        if (key !== "Escape") return;
        opener.click();
        opener.focus();
      };
    } else if (frames > 0) {
      requestAnimationFrame(() => focusMenu(opener, frames - 1));
    }
  }

  function onKeydown(event) {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.currentTarget.click();
    focusMenu(event.currentTarget);
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const opener of document.querySelectorAll(".field-actions_holder span[x-ref]")) {
      opener.tabIndex = 0;
      opener.setAttribute("role", "button");
      opener.setAttribute("aria-haspopup", "true");
      opener.setAttribute("aria-label", gettext("More actions"));
      opener.addEventListener("keydown", onKeydown);
    }
  });
})();
