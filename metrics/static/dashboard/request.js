// One request's page: copies its curl command.
import { find, setText } from "./dom.js";
import { announce } from "./page.js";
import { gettext } from "./i18n.js";

const button = find("#copy");
button.hidden = !navigator.clipboard;
button.addEventListener("click", async () => {
  await navigator.clipboard.writeText(find("#curl").textContent);
  setText(button, gettext("Copied"));
  announce(gettext("The curl command is on the clipboard."));
  setTimeout(() => setText(button, gettext("Copy as curl")), 2000);
});
