// The columns, states and order of the table of services.
import { sparkline } from "./charts.js";
import { el, find, setText, svg } from "./dom.js";
import { count, latency, money, percent, plural } from "./format.js";
import { headline } from "./incident.js";
import { faultText, pageOf, showState, stateDetail } from "./page.js";
import { signature, targetList, unwellCount } from "./targets.js";
import { Table } from "./table.js";
import { gettext } from "./i18n.js";

const OPEN = new Set(["OPEN", "FORCED_OPEN"]);
const OTHER = gettext("no value");

const share = (part, whole) => (whole ? part / whole : 0);
const errorShare = ({ recent }) => share(recent.errors, recent.requests);
const clientErrorShare = ({ recent }) => share(recent.client_errors, recent.requests);
const hitRate = ({ recent }) => (recent.hits + recent.misses ? recent.hit_rate : null);

/** A cell whose parts are made once. `make` returns the nodes, `update(cell, row)` fills them in. */
const parts = (make, update) => (cell, row) => {
  if (!cell.firstChild) cell.append(...make());
  update(cell, row);
};

const text = (name, of) => (cell, row) => {
  cell.dataset.cell = name;
  setText(cell, of(row));
};

const fill = (cell, name, value) => setText(find(`[data-cell="${name}"]`, cell), value);

/** `incidentOf(name)`: the incident of a service, if the page knows of one. */
function columns(incidentOf) {
  return [
    {
      name: "name", label: gettext("Service"), sort: ({ name }) => name,
      show: parts(() => [el("a"), el("span", { class: "sub", "data-cell": "total" })], (cell, { name, total }) => {
        const link = cell.firstChild;
        setText(link, name);
        link.setAttribute("href", pageOf(name));
        fill(cell, "total", gettext("%s in total", plural(total.requests, "request", "requests")));
      }),
    },
    {
      name: "circuit", label: gettext("Circuit"), kind: "state", hasOwnLabel: true, sort: (row) => -severity(row),
      show: parts(() => [el("span", { class: "pill" }), el("span", { class: "sub", "data-cell": "detail" })], (cell, row) => {
        showState(cell.firstChild, row.circuit.state, row.enabled, row.is_out);
        const incident = incidentOf(row.name);
        const what = incident && incident.phase !== "recovered" ? headline(incident) : "";
        fill(cell, "detail", faultText(row) || (row.circuit.state === "CLOSED" && what) || stateDetail(row.circuit));
      }),
    },
    {
      name: "requests", label: gettext("Requests per minute, 30 minutes"), wide: true, first: "high", hasOwnLabel: true, sort: ({ recent }) => recent.requests,
      show: parts(() => [el("div", { class: "traffic" }, svg("svg", { role: "img" }), el("span", {}, el("span", { "data-cell": "recent" }), el("span", { class: "sub" }, gettext("in 5 minutes"))))],
        (cell, { name, recent, sparkline: minutes }) => {
          fill(cell, "recent", count(recent.requests));
          const chart = find("svg", cell);
          sparkline(chart, minutes);
          chart.setAttribute("aria-label", gettext("%s, requests per minute: up to %s in the last half hour", name, Math.max(...minutes)));
        }),
    },
    {
      name: "errors", label: gettext("Errors"), num: true, first: "high", sort: errorShare,
      show: parts(() => [el("span", { "data-cell": "errors" }), el("span", { class: "sub", "data-cell": "client-errors" })], (cell, row) => {
        fill(cell, "errors", row.recent.requests ? percent(errorShare(row) * 100) : "–");
        fill(cell, "client-errors", row.recent.client_errors ? `${percent(clientErrorShare(row) * 100)} 4xx` : "");
      }),
    },
    {
      name: "hits", label: gettext("Hit rate"), num: true, sort: hitRate,
      show: parts(() => [el("span", { "data-cell": "hits" }), svg("svg", { class: "meter", viewBox: "0 0 64 4", "aria-hidden": "true" }, svg("rect", { height: 4, rx: 2 }))], (cell, row) => {
        fill(cell, "hits", percent(hitRate(row)));
        find("rect", cell).setAttribute("width", (64 * (hitRate(row) ?? 0)) / 100);
      }),
    },
    ...[["p50", gettext("Median")], ["p95", "p95"], ["p99", "p99"]].map(([name, label]) => (
      { name, label, num: true, first: "high", sort: ({ recent }) => recent[name], show: text(name, ({ recent }) => latency(recent[name])) })),
    {
      name: "saved", label: gettext("Saved"), num: true, first: "high", sort: ({ total }) => total.saved_calls,
      show: parts(() => [el("span", { "data-cell": "saved" }), el("span", { class: "sub", "data-cell": "money" })], (cell, { total }) => {
        fill(cell, "saved", plural(total.saved_calls, "call", "calls"));
        fill(cell, "money", money(total.saved_usd));
      }),
    },
    {
      name: "targets", label: gettext("Targets"), kind: "targets", wide: true, first: "high", sort: unwellCount,
      show(cell, { targets }) {
        if (cell.shows === signature(targets)) return;
        cell.shows = signature(targets);
        cell.replaceChildren(...targetList(targets));
      },
    },
    {
      name: "labels", label: gettext("Labels"), wide: true,
      show: text("labels", ({ labels }) => Object.entries(labels).map(([name, value]) => `${name}: ${value}`).join("\n")),
    },
  ];
}

