// Operations on circuits and caches through the metrics API, with the session cookie and its CSRF token.
import { el, find, setText, setTone } from "./dom.js";
import { rememberFocus, whileBusy } from "./focus.js";
import { plural } from "./format.js";
import { gettext } from "./i18n.js";

const { alerts: ALERTS, cache: CACHE, circuits: CIRCUITS, revisions: REVISIONS } = document.body.dataset;
const encode = encodeURIComponent;

const DURATIONS = [[60, gettext("1 minute")], [300, gettext("5 minutes")], [900, gettext("15 minutes")], [3600, gettext("1 hour")], [86400, gettext("1 day")]];

const FORBIDDEN = 403, UNAUTHENTICATED = 401;
const STALE_TOKEN = "CSRF Failed";

/** Read the page's token again: another tab may have signed in since, and a sign-in replaces it. */
async function renewToken() {
  const response = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  find('meta[name="csrf"]').content = find('meta[name="csrf"]', page).content;
}

const send = (method, address, body) =>
  fetch(address, {
    method,
    credentials: "same-origin",
    redirect: "error",
    headers: {
      "X-CSRFToken": find('meta[name="csrf"]').content,
      Accept: "application/json",
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });

async function call(method, address, body, isRepeated = false) {
  const response = await send(method, address, body).catch(() => null);
  if (!response) throw new Error(gettext("The gateway cannot be reached. Try again in a moment."));
  const payload = await response.json().catch(() => ({}));
  if (response.status === FORBIDDEN && payload.detail?.startsWith(STALE_TOKEN) && !isRepeated) {
    await renewToken();
    return call(method, address, body, true);
  }
  if (response.status === UNAUTHENTICATED) throw new Error(gettext("Your session has ended. Sign in again, which may be in another tab, and repeat this."));
  if (!response.ok) throw new Error(payload.detail ?? payload.title ?? gettext("the gateway responded with %s", response.status));
  return payload;
}

export const api = {
  reset: (service) => call("POST", `${CIRCUITS}/${encode(service)}/reset`, {}).then(checkReach),
  resetAll: () => call("POST", `${CIRCUITS}/reset`, {}).then(checkReach),
  open: (service, ttl, reason) => call("POST", `${CIRCUITS}/${encode(service)}/open`, { ttl, reason }).then(checkReach),
  disable: (service, ttl, reason) => call("POST", `${CIRCUITS}/${encode(service)}/disable`, { ttl, reason }).then(checkReach),
  probe: (service) => call("POST", `${CIRCUITS}/${encode(service)}/probe`, {}),
  restore: (revision, latest, reason) => call("POST", `${REVISIONS}/${revision}/restore`, { latest, reason }),
  invalidate: (service, tag, dryRun = false) => {
    const query = new URLSearchParams({ ...(tag ? { tag } : {}), ...(dryRun ? { dry_run: 1 } : {}) });
    return call("DELETE", `${CACHE}/${encode(service)}?${query}`);
  },
  flush: () => call("DELETE", CACHE),
  testAlerts: (alert) => call("POST", `${ALERTS}/test`, { alert }),
  silence: (silence) => call("POST", `${ALERTS}/silences`, silence),
  endSilence: (id) => call("DELETE", `${ALERTS}/silences/${encode(id)}`),
  warm: (paths, dryRun = false) => call("POST", `${CACHE}/warm`, { ...(paths ? { paths } : {}), ...(dryRun ? { dry_run: true } : {}) }),
};

/** Say that a change of circuits has reached one worker alone, if it has. */
function checkReach(result) {
  if (result.isShared === false) toast(gettext("Redis is unavailable: only one of the workers has changed."), "bad");
  return result;
}

const entries = (number) => plural(number, "entry", "entries");

/** Show a notification, which screen readers announce. Errors stay longer. */
export function toast(text, kind = "") {
  const close = el("button", { type: "button", class: "unseen", onclick: () => box.remove() }, gettext("Dismiss"));
  const box = el("div", { class: "toast" }, el("span", {}, text), close);
  setTone(box, kind);
  find("#toasts").append(box);
  setTimeout(() => box.remove(), kind === "bad" ? 12000 : 6000);
}

/** Run an operation with its button disabled, and notify of the outcome: `message(result)` or the error. */
export const perform = (button, operation, message) => whileBusy(button, async () => {
  try {
    toast(message(await operation()));
    return true;
  } catch (error) {
    toast(gettext("Failed: %s", error.message), "bad");
    return false;
  }
});

/** What to say of an operation on a circuit, whose answer is how the circuit is by then: several people may be at it. */
const unlessChanged = (state, text) => (result) => (result.state === state ? text : gettext("The circuit of %s has been changed again since.", result.service));

export const closed = (service) => unlessChanged("CLOSED", gettext("The circuit of %s is closed.", service));

/** Open a modal dialog. `fields` are elements; the dialog closes when `submit(form)` resolves to true. */
export function openDialog({ title, text, fields, verb, danger, submit, extra }) {
  const id = `q${Date.now()}`;
  const outcome = el("p", { class: "outcome", role: "status" });
  const go = el("button", { type: "submit", class: `primary${danger ? " danger" : ""}` }, verb);
  const dialog = el("dialog", { "aria-labelledby": id },
    el("form", { method: "dialog" },
      el("h2", { id }, title), el("p", { class: "quiet" }, text), ...fields, outcome,
      el("div", { class: "actions" },
        el("button", { type: "button", onclick: () => dialog.close() }, gettext("Cancel")), extra ?? null, go)));
  const form = find("form", dialog);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    whileBusy(go, async () => {
      try {
        if (await submit(form)) dialog.close();
      } catch (error) {
        setTone(outcome, "bad");
        setText(outcome, error.message);
      }
    });
  });
  const returnFocus = rememberFocus(); // what has opened the dialog may be made again meanwhile
  dialog.addEventListener("close", () => {
    dialog.remove();
    returnFocus();
  });
  document.body.append(dialog);
  dialog.showModal();
  return { outcome, go };
}

