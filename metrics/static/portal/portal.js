// What every page of the portal has: copying, and forms that are sent once.
import { find } from "../dashboard/dom.js";
import { gettext } from "../dashboard/i18n.js";

const STOPPED_AFTER = 30000; // milliseconds

/** Copy a text. On plain http there is no clipboard for pages: select it then, and use the browser's command. */
async function copy(node) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(node.textContent);
    return true;
  }
  const selection = getSelection();
  selection.selectAllChildren(node);
  return document.execCommand("copy");
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const done = await copy(document.getElementById(button.dataset.copy)).catch(() => false);
    button.textContent = done ? gettext("Copied") : gettext("Press Ctrl+C");
    if (!done) getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    const status = find("[data-copied]");
    if (status) status.textContent = done ? gettext("Copied.") : gettext("Selected: copy it with your keyboard.");
  });
}

for (const form of document.querySelectorAll('form[method="post"]')) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
    const release = () => { delete form.dataset.sent; };
    // A page that comes back from the browser's memory can send its forms again, and so can one whose loading was stopped.
    addEventListener("pageshow", release, { once: true });
    addEventListener("keydown", ({ key }) => key === "Escape" && release());
    setTimeout(release, STOPPED_AFTER);
  });
}
