// What a person can do: each by the metrics API, with the log-in's own cookie and its CSRF token; asks first where it hurts.
import { el, find, say, tone } from "./dom.js";
import { plural } from "./format.js";

const CACHE = "/metrics/cache";
const CIRCUITS = "/metrics/circuit-breakers";
const part = encodeURIComponent;

async function call(method, address, body) {
  const answer = await fetch(address, {
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
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.detail ?? said.title ?? `the gateway answered ${answer.status}`);
  return said;
}

export const api = {
  reset: (service) => call("POST", `${CIRCUITS}/${part(service)}/reset`, {}),
  resetAll: () => call("POST", `${CIRCUITS}/reset`, {}),
  open: (service, ttl, reason) => call("POST", `${CIRCUITS}/${part(service)}/open`, { ttl, reason }),
  invalidate: (service, tag, dry = false) => {
    const query = new URLSearchParams({ ...(tag ? { tag } : {}), ...(dry ? { dry_run: 1 } : {}) });
    return call("DELETE", `${CACHE}/${part(service)}?${query}`);
  },
  flush: () => call("DELETE", CACHE),
  warm: (paths, dry = false) => call("POST", `${CACHE}/warm`, { ...(paths ? { paths } : {}), ...(dry ? { dry_run: true } : {}) }),
};

/** A short word about what was done, for eyes and for screen readers; a fault stays until it is dismissed. */
export function toast(text, kind = "") {
  const close = el("button", { type: "button", class: "unseen", onclick: () => box.remove() }, "Dismiss");
  const box = el("div", { class: "toast" }, el("span", {}, text), close);
  tone(box, kind);
  find("#toasts").append(box);
  setTimeout(() => box.remove(), kind === "bad" ? 12000 : 6000);
}

/** Do it, with the button out of reach meanwhile, and say how it went. */
export async function perform(button, work, told) {
  button.disabled = true;
  try {
    toast(told(await work()));
    return true;
  } catch (error) {
    toast(`That did not work: ${error.message}`, "bad");
    return false;
  } finally {
    button.disabled = false;
  }
}

/** A modal question. `fields` are elements; `submit(form, outcome)` does it, and true closes it. */
function ask({ title, text, fields, verb, danger, submit, extra }) {
  const id = `q${Date.now()}`;
  const outcome = el("p", { class: "outcome", role: "status" });
  const go = el("button", { type: "submit", class: `primary${danger ? " danger" : ""}` }, verb);
  const dialog = el("dialog", { "aria-labelledby": id },
    el("form", { method: "dialog" },
      el("h2", { id }, title), el("p", { class: "quiet" }, text), ...fields, outcome,
      el("div", { class: "actions" },
        el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), extra ?? null, go)));
  const form = find("form", dialog);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      if (await submit(form, outcome)) dialog.close();
    } catch (error) {
      tone(outcome, "bad");
      say(outcome, error.message);
    } finally {
      go.disabled = false;
    }
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, form, outcome, go };
}

export function askOpen(service) {
  ask({
    title: `Force the circuit of ${service} open`,
    text: "No call reaches it until the time is over or somebody resets it. Callers get stale answers, the fallback or 503.",
    fields: [
      el("label", {}, "For how long",
        el("select", { name: "ttl" },
          [[60, "1 minute"], [300, "5 minutes"], [900, "15 minutes"], [3600, "1 hour"], [86400, "1 day"]].map(([seconds, words]) =>
            el("option", { value: seconds, selected: seconds === 300 }, words)))),
      el("label", {}, "Why", el("input", { name: "reason", required: true, maxlength: 200, autocomplete: "off", placeholder: "maintenance of the database" })),
    ],
    verb: "Force open",
    danger: true,
    submit: async (form) => {
      await api.open(service, Number(form.ttl.value), form.reason.value.trim());
      toast(`The circuit of ${service} is forced open.`);
      return true;
    },
  });
}

export function askTag(service, known, preset = "", done = () => {}) {
  const list = el("datalist", { id: "known-tags" }, known.map((tag) => el("option", { value: tag })));
  const input = el("input", { name: "tag", required: true, list: "known-tags", autocomplete: "off", value: preset, placeholder: `${service}:…` });
  const count = el("button", { type: "button" }, "Count first");
  const { outcome } = ask({
    title: "Invalidate a tag",
    text: `Every stored answer of ${service} that bears the tag is taken back, in every worker.`,
    fields: [el("label", {}, "Tag", input), list],
    verb: "Invalidate",
    danger: true,
    extra: count,
    submit: async () => {
      const { keysDeleted } = await api.invalidate(service, input.value.trim());
      toast(`${plural(keysDeleted, "entry", "entries")} with ${input.value.trim()} went.`);
      done();
      return true;
    },
  });
  count.addEventListener("click", async () => {
    if (!input.reportValidity()) return;
    try {
      const { keysDeleted } = await api.invalidate(service, input.value.trim(), true);
      tone(outcome, "");
      say(outcome, `${plural(keysDeleted, "entry", "entries")} would go.`);
    } catch (error) {
      tone(outcome, "bad");
      say(outcome, error.message);
    }
  });
}

/** Flushing asks for a word to be typed: the service's name, or `everything`. */
export function askFlush(service, done = () => {}) {
  const word = service ?? "everything";
  const input = el("input", { name: "word", required: true, autocomplete: "off", spellcheck: "false" });
  const { go } = ask({
    title: service ? `Flush the cache of ${service}` : "Flush the whole cache",
    text: service ? "Every stored answer of this service goes; the next requests all reach its backend." : "Every stored answer of every service goes; the next requests all reach the backends.",
    fields: [el("label", {}, el("span", {}, "Type ", el("code", {}, word), " to confirm"), input)],
    verb: "Flush",
    danger: true,
    submit: async () => {
      const { keysDeleted } = service ? await api.invalidate(service) : await api.flush();
      toast(`${plural(keysDeleted, "entry", "entries")} went.`);
      done();
      return true;
    },
  });
  go.disabled = true;
  input.addEventListener("input", () => { go.disabled = input.value.trim() !== word; });
}

/** It may take a while, so how much is to be fetched is said first. */
export async function warm(paths) {
  const { wouldWarm } = await api.warm(paths, true);
  if (wouldWarm) toast(`Warming ${plural(wouldWarm, "entry", "entries")}…`);
  return api.warm(paths);
}

export const warmed = ({ warmed, failed }) => failed ? `${plural(warmed, "entry", "entries")} warmed, ${failed} failed.` : warmed ? `${plural(warmed, "entry", "entries")} warmed.` : "There was nothing to warm yet.";
