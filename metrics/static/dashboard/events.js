// The events page: topic subscriptions and the events received, newest first.
import { el, find, setText, setTone } from "./dom.js";
import { plural, time, timeAttributes } from "./format.js";
import { announce } from "./page.js";
import { EventStream } from "./stream.js";
import { gettext } from "./i18n.js";

const MAX_ITEMS = 200;
const MAX_CHARACTERS = 2000;
const TONES = { invalidated: "warn" };
const LABELS = { live: [gettext("Live"), "good"], connecting: [gettext("Connecting"), ""], disconnected: [gettext("Disconnected, retrying"), "bad"] };

const list = find("#events");
const field = find("#topic");
let received = 0;
let queued = null; // items received while the list is paused, or null

const timeOf = (at) => el("time", { class: "quiet", ...timeAttributes(at) }, time(at));

function add(item) {
  if (queued) queued.push(item);
  else {
    list.prepend(item);
    while (list.children.length > MAX_ITEMS) list.lastChild.remove();
    find("#empty").hidden = true;
  }
}

function addNote(text, tone) {
  const item = el("li", { class: "note" }, timeOf(Date.now() / 1000), el("span", {}, text));
  setTone(item, tone);
  add(item);
  announce(text);
}

function pillTone(event) {
  if (event.type === "circuit") return event.data.after === "CLOSED" ? "good" : "bad";
  if (event.type === "holdoff") return event.data.state === "end" ? "good" : "warn";
  return TONES[event.type] ?? "";
}

function show(event) {
  const pill = el("span", { class: "pill" }, event.type);
  setTone(pill, pillTone(event));
  const data = JSON.stringify(event.data);
  add(el("li", { "data-id": event.id },
    timeOf(event.ts),
    pill,
    el("code", { class: "topic" }, [event.topic, ...(event.also ?? [])].join(", ")),
    el("code", { class: "data" }, data.length > MAX_CHARACTERS ? `${data.slice(0, MAX_CHARACTERS)}…` : data)));
  received += 1;
  showCount();
}

function showCount() {
  const paused = queued ? gettext(", paused, %s queued", queued.length) : "";
  setText(find("#count"), received ? `${plural(received, "event", "events")}${paused}` : gettext("No events yet%s", paused));
}

function showTopics(topics, refused) {
  find("#topics").replaceChildren(...topics.sort().map((topic) => el("li", {},
    el("code", {}, topic),
    el("button", { type: "button", "aria-label": gettext("Unsubscribe from %s", topic), onclick: () => unsubscribe(topic) }, "×"))));
  setText(find("#topics-note"), plural(topics.length, "topic", "topics"));
  const refusal = find("#refusal");
  setText(refusal, refused.map(({ topic, detail }) => `${topic}: ${detail}`).join("; "));
  refusal.hidden = refused.length === 0;
}

function unsubscribe(topic) {
  stream.unsubscribe(topic);
  announce(gettext("Unsubscribed from %s.", topic));
  field.focus();
}

function showState(state, previous) {
  const pill = find("#feed");
  const [label, tone] = LABELS[state];
  setText(pill, label);
  pill.dataset.state = state;
  setTone(pill, tone);
  document.body.toggleAttribute("data-stale", state === "disconnected");
  if (state === "disconnected" && previous === "live") addNote(gettext("Disconnected."), "bad");
  if (state === "live" && previous === "disconnected") addNote(gettext("Reconnected. Missed events follow."), "good");
}

const scheme = location.protocol === "https:" ? "wss" : "ws";
const stream = new EventStream(`${scheme}://${location.host}${find("#events-page").dataset.socket}`, {
  onEvent: show,
  onTopics: showTopics,
  onState: showState,
  onGap: () => addNote(gettext("Gap: some events were missed and are no longer available."), "warn"),
  onSessionEnded: () => location.reload(),
});

find("#subscribe").addEventListener("submit", (event) => {
  event.preventDefault();
  stream.subscribe([field.value.trim()]);
  field.value = "";
});
find('[data-do="clear"]').addEventListener("click", () => {
  list.replaceChildren();
  received = 0;
  find("#empty").hidden = false;
  showCount();
});
find('[data-do="pause"]').addEventListener("click", ({ target }) => {
  const resumed = queued;
  queued = resumed ? null : [];
  resumed?.forEach(add);
  target.setAttribute("aria-pressed", String(!resumed));
  setText(target, resumed ? gettext("Pause") : gettext("Resume"));
  showCount();
});
stream.start([...document.querySelectorAll("#known option")].map((option) => option.value));
