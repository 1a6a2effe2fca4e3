// The admin's rows open their menus from elements that no keyboard reaches: here each becomes a button.
(() => {
  const FRAMES = 30; // half a second, in which an opened menu appears

  function menuOf(opener) {
    const anchor = `$refs.${opener.getAttribute("x-ref")}`;
    const isItsOwn = (menu) => [...menu.attributes].some(({ value }) => value === anchor);
    return [...document.querySelectorAll("body > nav")].find(isItsOwn);
  }

  function enter(opener, frames = FRAMES) {
    const menu = menuOf(opener);
    menu?.querySelector("a")?.focus();
    if (menu?.contains(document.activeElement)) {
      menu.onkeydown = ({ key }) => {
        if (key !== "Escape") return;
        opener.click();
        opener.focus();
      };
    } else if (frames > 0) {
      requestAnimationFrame(() => enter(opener, frames - 1));
    }
  }

  function keyed(event) {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.currentTarget.click();
    enter(event.currentTarget);
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const opener of document.querySelectorAll(".field-actions_holder span[x-ref]")) {
      opener.tabIndex = 0;
      opener.setAttribute("role", "button");
      opener.setAttribute("aria-haspopup", "true");
      opener.setAttribute("aria-label", "More actions");
      opener.addEventListener("keydown", keyed);
    }
  });
})();
