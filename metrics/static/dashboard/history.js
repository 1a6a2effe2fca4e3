// The history: charts over a range of time, which can be chosen, zoomed and compared with the week before.
import { Chart } from "./chart.js";
import { Crosshair } from "./crosshair.js";
import { el, find, setText } from "./dom.js";
import { count, latency, percent, plural, rate, tickValue } from "./format.js";
import { columns, heat, line } from "./layers.js";
import { getJson, stateName } from "./page.js";
import { RangeChoice } from "./ranges.js";
import { timeText, valueTicks, zone } from "./scale.js";
import { sentence } from "./sentences.js";
import { gettext } from "./i18n.js";

const TIMEOUT = 15000; // milliseconds
const WEEK = 7 * 86400; // seconds
const CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const MANTISSAS = [1, 1.2, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8];
const KINDS = { configuration: gettext("Configuration"), deployment: gettext("Deployment"), circuit: gettext("Circuit") };

/** The upper bound of a bucket of the distribution, in seconds: ten per decade, the first is 10 microseconds. */
const bound = (bucket) => 10 ** (Math.floor(bucket / 10) - 5) * MANTISSAS[bucket % 10];

const highest = (series) => Math.max(0, ...series.flatMap(({ values }) => values.filter((value) => value !== null)));
const perMinute = (value) => (value === null ? "–" : `${rate(value)}/min`);
const wholePercent = (value) => percent(value, 0);

/** The values of the week before at the steps of this week, or null if they are not compared. */
function earlier(data, values) {
  const { before } = data;
  if (!before) return null;
  return data.times.map((at) => {
    const index = Math.floor((at - WEEK - before.start) / before.step);
    return values(before)[index] ?? null;
  });
}

const withBefore = (data, series, values) => {
  const before = earlier(data, values);
  return before ? [...series, { name: gettext("week before"), kind: "before", values: before, isWhole: true }] : series;
};

/** Requests per minute: the last step is divided by the time that has passed of it. */
function rates(data, numbers) {
  const { times, step, now } = data;
  return numbers.map((number, index) => number / (Math.min(step, Math.max(now - times[index], step / 20)) / 60));
}

const classSeries = (data) => CLASSES.filter((name) => data.classes[name]).map((name) => ({ name, kind: name, mark: "column", values: rates(data, data.classes[name]) }));
const requestSeries = (data) => withBefore(data, classSeries(data), (before) => before.requests.map((number) => number / (before.step / 60)));
const latencySeries = (data) => withBefore(data, [[gettext("median"), "p50", "a"], ["p95", "p95", "b"], ["p99", "p99", "c"]].map(([name, key, kind]) => ({ name, kind, values: data[key] })), (before) => before.p95)
  .map((series) => (series.kind === "before" ? { ...series, name: gettext("p95 the week before") } : series));
const hitSeries = (data) => withBefore(data, [{ name: gettext("hit rate"), kind: "a", values: data.hit_rate }], (before) => before.hit_rate);
const lines = (series) => (view) => series(view.data).flatMap((each) => line(view, each));

function requestsChart(shared) {
  return new Chart({
    ...shared, name: "requests", title: gettext("Requests"), isCount: true, unit: gettext("per minute"), format: perMinute, labelOf: tickValue, series: requestSeries,
    ticks: (data) => valueTicks(Math.max(highest([{ values: rates(data, data.requests) }]), highest(requestSeries(data)))),
    layers: (view) => [...columns(view, classSeries(view.data)), ...requestSeries(view.data).filter(({ kind }) => kind === "before").flatMap((each) => line(view, each))],
  });
}

function latencyChart(shared) {
  return new Chart({
    ...shared, name: "latency", title: gettext("Latency"), unit: gettext("to the last byte"), format: latency, series: latencySeries,
    ticks: (data) => valueTicks(highest(latencySeries(data))), layers: lines(latencySeries),
  });
}

/** Rows from one decade below the lowest bucket with requests to the end of the highest one's decade. */
function distributionTicks({ heat: cells }) {
  const buckets = cells.map(([, bucket]) => bucket);
  const low = Math.max(0, Math.floor((Math.min(20, ...buckets) - 1) / 10));
  const high = Math.max(low + 1, Math.ceil(Math.max(40, ...buckets) / 10));
  return Array.from({ length: high - low + 1 }, (_, index) => (low + index) * 10 + 1);
}

