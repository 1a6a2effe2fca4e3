// The page of alerts: tests of recipients, and silences.
import { api, openDialog, perform, reasonField, toast } from "./actions.js";
import { find, setText } from "./dom.js";
import { plural } from "./format.js";
import { hasSelection } from "./selection.js";
import { translateSentences } from "./sentences.js";
import { gettext } from "./i18n.js";

const FORBIDDEN = 403;
const RELOAD_AFTER = 1200; // milliseconds: what was said can be read, and is in the table below then
const REFRESH = 10000; // milliseconds

const reload = () => setTimeout(() => location.reload(), RELOAD_AFTER);

function told({ results }) {
  const failed = results.filter(({ failure }) => failure);
  if (failed.length) throw new Error(failed.map(({ recipient, failure }) => `${recipient}: ${failure}`).join("; "));
  return results.length ? gettext("The test was sent to %s.", plural(results.length, "recipient", "recipients")) : gettext("No alert has a recipient.");
}

// On the whole page, since its tables are replaced.
find("#content").addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-test], [data-end]");
  if (!button) return;
  const { test, end } = button.dataset;
  const done = end === undefined
    ? await perform(button, async () => told(await api.testAlerts(test)), (text) => text)
    : await perform(button, () => api.endSilence(end), () => gettext("The silence has ended."));
  if (done) reload();
});

/** Show what holds now, unless somebody is at the page's tables or dialogs, or copies from them. */
async function refresh() {
  const box = find("#alerts");
  if (document.hidden || box.contains(document.activeElement) || hasSelection(box) || find("dialog[open]")) return;
  const response = await fetch(location.href, { credentials: "same-origin", redirect: "manual", signal: AbortSignal.timeout(REFRESH) });
  if (response.type === "opaqueredirect" || response.status === FORBIDDEN) location.reload();
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  translateSentences(page);
  const shown = find("#alerts", page), note = find("#firing-note", page).textContent;
  if (note !== find("#firing-note").textContent) setText(find("#announcer"), gettext("Firing: %s", note));
  find("#as-of").replaceWith(find("#as-of", page));
  if (shown.innerHTML !== box.innerHTML) box.replaceWith(shown);
}

translateSentences();
setInterval(() => refresh().catch(() => {}), REFRESH); // that it is old can be seen
document.addEventListener("visibilitychange", () => refresh().catch(() => {}));

find("#silence")?.addEventListener("click", () => openDialog({
  title: gettext("Silence alerts"),
  text: gettext("Nothing is sent of what begins or goes on to hold. What has ended is sent to those who know that it began."),
  fields: [...find("#silence-fields").content.cloneNode(true).children, reasonField(gettext("deployment of crm"))],
  verb: gettext("Silence"),
  submit: async (form) => {
    await api.silence({
      alert: form.alert.value,
      service: form.service.value,
      seconds: Number(form.seconds.value),
      reason: form.reason.value.trim(),
    });
    toast(gettext("The silence has begun."));
    reload();
    return true;
  },
}));
