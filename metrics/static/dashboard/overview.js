// The overview: what matters now, a row per service, and the history of all of them.
import { api, askFlush, perform, warm, warmed } from "./actions.js";
import { sparkline } from "./charts.js";
import { el, find, say, svg, tone } from "./dom.js";
import { count, latency, money, percent, plural, time } from "./format.js";
import { announce, histories, Pace, pageOf, showFigures, showOpen, showState, stateDetail, stateName, watch } from "./page.js";

const rows = new Map();
const pace = new Pace();
const known = new Map();

function cell(label, name, extra = "") {
  return el("td", { role: "cell", class: extra, "data-label": label, "data-cell": name });
}

/** A service's row, made once: what changes is written into it, so that focus and selection stay. */
function makeRow(name) {
  const bar = svg("rect", { height: 4, rx: 2 });
  const state = el("td", { role: "cell", class: "state" }, el("span", { class: "pill" }), el("span", { class: "sub", "data-cell": "why" }));
  const traffic = el("td", { role: "cell", class: "wide" },
    el("div", { class: "traffic" }, svg("svg", { role: "img" }), el("span", {}, el("span", { "data-cell": "recent" }), el("span", { class: "sub" }, "in 5 minutes"))));
  const hits = el("td", { role: "cell", class: "num", "data-label": "Hit rate" }, el("span", { "data-cell": "hits" }), svg("svg", { class: "meter", viewBox: "0 0 64 4", "aria-hidden": "true" }, bar));
  const row = el("tr", { role: "row", "data-service": name },
    el("th", { role: "rowheader", scope: "row" }, el("a", { href: pageOf(name) }, name), el("span", { class: "sub", "data-cell": "total" })),
    state, traffic,
    cell("Errors", "errors", "num"), hits,
    cell("Median", "p50", "num"), cell("p95", "p95", "num"), cell("p99", "p99", "num extra"),
    el("td", { role: "cell", class: "num extra", "data-label": "Saved" }, el("span", { "data-cell": "saved" }), el("span", { class: "sub", "data-cell": "money" })),
    el("td", { role: "cell", class: "targets wide", "data-label": "Targets", "data-cell": "targets" }));
  row.bar = bar;
  return row;
}

function showRow(row, service) {
  const { recent, total, circuit } = service;
  const put = (name, text) => say(find(`[data-cell="${name}"]`, row), text);
  const asked = recent.hits + recent.misses;
  showState(find(".pill", row), circuit.state, service.enabled);
  put("why", stateDetail(circuit));
  put("total", `${plural(total.requests, "request")} in all`);
  put("recent", count(recent.requests));
  put("errors", recent.requests ? percent((recent.errors / recent.requests) * 100) : "–");
  put("hits", percent(asked ? recent.hit_rate : null));
  row.bar.setAttribute("width", asked ? (64 * recent.hit_rate) / 100 : 0);
  for (const name of ["p50", "p95", "p99"]) put(name, latency(recent[name]));
  put("saved", plural(total.saved_calls, "call"));
  put("money", money(total.saved_usd));
  put("targets", service.targets.map((address) => address.replace(/^https?:\/\//, "")).join("\n"));
  const chart = find(".traffic svg", row);
  sparkline(chart, service.sparkline);
  chart.setAttribute("aria-label", `${service.name}, requests per minute: up to ${Math.max(...service.sparkline)} in the last half hour`);
}

function tell(service) {
  const before = known.get(service.name);
  known.set(service.name, service.circuit.state);
  if (before && before !== service.circuit.state) {
    announce(`The circuit of ${service.name} is now ${stateName(service.circuit.state).toLowerCase()}. ${service.circuit.reason}`);
  }
}

function showVerdict(summary, services) {
  const box = find("#verdict");
  const open = services.filter((service) => ["OPEN", "FORCED_OPEN"].includes(service.circuit.state));
  const key = open.map((service) => service.name).join() + summary.connected;
  find('[data-do="reset-all"]').disabled = services.every((service) => service.circuit.state === "CLOSED");
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.hidden = open.length === 0 && summary.connected;
  tone(box, open.length ? "bad" : "warn");
  box.replaceChildren(...open.map((service) => el("span", {}, "The circuit of ",
    el("a", { href: pageOf(service.name) }, service.name), ` is ${stateName(service.circuit.state).toLowerCase()}. `)),
    ...open.slice(0, 3).map((service) => {
      const button = el("button", { type: "button", class: "small", onclick: () => perform(button, () => api.reset(service.name), () => `The circuit of ${service.name} is closed.`) }, `Reset ${service.name}`);
      return button;
    }),
    ...(summary.connected ? [] : [el("span", {}, "The shared store does not answer: each worker decides alone.")]));
}

function show({ summary, services }) {
  const body = find("#services");
  services.forEach((service, index) => {
    if (!rows.has(service.name)) rows.set(service.name, makeRow(service.name));
    const row = rows.get(service.name);
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
    showRow(row, service);
    tell(service);
  });
  while (body.children.length > services.length) {
    rows.delete(body.lastChild.dataset.service);
    body.lastChild.remove();
  }
  find("#no-services").hidden = services.length > 0;
  say(find("#services-note"), plural(services.length, "service"));
  showOpen(summary.open_circuits);
  showFigures({ ...summary, perSecond: pace.add(summary.at, summary.total.requests, summary.per_second) });
  showVerdict(summary, services);
  say(find("#since"), `The whole cluster at ${time(summary.at)}`);
}

const button = (name) => find(`[data-do="${name}"]`);
const refresh = histories(null);
button("reset-all").addEventListener("click", (event) => perform(event.target, api.resetAll, ({ reset }) => `${plural(reset.length, "circuit")} reset.`));
button("warm").addEventListener("click", (event) => perform(event.target, () => warm(), warmed));
button("flush-all").addEventListener("click", () => askFlush(null, refresh));
watch(show);
