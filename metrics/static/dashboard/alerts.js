// The page of alerts: tests of recipients, and silences.
import { api, openDialog, perform, reasonField, toast } from "./actions.js";
import { find } from "./dom.js";
import { plural } from "./format.js";
import { gettext } from "./i18n.js";

const RELOAD_AFTER = 1200; // milliseconds: what was said can be read, and is in the table below then

const reload = () => setTimeout(() => location.reload(), RELOAD_AFTER);

function told({ results }) {
  const failed = results.filter(({ failure }) => failure);
  if (failed.length) throw new Error(failed.map(({ recipient, failure }) => `${recipient}: ${failure}`).join("; "));
  return results.length ? gettext("The test was sent to %s.", plural(results.length, "recipient", "recipients")) : gettext("No alert has a recipient.");
}

for (const button of document.querySelectorAll("[data-test]")) {
  button.addEventListener("click", async () => {
    if (await perform(button, async () => told(await api.testAlerts(button.dataset.test)), (text) => text)) reload();
  });
}

for (const button of document.querySelectorAll("[data-end]")) {
  button.addEventListener("click", async () => {
    if (await perform(button, () => api.endSilence(button.dataset.end), () => gettext("The silence has ended."))) reload();
  });
}

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
