// One service's page: its numbers live, its histories, its circuit's timeline, its tags, and what can be done to it.
import { api, askFlush, askOpen, askTag, perform, warm, warmed } from "./actions.js";
import { band } from "./charts.js";
import { el, find, say, tone } from "./dom.js";
import { count, time } from "./format.js";
import { announce, getJson, histories, Pace, showFailures, showFigures, showState, stateDetail, stateName, watch } from "./page.js";

const HOUR = 3600;
const head = find("#service");
const name = head.dataset.name;
const pace = new Pace();
let state = null;
let tags = [];
let paths = [];

function show({ summary, services }) {
  const service = services.find((each) => each.name === name);
  if (!service) return;
  const { circuit } = service;
  showState(find("#state"), circuit.state, service.enabled);
  showFigures({ ...service, perSecond: pace.add(summary.at, service.total.requests, service.sparkline.at(-2) / 60) });
  showFailures(circuit);
  const box = find("#verdict");
  const open = circuit.state !== "CLOSED" && circuit.state !== "HALF_OPEN";
  box.hidden = !open;
  tone(box, circuit.state === "DISABLED" ? "warn" : "bad");
  if (open) say(box, `${stateName(circuit.state)}: ${stateDetail(circuit)}`);
  find('[data-do="reset"]').disabled = circuit.state === "CLOSED";
  if (state !== null && state !== circuit.state) {
    announce(`The circuit is now ${stateName(circuit.state).toLowerCase()}. ${circuit.reason}`);
    setTimeout(load, 1200);
  }
  state = circuit.state;
}

function showMoves(moves, now) {
  band(find("#band"), moves, state ?? moves.at(-1)?.after ?? "CLOSED", now - HOUR, now);
  const recent = moves.slice(-8).reverse();
  const none = el("li", {}, el("span", { class: "quiet" }, "never"), el("span", {}, ""), el("span", { class: "quiet" }, "It has not moved since it was first seen."));
  find("#moves").replaceChildren(...(recent.length ? recent.map((move) => {
    const pill = el("span", { class: "pill" });
    showState(pill, move.after);
    return el("li", {}, el("time", { class: "quiet", datetime: new Date(move.at * 1000).toISOString() }, when(move.at, now)), pill, el("span", {}, move.reason));
  }) : [none]));
}

const when = (at, now) => (now - at < 86400 ? time(at) : new Date(at * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" }));

function showTags(listed) {
  tags = listed.map(({ tag }) => tag).filter((tag) => tag && !tag.includes("{"));
  find("#tags").replaceChildren(...listed.map(({ tag, entries }) => {
    const act = tag === null ? () => askFlush(name, load) : () => askTag(name, tags, tag, load);
    return el("tr", {},
      el("td", {}, tag === null ? "All of the service" : el("code", {}, tag)),
      el("td", { class: "num" }, entries === null ? el("span", { class: "quiet" }, tag?.includes("{") ? "per value" : "not known") : count(entries)),
      el("td", { class: "num" }, el("button", { type: "button", class: "small", onclick: act, "aria-label": tag === null ? "Flush the service" : `Invalidate ${tag}` }, tag === null ? "Flush…" : "Invalidate…")));
  }));
}

function showPaths(place, listed, what) {
  find(place).replaceChildren(...(listed.length ? listed.map((each) => el("tr", {},
    el("td", {}, el("code", {}, each.path)), el("td", { class: "num" }, count(each[what]))))
    : [el("tr", {}, el("td", { colspan: 2, class: "quiet" }, "None yet."))]));
}

function showOperations(operations, now) {
  find("#operations").replaceChildren(...(operations.length ? operations.map((done) => el("tr", {},
    el("td", { class: "quiet" }, when(done.at, now)), el("td", {}, done.actor), el("td", {}, done.action), el("td", { class: "extra" }, el("code", {}, done.after))))
    : [el("tr", {}, el("td", { colspan: 4, class: "quiet" }, "Nobody has done anything to it yet."))]));
}

const shown = {};

/** Draw a list anew only where it differs: whoever is in it by keyboard stays where they are. */
function renew(part, listed, draw) {
  const text = JSON.stringify(listed);
  if (shown[part] !== text) draw();
  shown[part] = text;
}

async function load() {
  const detail = await getJson(head.dataset.detail, AbortSignal.timeout(10000)).catch(() => null);
  if (!detail) return;
  showMoves(detail.moves, detail.now);
  renew("tags", detail.tags, () => showTags(detail.tags));
  paths = detail.hit.map((each) => each.path);
  renew("hit", detail.hit, () => showPaths("#hit", detail.hit, "hits"));
  renew("missed", detail.missed, () => showPaths("#missed", detail.missed, "misses"));
  renew("operations", detail.operations, () => showOperations(detail.operations, detail.now));
}

const on = (action, act) => find(`[data-do="${action}"]`).addEventListener("click", act);
on("reset", (event) => perform(event.target, () => api.reset(name), () => `The circuit of ${name} is closed.`).then(load));
on("open", () => askOpen(name));
on("tag", () => askTag(name, tags, "", load));
on("warm", (event) => perform(event.target, () => (paths.length ? warm(paths) : { warmed: 0, failed: 0 }), warmed).then(load));
on("flush", () => askFlush(name, load));
histories(name);
load();
setInterval(() => document.hidden || load(), 5000);
watch(show);
