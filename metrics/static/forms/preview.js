// What saving a form would change, shown before it is saved.
import { el } from "../dashboard/dom.js";
import { gettext } from "../dashboard/i18n.js";

const FORBIDDEN = 403;

const shown = (value) => (value === null ? gettext("not set") : typeof value === "string" ? value : JSON.stringify(value));

function listOf({ created, changed, deleted }) {
  const items = [];
  for (const [name, value] of Object.entries(created)) {
    items.push(el("li", {}, el("strong", {}, gettext("%s is created", name)), el("code", { class: "is-new" }, shown(value))));
  }
  for (const [name, changes] of Object.entries(changed)) {
    for (const { pointer, old, new: value } of changes) {
      const place = pointer.split("/").slice(3).join(" / ").replaceAll("~1", "/").replaceAll("~0", "~");
      items.push(
        el(
          "li",
          {},
          el("strong", {}, place ? `${name}: ${place}` : name),
          el("code", { class: "is-old" }, shown(old)),
          el("code", { class: "is-new" }, shown(value)),
        ),
      );
    }
  }
  for (const name of Object.keys(deleted)) items.push(el("li", {}, el("strong", {}, gettext("%s is deleted", name))));
  return items;
}

function dialogOf(answer, onSave) {
  const items = listOf(answer);
  const comment = el("input", { type: "text", id: "change-comment", maxlength: "200", autocomplete: "off" });
  const save = el("button", { type: "submit", class: "setting-button is-primary" }, answer.save);
  const back = el("button", { type: "button", class: "setting-button" }, gettext("Back to the form"));
  const dialog = el(
    "dialog",
    { class: "change-dialog", "aria-labelledby": "change-heading" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "change-heading" }, items.length ? gettext("What this will change") : gettext("This changes no setting")),
      answer.note ? el("p", {}, answer.note) : null,
      el("ul", { tabindex: "0", "aria-label": gettext("Changes") }, ...items),
      ...(answer.takes_comment ? [el("label", { for: "change-comment" }, gettext("Comment for the history")), comment] : []),
      el("div", { class: "change-buttons" }, save, back),
    ),
  );
  back.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  dialog.querySelector("form").addEventListener("submit", () => onSave(comment.value));
  return dialog;
}

/** Say why nothing was saved. The form stays as it is. */
function tell(text) {
  const close = el("button", { type: "submit", class: "setting-button is-primary" }, gettext("Back to the form"));
  const dialog = el("dialog", { class: "change-dialog", "aria-labelledby": "change-heading" },
    el("form", { method: "dialog" }, el("h2", { id: "change-heading" }, gettext("Nothing was saved")), el("p", {}, text), el("div", { class: "change-buttons" }, close)));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** Give the form the token that the session has by now: a new login, which may be in another tab, has replaced it. */
async function renewToken(form) {
  const response = await fetch(window.location.href).catch(() => null);
  const page = new DOMParser().parseFromString((await response?.text()) ?? "", "text/html");
  const token = page.querySelector("form [name=csrfmiddlewaretoken]");
  if (token) form.elements.namedItem("csrfmiddlewaretoken").value = token.value;
}

/** Post the form without saving it. Returns the response, or null if the gateway cannot be reached. */
async function ask(form, submitter) {
  const post = () => {
    const body = new FormData(form, submitter);
    body.set("_preview", "1");
    return fetch(window.location.href, { method: "POST", body }).catch(() => null);
  };
  const response = await post();
  if (response?.status !== FORBIDDEN) return response;
  await renewToken(form);
  return post();
}

const isLogin = ({ redirected, url }) => redirected && new URL(url).pathname.endsWith("/login/");

export function startPreview(form) {
  let isConfirmed = false;
  let isAsking = false; // a second click on the button asks nothing anew
  form.addEventListener("submit", async (event) => {
    const { submitter } = event;
    if (isConfirmed || !submitter?.name) return;
    event.preventDefault();
    if (isAsking) return;
    isAsking = true;
    const response = await ask(form, submitter);
    isAsking = false;
    if (!response) {
      tell(gettext("The gateway cannot be reached. Save again in a moment."));
      return;
    }
    if (isLogin(response)) {
      tell(gettext("Your session has ended. Log in in another tab, and save again here."));
      return;
    }
    const answer = response.headers.get("Content-Type")?.startsWith("application/json") ? await response.json() : null;
    if (answer?.error) {
      tell(answer.error);
      return;
    }
    const send = (comment) => {
      isConfirmed = true;
      if (comment) form.append(el("input", { type: "hidden", name: "_comment", value: comment }));
      form.requestSubmit(submitter);
    };
    if (!answer || answer.invalid) {
      send(""); // the page shows what is wrong
      return;
    }
    const dialog = dialogOf(answer, send);
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector(".is-primary").focus();
  });
}