function mostFrequent(data, index) {
  const cells = data.heat.filter(([step]) => step === index);
  if (!cells.length) return gettext("no requests");
  const [, bucket, number] = cells.reduce((one, other) => (other[2] > one[2] ? other : one));
  const total = cells.reduce((sum, [, , each]) => sum + each, 0);
  const from = bucket ? latency(bound(bucket - 1)) : "0 ms";
  return gettext("%s · most take %s to %s (%s)", plural(total, "request", "requests"), from, latency(bound(bucket)), percent((number / total) * 100, 0));
}

function distributionChart(shared) {
  return new Chart({
    ...shared, name: "distribution", title: gettext("Distribution of latency"), isCount: true, unit: gettext("requests by time to the last byte"), format: count,
    labelOf: (value) => latency(bound(value - 1)), ticks: distributionTicks, read: mostFrequent,
    series: (data) => [{ name: gettext("requests"), kind: "a", mark: "column", values: data.requests }],
    layers: (view) => heat(view, view.data.heat),
  });
}

function hitChart(shared) {
  return new Chart({
    ...shared, name: "hit-rate", title: gettext("Hit rate"), unit: gettext("of cache lookups"), format: percent, labelOf: wholePercent, series: hitSeries,
    ticks: () => [0, 25, 50, 75, 100], layers: lines(hitSeries),
  });
}

/** A circuit's marker with its reason in the page's language; the name of the service, if any, is before it. */
const inWords = (marker) => (marker.kind === "circuit" ? { ...marker, text: marker.text.replace(/^([\w-]+: )?(.*)$/su, (_, name = "", reason) => name + sentence(reason)) } : marker);

/** What happened in the range, as a list; each item shows its moment in all charts. It is made again only if it has
    changed: somebody may be at one of its buttons. */
function showMarkers(markers, crosshair) {
  const box = find("#markers");
  const shown = JSON.stringify(markers);
  if (box.shown === shown) return;
  box.shown = shown;
  box.hidden = markers.length === 0;
  setText(find("summary", box), gettext("%s in this range", plural(markers.length, "change", "changes")));
  find("ul", box).replaceChildren(...[...markers].reverse().map(({ at, kind, text, state }) => el("li", {},
    el("button", { type: "button", class: "bare small", onclick: () => crosshair.set(at), onfocus: () => crosshair.set(at), onblur: () => crosshair.set(null) }, timeText(at)),
    el("span", { class: `kind ${kind} ${state}` }, KINDS[kind]), el("span", {}, [state && stateName(state), text].filter(Boolean).join(": ")))));
}

/** Show the charts of one service, or of all (null). Returns a function that reloads them. */
export function showHistory(service) {
  const container = find("#charts");
  const crosshair = new Crosshair();
  const choice = new RangeChoice(find("#range"), () => load());
  const shared = { crosshair, onZoom: (from, to) => choice.zoom(from, to) };
  const charts = [requestsChart(shared), latencyChart(shared), distributionChart(shared), hitChart(shared)];
  container.append(...charts.map(({ node }) => node));
  setText(find("#zone"), gettext("Times in %s", zone()));
  const address = (path, query) => `${path}?${new URLSearchParams(service ? { ...query, service } : query)}`;
  let asked = 0;
  let hasFailed = false;
  async function load() {
    const number = ++asked;
    const query = choice.query();
    const data = await getJson(address(container.dataset.address, query), AbortSignal.timeout(TIMEOUT)).catch(() => null);
    if (number !== asked) return;
    hasFailed = data === null;
    find("#history-fault").hidden = !hasFailed;
    if (hasFailed) return;
    const times = Array.from({ length: data.requests.length }, (_, index) => data.start + index * data.step);
    const { compare: _, ...file } = query;
    data.markers = data.markers.map(inWords);
    for (const chart of charts) chart.show({ ...data, times }, address(container.dataset.address.replace(".json", `/${chart.name}.csv`), file));
    choice.shown(data.from, data.to);
    showMarkers(data.markers, crosshair);
  }
  load();
  setInterval(() => document.hidden || !(hasFailed || choice.isLive()) || load(), 10000);
  return load;
}
