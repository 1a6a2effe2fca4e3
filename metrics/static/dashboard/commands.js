// Operations that the command palette leads to, by the address's fragment: `#action=flush`. Each asks first.
import { api, closed, confirmDisable, confirmFlush, confirmForceOpen, confirmInvalidate, openDialog, toast, warm, warmed } from "./actions.js";
import { find } from "./dom.js";
import { plural } from "./format.js";
import { gettext } from "./i18n.js";

const FORM = /^#action=([a-z-]+)$/;

function confirm(title, text, verb, operate, done) {
  openDialog({
    title, text, verb, fields: [],
    submit: async () => {
      toast(done(await operate()));
      return true;
    },
  });
}

const ofService = {
  reset: (name) => confirm(gettext("Reset the circuit of %s", name), gettext("The circuit is closed: calls reach the backend again."), gettext("Reset"), () => api.reset(name), closed(name)),
  open: confirmForceOpen,
  disable: confirmDisable,
  tag: (name) => confirmInvalidate(name, []),
  warm: () => find('[data-do="warm"]').click(),
  flush: (name) => confirmFlush(name),
};

const ofAll = {
  "reset-all": () => confirm(gettext("Reset all circuits"), gettext("Every circuit is closed: calls reach all backends again."), gettext("Reset"), () => api.resetAll(), ({ reset }) => gettext("%s reset.", plural(reset.length, "circuit", "circuits"))),
  "warm-all": () => confirm(gettext("Warm the whole cache"), gettext("The cache entries with the most hits are fetched again."), gettext("Warm"), () => warm(), warmed),
  "flush-all": () => confirmFlush(null),
};

function act() {
  const action = FORM.exec(location.hash)?.[1];
  if (!action || !document.body.hasAttribute("data-operate")) return;
  history.replaceState(null, "", location.pathname + location.search);
  const service = find("#service")?.dataset.name;
  if (service) ofService[action]?.(service);
  else ofAll[action]?.();
}

window.addEventListener("hashchange", act);
act();
