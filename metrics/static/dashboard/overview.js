// The overview: key figures, one table row per service, and the history of all services.
import { api, confirmFlush, perform, warm, warmed } from "./actions.js";
import { sparkline } from "./charts.js";
import { el, find, setText, setTone, svg } from "./dom.js";
import { count, latency, money, percent, plural, time } from "./format.js";
import { headline, Incidents } from "./incident.js";
import { announce, faultText, pageOf, RateMeter, showFigures, showHistory, showOpen, showState, stateDetail, stateName, subscribe } from "./page.js";

const rows = new Map();
const rate = new RateMeter();
const states = new Map();
const incidentCards = new Incidents(find("#incidents"));

function cell(label, name, extra = "") {
  return el("td", { role: "cell", class: extra, "data-label": label, "data-cell": name });
}

/** Create a service's row. Updates change it in place, so that focus and selection are kept. */
function makeRow(name) {
  const bar = svg("rect", { height: 4, rx: 2 });
  const state = el("td", { role: "cell", class: "state" }, el("span", { class: "pill" }), el("span", { class: "sub", "data-cell": "detail" }));
  const traffic = el("td", { role: "cell", class: "wide" },
    el("div", { class: "traffic" }, svg("svg", { role: "img" }), el("span", {}, el("span", { "data-cell": "recent" }), el("span", { class: "sub" }, "in 5 minutes"))));
  const hits = el("td", { role: "cell", class: "num", "data-label": "Hit rate" }, el("span", { "data-cell": "hits" }), svg("svg", { class: "meter", viewBox: "0 0 64 4", "aria-hidden": "true" }, bar));
  const row = el("tr", { role: "row", "data-service": name },
    el("th", { role: "rowheader", scope: "row" }, el("a", { href: pageOf(name) }, name), el("span", { class: "sub", "data-cell": "total" })),
    state, traffic,
    el("td", { role: "cell", class: "num", "data-label": "Errors" }, el("span", { "data-cell": "errors" }), el("span", { class: "sub", "data-cell": "client-errors" })), hits,
    cell("Median", "p50", "num"), cell("p95", "p95", "num"), cell("p99", "p99", "num extra"),
    el("td", { role: "cell", class: "num extra", "data-label": "Saved" }, el("span", { "data-cell": "saved" }), el("span", { class: "sub", "data-cell": "money" })),
    el("td", { role: "cell", class: "targets wide", "data-label": "Targets", "data-cell": "targets" }));
  row.bar = bar;
  return row;
}

function showRow(row, service, incident) {
  const { recent, total, circuit } = service;
  const set = (name, text) => setText(find(`[data-cell="${name}"]`, row), text);
  const lookups = recent.hits + recent.misses;
  showState(find(".pill", row), circuit.state, service.enabled, service.is_out);
  const what = incident && incident.phase !== "recovered" ? headline(incident) : "";
  set("detail", faultText(service) || (circuit.state === "CLOSED" && what) || stateDetail(circuit));
  setTone(row, what ? (incident.is_bad ? "bad" : "warn") : "");
  set("total", `${plural(total.requests, "request")} in total`);
  set("recent", count(recent.requests));
  set("errors", recent.requests ? percent((recent.errors / recent.requests) * 100) : "–");
  set("client-errors", recent.client_errors ? `${percent((recent.client_errors / recent.requests) * 100)} 4xx` : "");
  set("hits", percent(lookups ? recent.hit_rate : null));
  row.bar.setAttribute("width", lookups ? (64 * recent.hit_rate) / 100 : 0);
  for (const name of ["p50", "p95", "p99"]) set(name, latency(recent[name]));
  set("saved", plural(total.saved_calls, "call"));
  set("money", money(total.saved_usd));
  set("targets", service.targets.map((address) => address.replace(/^https?:\/\//, "")).join("\n"));
  const chart = find(".traffic svg", row);
  sparkline(chart, service.sparkline);
  chart.setAttribute("aria-label", `${service.name}, requests per minute: up to ${Math.max(...service.sparkline)} in the last half hour`);
}

function announceTransition(service) {
  const before = states.get(service.name);
  states.set(service.name, service.circuit.state);
  if (before && before !== service.circuit.state) {
    announce(`The circuit of ${service.name} is now ${stateName(service.circuit.state).toLowerCase()}. ${service.circuit.reason}`);
  }
}

/** Say that the shared store is unavailable, and whether there is any circuit to reset. */
function showNotice(summary, services) {
  const box = find("#verdict");
  find('[data-do="reset-all"]').disabled = services.every((service) => service.circuit.state === "CLOSED" && !service.circuit.hold_offs.length);
  box.hidden = summary.connected;
  setTone(box, "warn");
  setText(box, summary.connected ? "" : "The shared store is unavailable: each worker uses its local state.");
}

const known = new Set();

/** Announce incidents that are new, apart from circuits, whose transitions are announced. */
function announceIncidents(incidents) {
  for (const incident of incidents) {
    if (!known.has(incident.service) && incident.phase === "active" && incident.signals[0].kind !== "circuit") announce(`${incident.service || "Quotas"}: ${headline(incident)}`);
  }
  known.clear();
  incidents.forEach(({ service }) => known.add(service));
}

function show({ summary, services, incidents, more_incidents: more }) {
  const body = find("#services");
  services.forEach((service, index) => {
    if (!rows.has(service.name)) rows.set(service.name, makeRow(service.name));
    const row = rows.get(service.name);
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
    showRow(row, service, incidents.find((incident) => incident.service === service.name));
    announceTransition(service);
  });
  while (body.children.length > services.length) {
    rows.delete(body.lastChild.dataset.service);
    body.lastChild.remove();
  }
  find("#no-services").hidden = services.length > 0;
  setText(find("#services-note"), plural(services.length, "service"));
  showOpen(summary.open_circuits);
  showFigures({ ...summary, perSecond: rate.add(summary.at, summary.total.requests, summary.per_second) });
  showNotice(summary, services);
  announceIncidents(incidents);
  incidentCards.show(incidents, services, summary.at, more);
  setText(find("#since"), `All workers, as of ${time(summary.at)}`);
}

const button = (name) => find(`[data-do="${name}"]`);
const refresh = showHistory(null);
button("reset-all").addEventListener("click", (event) => perform(event.target, api.resetAll, ({ reset }) => `${plural(reset.length, "circuit")} reset.`));
button("warm").addEventListener("click", (event) => perform(event.target, () => warm(), warmed));
button("flush-all").addEventListener("click", () => confirmFlush(null, refresh));
subscribe(show);