/** From 0, a service that is disabled, to 4, one that fails. */
function severity({ enabled, is_out: isOut, circuit, tone, faults, ...row }) {
  if (!enabled) return 0;
  if (tone === "bad" || isOut || OPEN.has(circuit.state)) return 4;
  if (tone === "warn" || circuit.state === "HALF_OPEN" || unwellCount(row)) return 3;
  return circuit.state === "DISABLED" || circuit.hold_offs.length || faults.length ? 2 : 1;
}

const rank = (row) => [severity(row), errorShare(row), clientErrorShare(row)];

const STATES = [
  { name: "attention", label: gettext("Needs attention"), test: (row) => severity(row) > 1 },
  { name: "open", label: gettext("Circuit open"), test: ({ circuit }) => OPEN.has(circuit.state) },
  { name: "half-open", label: gettext("Circuit half open"), test: ({ circuit }) => circuit.state === "HALF_OPEN" },
  { name: "override", label: gettext("Circuit disabled"), test: ({ circuit }) => circuit.state === "DISABLED" },
  { name: "limited", label: gettext("Limited by the backend"), test: ({ circuit }) => circuit.hold_offs.length > 0 },
  { name: "targets", label: gettext("Targets without calls"), test: (row) => unwellCount(row) > 0 },
  { name: "fault", label: gettext("Configuration not loaded"), test: ({ faults }) => faults.length > 0 },
  { name: "disabled", label: gettext("Service disabled"), test: ({ enabled }) => !enabled },
  { name: "idle", label: gettext("No recent requests"), test: ({ recent }) => recent.requests === 0 },
];

export function servicesTable(box, incidentOf) {
  return new Table(box, {
    name: "services", noun: "service", label: gettext("Services"), bodyId: "services",
    columns: columns(incidentOf), states: STATES, rank,
    defaults: {
      wide: ["circuit", "requests", "errors", "hits", "p50", "p95", "p99", "saved", "targets"],
      medium: ["circuit", "requests", "errors", "hits", "p50", "p95", "targets"],
      narrow: ["circuit", "errors", "hits", "p50", "p95"],
    },
    keyOf: ({ name }) => name,
    textOf: ({ name, labels, targets }) => [name, ...Object.entries(labels).flat(), ...targets.map(({ url }) => url)].join(" "),
    groups: (rows) => [...new Set(rows.flatMap(({ labels }) => Object.keys(labels)))].sort(),
    groupOf: ({ labels }, name) => labels[name] ?? OTHER,
    toneOf: (row) => row.tone,
    isMoving: ({ circuit, name }) => circuit.state !== "CLOSED" || circuit.hold_offs.length > 0 || Boolean(incidentOf(name)),
  });
}
