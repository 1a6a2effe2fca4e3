// A service's page: live figures, history charts, circuit timeline, tags, paths, audit log and operations.
import { api, closed, confirmFlush, confirmForceOpen, confirmInvalidate, perform, warm, warmed } from "./actions.js";
import { band } from "./charts.js";
import { el, find, setText, setTone } from "./dom.js";
import { setDisabled } from "./focus.js";
import { count, moment, timeAttributes } from "./format.js";
import { showHistory } from "./history.js";
import { Incidents } from "./incident.js";
import { announce, faultText, getJson, limitText, RateMeter, showFailures, showFigures, showState, stateDetail, stateName, subscribe } from "./page.js";
import { showRoutes } from "./routes.js";
import { sentence, translateSentences } from "./sentences.js";
import { conditionPills } from "./targets.js";
import { gettext } from "./i18n.js";

const HOUR = 3600;
const head = find("#service");
const name = head.dataset.name;
const rate = new RateMeter();
const card = new Incidents(find("#incidents"), { isOwnPage: true });
let state = null;
let tags = [];
let paths = [];

function showTargets(targets) {
  const nodes = [...find("#targets").children];
  for (const target of targets) {
    const node = nodes.find(({ dataset }) => dataset.url === target.url);
    const text = JSON.stringify(target);
    if (node && node.dataset.shown !== text) {
      find(".pills", node).replaceChildren(...conditionPills(target).filter(Boolean));
      node.dataset.shown = text;
    }
  }
}

function show({ summary, services, incidents }) {
  const service = services.find((each) => each.name === name);
  find("#gone").hidden = Boolean(service);
  document.body.toggleAttribute("data-gone", !service);
  if (!service) return;
  const { circuit } = service;
  showState(find("#state"), circuit.state, service.enabled, service.is_out);
  showTargets(service.targets);
  find("#faults").hidden = service.faults.length === 0;
  setText(find("#faults"), faultText(service));
  showFigures({ ...service, perSecond: rate.add(summary.at, service.total.requests, service.sparkline.at(-2) / 60) });
  showFailures(circuit);
  const box = find("#verdict");
  const open = circuit.state !== "CLOSED" && circuit.state !== "HALF_OPEN";
  const limited = limitText(circuit);
  const quotas = Object.entries(circuit.quotas);
  find("#quotas").hidden = quotas.length === 0;
  setText(find("#quotas"), gettext("Left of the backend's limits: %s", quotas.map(([quota, left]) => `${quota} ${count(left)}`).join(", ")));
  const own = incidents.filter((incident) => incident.service === name);
  card.show(own, services, summary.at);
  box.hidden = own.length > 0 || (!open && !limited);
  setTone(box, open && circuit.state !== "DISABLED" ? "bad" : "warn");
  setText(box, open ? `${stateName(circuit.state)}: ${stateDetail(circuit)}` : limited);
  setDisabled(find('[data-do="reset"]'), circuit.state === "CLOSED" && !limited);
  if (state !== null && state !== circuit.state) {
    announce(gettext("The circuit is now %s. %s", stateName(circuit.state).toLowerCase(), sentence(circuit.reason)));
    setTimeout(load, 1200);
  }
  state = circuit.state;
}

function showTransitions(recent, now) {
  const none = el("li", {}, el("span", { class: "quiet" }, "–"), el("span", {}, ""), el("span", { class: "quiet" }, gettext("No transitions recorded.")));
  find("#transitions").replaceChildren(...(recent.length ? recent.map(({ at, after, reason }) => {
    const pill = el("span", { class: "pill" });
    showState(pill, after);
    return el("li", {}, el("time", { class: "quiet", ...timeAttributes(at) }, moment(at, now)), pill, el("span", {}, sentence(reason)));
  }) : [none]));
}

function showTags(listed) {
  tags = listed.map(({ tag }) => tag).filter((tag) => tag && !tag.includes("{"));
  find("#tags").replaceChildren(...listed.map(({ tag, entries }) => {
    const open = tag === null ? () => confirmFlush(name, load) : () => confirmInvalidate(name, tags, tag, load);
    return el("tr", {},
      el("td", {}, tag === null ? gettext("All entries") : el("code", {}, tag)),
      el("td", { class: "num" }, entries === null ? el("span", { class: "quiet" }, tag?.includes("{") ? gettext("per value") : gettext("unknown")) : count(entries)),
      el("td", { class: "num" }, el("button", { type: "button", class: "small", onclick: open, "aria-label": tag === null ? gettext("Flush all entries") : gettext("Invalidate %s", tag) }, tag === null ? gettext("Flush…") : gettext("Invalidate…"))));
  }));
}

function showPaths(selector, listed, counter) {
  find(selector).replaceChildren(...(listed.length ? listed.map((each) => el("tr", {},
    el("td", {}, el("code", {}, each.path)), el("td", { class: "num" }, count(each[counter]))))
    : [el("tr", {}, el("td", { colspan: 2, class: "quiet" }, gettext("None yet.")))]));
}

function showOperations(operations, now) {
  find("#operations").replaceChildren(...(operations.length ? operations.map((operation) => el("tr", {},
    el("td", { class: "quiet" }, el("time", timeAttributes(operation.at), moment(operation.at, now))), el("td", {}, operation.actor), el("td", {}, operation.action), el("td", { class: "extra" }, el("code", {}, operation.after))))
    : [el("tr", {}, el("td", { colspan: 4, class: "quiet" }, gettext("No operations recorded.")))]));
}

const rendered = {};

/** Render a list only if it has changed, so that keyboard focus within it is kept. */
function renderIfChanged(part, listed, render) {
  const text = JSON.stringify(listed);
  if (rendered[part] !== text) render();
  rendered[part] = text;
}

async function load() {
  const detail = await getJson(head.dataset.detail, AbortSignal.timeout(10000)).catch(() => null);
  if (!detail) return;
  const { moves, now } = detail;
  band(find("#band"), moves, state ?? moves.at(-1)?.after ?? "CLOSED", now - HOUR, now);
  const recent = moves.slice(-8).reverse();
  renderIfChanged("transitions", recent, () => showTransitions(recent, now));
  renderIfChanged("tags", detail.tags, () => showTags(detail.tags));
  paths = detail.hit.map((each) => each.path);
  renderIfChanged("hit", detail.hit, () => showPaths("#hit", detail.hit, "hits"));
  renderIfChanged("missed", detail.missed, () => showPaths("#missed", detail.missed, "misses"));
  renderIfChanged("operations", detail.operations, () => showOperations(detail.operations, detail.now));
}

const on = (action, handler) => find(`[data-do="${action}"]`).addEventListener("click", handler);
on("reset", (event) => perform(event.target, () => api.reset(name), closed(name)).then(load));
on("open", () => confirmForceOpen(name));
on("tag", () => confirmInvalidate(name, tags, "", load));
on("warm", (event) => perform(event.target, () => (paths.length ? warm(paths) : { warmed: 0, failed: 0 }), warmed).then(load));
on("flush", () => confirmFlush(name, load));
translateSentences();
showRoutes();
showHistory(name);
load();
setInterval(() => document.hidden || load(), 5000);
subscribe(show);