/** The fields of an override of a circuit: for how long, and why. */
const overrideFields = (placeholder) => [
  el("label", {}, gettext("Duration"),
    el("select", { name: "ttl" }, DURATIONS.map(([seconds, label]) => el("option", { value: seconds, selected: seconds === 300 }, label)))),
  reasonField(placeholder),
];

export const reasonField = (placeholder) => el("label", {}, gettext("Reason"),
  el("input", { name: "reason", required: true, maxlength: 200, autocomplete: "off", placeholder }));

export function confirmForceOpen(service) {
  openDialog({
    title: gettext("Force open the circuit of %s", service),
    text: gettext("No call reaches the backend until the duration has passed or the circuit is reset. Clients receive stale responses, the fallback or 503."),
    fields: overrideFields(gettext("database maintenance")),
    verb: gettext("Force open"),
    danger: true,
    submit: async (form) => {
      const result = await api.open(service, Number(form.ttl.value), form.reason.value.trim());
      toast(unlessChanged("FORCED_OPEN", gettext("The circuit of %s is forced open.", service))(result));
      return true;
    },
  });
}

export function confirmDisable(service) {
  openDialog({
    title: gettext("Disable the circuit of %s", service),
    text: gettext("Every call reaches the backend, whatever fails, until the duration has passed or the circuit is reset."),
    fields: overrideFields(gettext("the failures are expected")),
    verb: gettext("Disable"),
    danger: true,
    submit: async (form) => {
      const result = await api.disable(service, Number(form.ttl.value), form.reason.value.trim());
      toast(unlessChanged("DISABLED", gettext("The circuit of %s is disabled.", service))(result));
      return true;
    },
  });
}

export function confirmInvalidate(service, known, preset = "", done = () => {}) {
  const list = el("datalist", { id: "known-tags" }, known.map((tag) => el("option", { value: tag })));
  const input = el("input", { name: "tag", required: true, list: "known-tags", autocomplete: "off", value: preset, placeholder: `${service}:…` });
  const count = el("button", { type: "button" }, gettext("Count entries"));
  const { outcome } = openDialog({
    title: gettext("Invalidate a tag"),
    text: gettext("Invalidates the cache entries of %s with this tag, on every worker.", service),
    fields: [el("label", {}, gettext("Tag"), input), list],
    verb: gettext("Invalidate"),
    danger: true,
    extra: count,
    submit: async () => {
      const { keysDeleted } = await api.invalidate(service, input.value.trim());
      toast(gettext("%s with tag %s invalidated.", entries(keysDeleted), input.value.trim()));
      done();
      return true;
    },
  });
  count.addEventListener("click", async () => {
    if (!input.reportValidity()) return;
    try {
      const { keysDeleted } = await api.invalidate(service, input.value.trim(), true);
      setTone(outcome, "");
      setText(outcome, gettext("%s would be invalidated.", entries(keysDeleted)));
    } catch (error) {
      setTone(outcome, "bad");
      setText(outcome, error.message);
    }
  });
}

/** Flushing has to be confirmed by typing the service's name, or `everything`. */
export function confirmFlush(service, done = () => {}) {
  const confirmation = service ?? "everything";
  const input = el("input", { name: "confirmation", required: true, autocomplete: "off", spellcheck: "false" });
  const { go } = openDialog({
    title: service ? gettext("Flush the cache of %s", service) : gettext("Flush the whole cache"),
    text: service ? gettext("Removes all cache entries of this service; its next requests go to the backend.") : gettext("Removes all cache entries of all services; the next requests go to the backends."),
    fields: [el("label", {}, el("span", {}, gettext("Type "), el("code", {}, confirmation), gettext(" to confirm")), input)],
    verb: gettext("Flush"),
    danger: true,
    submit: async () => {
      const { keysDeleted } = service ? await api.invalidate(service) : await api.flush();
      toast(gettext("%s flushed.", entries(keysDeleted)));
      done();
      return true;
    },
  });
  go.disabled = true;
  input.addEventListener("input", () => { go.disabled = input.value.trim() !== confirmation; });
}

/** Warm the cache. It may take a while, so a dry run first tells how many entries will be fetched. */
export async function warm(paths) {
  const { wouldWarm } = await api.warm(paths, true);
  if (wouldWarm) toast(gettext("Warming %s…", entries(wouldWarm)));
  return api.warm(paths);
}

export const warmed = ({ warmed, failed }) => failed ? gettext("%s warmed, %s failed.", entries(warmed), failed) : warmed ? gettext("%s warmed.", entries(warmed)) : gettext("Nothing to warm.");
