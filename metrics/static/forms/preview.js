// What saving a form would change, shown before it is saved.
import { el } from "../dashboard/dom.js";
import { gettext } from "../dashboard/i18n.js";

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

export function startPreview(form) {
  let isConfirmed = false;
  form.addEventListener("submit", async (event) => {
    const { submitter } = event;
    if (isConfirmed || !submitter?.name) return;
    event.preventDefault();
    const body = new FormData(form, submitter);
    body.set("_preview", "1");
    const response = await fetch(window.location.href, { method: "POST", body }).catch(() => null);
    const answer = response?.headers.get("Content-Type")?.startsWith("application/json") ? await response.json() : null;
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
