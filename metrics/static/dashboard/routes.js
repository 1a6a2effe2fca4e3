// The table of a service's routes, with the figures of a period.
import { el, find, setText } from "./dom.js";
import { count, latency, percent, tick } from "./format.js";
import { getJson } from "./page.js";
import { Table } from "./table.js";
import { gettext } from "./i18n.js";

const RELOAD = 15000; // milliseconds
const TIMEOUT = 10000;
const NO_FIGURES = { methods: [], enabled: true, is_removed: false, requests: 0, errors: 0, client_errors: 0, hits: 0, misses: 0, p50: null, p95: null, p99: null };

const share = (part, { requests }) => (requests ? part / requests : null);
const hitRate = ({ hits, misses }) => (hits + misses ? hits / (hits + misses) : null);
const shown = (value) => percent(value === null ? null : value * 100);
const nameOf = ({ path }) => path || gettext("Other paths");

const figure = (name, label, value, format, first = "high") => (
  { name, label, num: true, first, sort: value, show: (cell, row) => setText(cell, format(value(row))) });

const COLUMNS = [
  {
    name: "route", label: gettext("Route"), sort: nameOf,
    show(cell, row) {
      const status = row.is_removed ? gettext("no longer configured") : row.enabled ? "" : gettext("disabled");
      cell.replaceChildren(
        el("code", { class: row.is_removed ? "removed" : null }, [...row.methods, nameOf(row)].join(" ")),
        el("span", { class: "sub" }, status));
    },
  },
  figure("requests", gettext("Requests"), ({ requests }) => requests, count),
  figure("errors", gettext("Errors"), (row) => share(row.errors, row), shown),
  figure("4xx", "4xx", (row) => share(row.client_errors, row), shown),
  figure("hits", gettext("Hit rate"), hitRate, shown, "low"),
  ...[["p50", gettext("Median")], ["p95", "p95"], ["p99", "p99"]].map(([name, label]) => figure(name, label, (row) => row[name], latency)),
];

const STATES = [
  { name: "errors", label: gettext("With errors"), test: ({ errors }) => errors > 0 },
  { name: "4xx", label: gettext("With 4xx"), test: ({ client_errors: number }) => number > 0 },
  { name: "used", label: gettext("With requests"), test: ({ requests }) => requests > 0 },
  { name: "unused", label: gettext("Without requests"), test: ({ requests }) => requests === 0 },
  { name: "disabled", label: gettext("Disabled"), test: ({ enabled }) => !enabled },
  { name: "removed", label: gettext("No longer configured"), test: ({ is_removed: isRemoved }) => isRemoved },
];

/** Show the table of the page's service, and keep it current. */
export function showRoutes() {
  const period = find("#routes-period");
  const table = new Table(find("#routes-table"), {
    name: "routes", noun: "route", label: gettext("Routes"), bodyId: "routes", kind: "routes", isSecondary: true,
    columns: COLUMNS, states: STATES,
    defaults: {
      wide: ["requests", "errors", "4xx", "hits", "p50", "p95", "p99"],
      medium: ["requests", "errors", "4xx", "hits", "p50", "p95"],
      narrow: ["requests", "errors", "hits", "p95"],
    },
    rank: (row) => [share(row.errors, row) ?? -1, share(row.client_errors, row) ?? -1, row.requests],
    keyOf: ({ path, methods }) => `${methods.join(" ")} ${path}`,
    textOf: (row) => [...row.methods, nameOf(row)].join(" "),
  });
  let rendered = "";
  const load = async () => {
    const asked = period.value;
    const found = await getJson(`${period.dataset.address}?${new URLSearchParams({ period: asked })}`, AbortSignal.timeout(TIMEOUT)).catch(() => null);
    if (asked !== period.value) return;
    if (!found) {
      table.fail();
      return;
    }
    const text = JSON.stringify(found);
    period.title = gettext("Since %s, %s", tick(found.since, 172801), tick(found.since, 0));
    if (text !== rendered) table.show(found.routes.map((row) => ({ ...NO_FIGURES, ...row })));
    rendered = text;
  };
  period.addEventListener("change", load);
  load();
  setInterval(() => document.hidden || load(), RELOAD);
}
