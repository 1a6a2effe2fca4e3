// What both pages share: the feed and its state, the figures at the top, and the histories.
import { Chart } from "./charts.js";
import { Feed } from "./feed.js";
import { find, say, tone } from "./dom.js";
import { count, latency, money, percent, plural, rate, span } from "./format.js";

const STATES = {
  CLOSED: ["Closed", "good"],
  OPEN: ["Open", "bad"],
  HALF_OPEN: ["Half open", "warn"],
  FORCED_OPEN: ["Forced open", "bad"],
  DISABLED: ["Breaker off", "warn"],
};
const ROOT = "/dashboard/";
export const pageOf = (service) => `${ROOT}services/${encodeURIComponent(service)}/`;

export const stateName = (state) => STATES[state]?.[0] ?? state;

/** A pill that says a circuit's state in colour, shape and words. */
export function showState(pill, state, enabled = true) {
  say(pill, enabled ? stateName(state) : "Switched off");
  tone(pill, enabled ? STATES[state]?.[1] : "");
}

export function stateDetail(circuit) {
  const left = circuit.until ? Math.max(0, circuit.until - Date.now() / 1000) : null;
  if (circuit.state === "CLOSED" || circuit.state === "HALF_OPEN") return "";
  const until = left === null ? "until it is reset" : circuit.state === "OPEN" ? `tries again in ${span(Math.ceil(left))}` : `for ${span(Math.ceil(left))}`;
  return circuit.reason ? `${circuit.reason}; ${until}` : until;
}

export function announce(text) {
  say(find("#announcer"), text);
}

/** JSON from the gateway. A session that has ended is sent to the log-in, and comes back to this page after it. */
export async function getJson(address, signal) {
  const answer = await fetch(address, { headers: { Accept: "application/json" }, credentials: "same-origin", redirect: "manual", signal });
  if (answer.type === "opaqueredirect") location.reload();
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.json();
}

export function watch(onSnapshot) {
  const pill = find("#feed");
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const onState = (state, age) => {
    const old = age === null ? "" : `, numbers ${Math.round(age / 1000)} s old`;
    const words = { live: "Live", connecting: "Connecting", polling: "Feed cut, retrying · asking instead", cut: "Feed cut, retrying" };
    if (pill.dataset.state !== state) say(pill, words[state]);
    pill.title = state === "cut" ? `Feed cut${old}` : "";
    pill.dataset.state = state;
    tone(pill, { live: "good", polling: "warn", cut: "bad" }[state]);
    document.body.toggleAttribute("data-stale", state === "cut");
  };
  new Feed({
    socket: `${scheme}://${location.host}/ws${ROOT}`,
    poll: (signal) => getJson(`${ROOT}snapshot.json`, signal),
    onSnapshot,
    onState,
  }).start();
}

/** Requests per second over the last moments, from totals that only grow; `mean` until there are two of them. */
export class Pace {
  constructor(seconds = 6) {
    this.seconds = seconds;
    this.samples = [];
  }

  add(at, total, mean) {
    const last = this.samples.at(-1);
    if (last && total < last.total) this.samples = [];
    if (!last || at > last.at) this.samples.push({ at, total });
    while (this.samples.length > 2 && at - this.samples[0].at > this.seconds) this.samples.shift();
    const first = this.samples[0];
    return at - first.at >= 0.9 ? (total - first.total) / (at - first.at) : mean;
  }
}

function figure(name, value, under, alarm = "") {
  const card = find(`[data-figure="${name}"]`);
  if (!card) return;
  say(find("dd", card), value);
  say(find(".under", card), under);
  tone(card, alarm);
}

/** `recent` and `total` are figures; `perSecond` a number. */
export function showFigures({ recent, total, perSecond }) {
  const errors = recent.requests ? (recent.errors / recent.requests) * 100 : null;
  figure("errors", percent(errors), recent.requests ? `${count(recent.errors)} of ${count(recent.requests)} in 5 minutes` : "nothing in 5 minutes", errors > 1 ? "bad" : "");
  figure("rate", rate(perSecond), `${count(total.requests)} in all`);
  const asked = recent.hits + recent.misses;
  figure("hits", percent(asked ? recent.hit_rate : null), asked ? `${count(recent.hits)} of ${count(asked)} in 5 minutes` : "nothing in 5 minutes");
  for (const name of ["p50", "p95", "p99"]) say(find(`[data-q="${name}"]`), latency(recent[name]));
  figure("calls", count(total.saved_calls), total.hits + total.misses ? `${percent(total.hit_rate)} of all that was asked of the cache` : "since counting began");
  figure("time", span(total.saved_seconds), total.saved_calls ? `${latency(total.saved_seconds / total.saved_calls)} for each call` : "since counting began");
  figure("money", money(total.saved_usd), "at each service’s cost per call");
}

export function showOpen(names) {
  figure("open", String(names.length), names.length ? names.join(", ") : "all closed", names.length ? "bad" : "");
}

export function showFailures(circuit) {
  figure("failures", count(circuit.failures), `of ${plural(circuit.failures + circuit.successes, "call")} to it`);
}

/** The three charts, and the buttons that choose their span. */
export function histories(service) {
  const charts = {
    requests: new Chart("Requests", count),
    latency: new Chart("Latency", latency),
    hits: new Chart("Hit rate", (value) => percent(value, 0)),
  };
  const place = find("#charts");
  place.append(...Object.values(charts).map((chart) => chart.node));
  let range = "1h";
  const load = async () => {
    const query = new URLSearchParams(service ? { range, service } : { range });
    const asked = range;
    const data = await getJson(`${place.dataset.address}?${query}`, AbortSignal.timeout(10000)).catch(() => null);
    if (!data || asked !== range) return;
    const { times } = data;
    charts.requests.show({ times, series: [{ name: "all", values: data.requests, area: true }, { name: "errors", values: data.errors, kind: "bad", area: true }] });
    charts.latency.show({ times, series: [{ name: "median", values: data.p50 }, { name: "p95", values: data.p95 }, { name: "p99", values: data.p99 }] });
    charts.hits.show({ times, most: 100, series: [{ name: "hit rate", values: data.hit_rate, area: true }] });
  };
  for (const button of document.querySelectorAll("[data-range]")) {
    button.addEventListener("click", () => {
      range = button.dataset.range;
      document.querySelectorAll("[data-range]").forEach((other) => other.setAttribute("aria-pressed", other === button));
      load();
    });
  }
  load();
  setInterval(() => document.hidden || load(), 10000);
  return load;
}

