// Shared by the overview and the service page: the live feed, the key figures and the history charts.
import { Feed } from "./feed.js";
import { el, find, setText, setTone } from "./dom.js";
import { Rows } from "./rows.js";
import { count, isolated, latency, money, percent, plural, rate, span } from "./format.js";
import { sentence } from "./sentences.js";
import { gettext } from "./i18n.js";

const STATES = {
  CLOSED: [gettext("Closed"), "good"],
  OPEN: [gettext("Open"), "bad"],
  HALF_OPEN: [gettext("Half open"), "warn"],
  FORCED_OPEN: [gettext("Forced open"), "bad"],
  DISABLED: [gettext("Disabled"), "warn"],
};
const ROOT = document.body.dataset.dashboard;
const MANY_CLIENT_ERRORS = 50; // percent
let ahead = 0; // seconds by which the gateway's clock is ahead of this one, as of the last message
/** Unix seconds, by the gateway's clock: the browser's may be wrong. */
export const now = () => Date.now() / 1000 + ahead;
export const pageOf = (service) => `${ROOT}services/${encodeURIComponent(service)}/`;

export const stateName = (state) => STATES[state]?.[0] ?? state;

/** Show a circuit's state in a pill, as text, colour and shape. */
export function showState(pill, state, enabled = true, isOut = false) {
  const out = enabled && isOut;
  setText(pill, out ? gettext("Out of service") : enabled ? stateName(state) : gettext("Service disabled"));
  setTone(pill, out ? "bad" : enabled ? STATES[state]?.[1] : "");
}

/** Why a service's configuration cannot be loaded, and what its callers receive meanwhile. */
export function faultText({ faults, is_out }) {
  if (!faults.length) return "";
  const effect = is_out ? gettext("Out of service: every request receives 503.") : gettext("The last valid configuration is still in use.");
  return gettext("%s The configuration cannot be loaded: %s", effect, faults.join("; "));
}

/** Which calls the backend has limited, and for how long. Empty if it has not. */
export function limitText({ hold_offs: held }) {
  if (!held.length) return "";
  const left = Math.max(1, Math.ceil(held[0].until - now()));
  const more = held.length > 1 ? gettext(" and %s", plural(held.length - 1, "other", "others")) : "";
  return gettext("Limited by the backend for %s: %s%s", span(left), held[0].calls, more);
}

export function stateDetail(circuit) {
  const left = circuit.until ? Math.max(0, circuit.until - now()) : null;
  if (circuit.state === "CLOSED" || circuit.state === "HALF_OPEN") return limitText(circuit);
  const until = left === null ? gettext("until reset") : circuit.state === "OPEN" ? gettext("next attempt in %s", span(Math.ceil(left))) : gettext("for another %s", span(Math.ceil(left)));
  return circuit.reason ? `${isolated(sentence(circuit.reason))}; ${until}` : until;
}

export function announce(text) {
  setText(find("#announcer"), text);
}

const FORBIDDEN = 403;

/** Reload the page, once no dialog is open: somebody may be writing in it, and may sign in in another tab. */
const reload = () => find("dialog[open]") || location.reload();

/** Fetch JSON. If the session has ended, reload the page: the server redirects to the login and back here. */
export async function getJson(address, signal) {
  const response = await fetch(address, { headers: { Accept: "application/json" }, credentials: "same-origin", redirect: "manual", signal });
  if (response.type === "opaqueredirect") reload();
  if (!response.ok) throw new Error(`${response.status}`);
  return response.json();
}

/** The live data. If the viewer may view nothing any more, reload the page, which says so. */
async function getSnapshot(signal) {
  try {
    return await getJson(`${ROOT}snapshot.json`, signal);
  } catch (error) {
    if (error.message === String(FORBIDDEN)) reload();
    throw error;
  }
}

let build = null;

/** The page stays as it is while the gateway is updated. Say so once, since what it shows and sends may have changed. */
function showUpdate(current) {
  build ??= current;
  if (current === build || find("#updated")) return;
  find("#content").prepend(el("div", { class: "notice", id: "updated", role: "status", "data-tone": "warn" },
    el("p", {}, gettext("The gateway has been updated since this page was opened.")),
    el("button", { type: "button", class: "small", onclick: () => location.reload() }, gettext("Reload"))));
}

