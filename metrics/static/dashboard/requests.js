// The page of requests: a live feed of those that match the search, newest first.
import { el, find, setText, setTone } from "./dom.js";
import { plural } from "./format.js";
import { announce } from "./page.js";
import { ReconnectingSocket } from "./socket.js";
import { gettext, LANGUAGE } from "./i18n.js";

const MAX_ROWS = 200;
const TIMEOUT = 6000; // milliseconds
const SESSION_ENDED = 4401;
const LIVE = "#live";

const page = find("#requests-page");
const rows = find("#rows");
const button = find("#live");
const pill = find("#feed");
let socket = null;
let received = 0;

const under = (text) => el("span", { class: "sub" }, text);

function makeRow(request) {
  const status = el("span", { class: "pill" }, `${request.status} ${request.why}`);
  setTone(status, request.tone);
  const cell = (label, text, below = "", extra = "name") =>
    el("td", { role: "cell", class: extra, "data-label": label }, text || "–", under(below));
  return el("tr", { role: "row", "data-position": request.position },
    el("th", { role: "rowheader", scope: "row" },
      el("a", { href: request.url }, `${request.method} `, el("code", {}, request.target)),
      el("time", { class: "sub", datetime: request.iso }, request.time)),
    el("td", { role: "cell", class: "state" }, status, under(request.code)),
    cell(gettext("Service"), request.service, request.route),
    cell(gettext("Caller"), request.caller, request.key),
    cell(gettext("Cache"), request.cache, "", ""),
    cell(gettext("Duration"), request.duration, "", "num"));
}

function address() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const query = new URLSearchParams(page.dataset.query);
  const first = rows.firstElementChild?.dataset.position;
  if (first) query.set("after", first);
  query.set("language", LANGUAGE);
  return `${scheme}://${location.host}${page.dataset.socket}?${query}`;
}

function show({ requests, isShared, more }) {
  socket.resetBackoff();
  showState("live");
  rows.prepend(...requests.map(makeRow));
  while (rows.children.length > MAX_ROWS) rows.lastElementChild.remove();
  if (requests.length) find("#empty").hidden = true;
  received += requests.length;
  socket.address = address();
  const note = isShared ? (more ? gettext("; more came at once than are shown") : "") : gettext("; Redis is unavailable");
  setText(find("#count"), `${plural(received, "new request", "new requests")}${note}`);
}

function showState(state) {
  const labels = { live: [gettext("Live"), "good"], connecting: [gettext("Connecting"), ""], disconnected: [gettext("Disconnected, retrying"), "bad"] };
  const [label, tone] = labels[state];
  if (pill.dataset.state !== state) setText(pill, label);
  pill.dataset.state = state;
  setTone(pill, tone);
}

function disconnected(code) {
  if (code === SESSION_ENDED) location.reload();
  if (socket) showState("disconnected");
}

function start() {
  if (!("latest" in find("#list-title").dataset)) {
    location.assign(`?${page.dataset.query}${LIVE}`); // new requests follow the latest ones
    return;
  }
  socket = new ReconnectingSocket(address(), { timeout: TIMEOUT, onMessage: show, onDisconnect: disconnected });
  socket.start();
  pill.hidden = false;
  showState("connecting");
  announce(gettext("New requests are shown as they come."));
}

function stop() {
  const stopped = socket;
  socket = null;
  stopped.stop();
  pill.hidden = true;
  announce(gettext("Stopped."));
}

function toggle() {
  if (socket) stop();
  else start();
  button.setAttribute("aria-pressed", String(Boolean(socket)));
}

button.hidden = false;
button.addEventListener("click", toggle);
if (location.hash === LIVE) {
  history.replaceState(null, "", `${location.pathname}${location.search}`);
  toggle();
}