/** Pass every snapshot of the live feed to `onSnapshot`, and show the feed's state. */
export function subscribe(onSnapshot) {
  const poll = getSnapshot;
  const rows = new Rows(() => poll(AbortSignal.timeout(10000)).then(show, () => {}));
  const show = (message) => {
    ahead = message.summary.at - Date.now() / 1000;
    showUpdate(message.build);
    onSnapshot(rows.merge(message));
  };
  const pill = find("#feed");
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const onState = (state, age) => {
    const lastUpdate = age === null ? "" : gettext(", last update %s s ago", Math.round(age / 1000));
    const labels = { live: gettext("Live"), connecting: gettext("Connecting"), polling: gettext("Disconnected, polling"), disconnected: gettext("Disconnected, retrying") };
    if (pill.dataset.state !== state) setText(pill, labels[state]);
    pill.title = state === "disconnected" ? gettext("Disconnected%s", lastUpdate) : "";
    pill.dataset.state = state;
    setTone(pill, { live: "good", polling: "warn", disconnected: "bad" }[state]);
    document.body.toggleAttribute("data-stale", state === "disconnected");
  };
  new Feed({
    address: `${scheme}://${location.host}/ws/dashboard/`,
    poll,
    onSnapshot: show,
    onState,
  }).start();
}

/** Requests per second over a sliding window, derived from a cumulative counter. */
export class RateMeter {
  constructor(seconds = 6) {
    this.seconds = seconds;
    this.samples = [];
  }

  /** Add a sample and return the rate; `fallback` while the window is shorter than a second. */
  add(at, total, fallback) {
    const last = this.samples.at(-1);
    if (last && total < last.total) this.samples = [];
    if (!last || at > last.at) this.samples.push({ at, total });
    while (this.samples.length > 2 && at - this.samples[0].at > this.seconds) this.samples.shift();
    const first = this.samples[0];
    return at - first.at >= 0.9 ? (total - first.total) / (at - first.at) : fallback;
  }
}

function showFigure(name, value, under, tone = "") {
  const card = find(`[data-figure="${name}"]`);
  if (!card) return;
  setText(find("dd", card), value);
  setText(find(".under", card), under);
  setTone(card, tone);
}

/** `recent`: counters of the last five minutes; `total`: since counting started; `perSecond`: the current request rate. */
export function showFigures({ recent, total, perSecond }) {
  const errors = recent.requests ? (recent.errors / recent.requests) * 100 : null;
  const clientErrors = recent.requests ? (recent.client_errors / recent.requests) * 100 : 0;
  const failed = clientErrors >= MANY_CLIENT_ERRORS ? `${percent(clientErrors)} 4xx` : gettext("%s of %s", count(recent.errors), count(recent.requests));
  const tone = errors > 1 ? "bad" : clientErrors >= MANY_CLIENT_ERRORS ? "warn" : "";
  showFigure("errors", percent(errors), recent.requests ? gettext("%s in 5 minutes", failed) : gettext("no recent requests"), tone);
  showFigure("rate", rate(perSecond), gettext("%s in total", count(total.requests)));
  const lookups = recent.hits + recent.misses;
  showFigure("hits", percent(lookups ? recent.hit_rate : null), lookups ? gettext("%s of %s in 5 minutes", count(recent.hits), count(lookups)) : gettext("no recent lookups"));
  for (const name of ["p50", "p95", "p99"]) setText(find(`[data-q="${name}"]`), latency(recent[name]));
  showFigure("calls", count(total.saved_calls), total.hits + total.misses ? gettext("%s of all cache lookups", percent((total.saved_calls / (total.hits + total.misses)) * 100)) : gettext("since counting started"));
  showFigure("time", span(total.saved_seconds), total.saved_calls ? gettext("%s per call", latency(total.saved_seconds / total.saved_calls)) : gettext("since counting started"));
  showFigure("money", money(total.saved_usd), gettext("at each service’s cost per call"));
}

export function showOpen(names) {
  showFigure("open", String(names.length), names.length ? names.join(", ") : gettext("all closed"), names.length ? "bad" : "");
}

export function showFailures(circuit) {
  showFigure("failures", count(circuit.failures), gettext("of %s", plural(circuit.failures + circuit.successes, "call", "calls")));
}
