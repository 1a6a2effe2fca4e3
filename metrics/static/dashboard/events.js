// The page of events: topics to hear, and what comes of them, the newest first.
import { el, find, say, tone } from "./dom.js";
import { plural, time } from "./format.js";
import { announce } from "./page.js";
import { Stream } from "./stream.js";

const KEPT = 200;
const LONGEST = 2000;
const TONES = { invalidated: "warn" };
const WORDS = { live: ["Live", "good"], connecting: ["Connecting", ""], cut: ["Feed cut, retrying", "bad"] };

const list = find("#events");
const field = find("#topic");
let heard = 0;
let waiting = null; // what came while the list is paused

const now = () => time(Date.now() / 1000);

function put(item) {
  if (waiting) waiting.push(item);
  else {
    list.prepend(item);
    while (list.children.length > KEPT) list.lastChild.remove();
    find("#nothing").hidden = true;
  }
}

function note(text, kind) {
  const item = el("li", { class: "note" }, el("time", { class: "quiet" }, now()), el("span", {}, text));
  tone(item, kind);
  put(item);
  announce(text);
}

function pillTone(event) {
  if (event.type === "circuit") return event.data.after === "CLOSED" ? "good" : "bad";
  return TONES[event.type] ?? "";
}

function show(event) {
  const pill = el("span", { class: "pill" }, event.type);
  tone(pill, pillTone(event));
  const data = JSON.stringify(event.data);
  put(el("li", { "data-id": event.id },
    el("time", { class: "quiet", datetime: new Date(event.ts * 1000).toISOString() }, time(event.ts)),
    pill,
    el("code", { class: "topic" }, [event.topic, ...(event.also ?? [])].join(", ")),
    el("code", { class: "what" }, data.length > LONGEST ? `${data.slice(0, LONGEST)}…` : data)));
  heard += 1;
  tell();
}

function tell() {
  const paused = waiting ? `, paused with ${waiting.length} to come` : "";
  say(find("#count"), heard ? `${plural(heard, "event")}${paused}` : `No events yet${paused}`);
}

function showTopics(topics, refused) {
  find("#topics").replaceChildren(...topics.sort().map((topic) => el("li", {},
    el("code", {}, topic),
    el("button", { type: "button", "aria-label": `Unsubscribe from ${topic}`, onclick: () => leave(topic) }, "×"))));
  say(find("#topics-note"), plural(topics.length, "topic"));
  const refusal = find("#refusal");
  say(refusal, refused.map(({ topic, detail }) => `${topic}: ${detail}`).join("; "));
  refusal.hidden = refused.length === 0;
}

function leave(topic) {
  stream.unsubscribe(topic);
  announce(`No longer subscribed to ${topic}.`);
  field.focus();
}

function showState(state, before) {
  const pill = find("#feed");
  const [words, kind] = WORDS[state];
  say(pill, words);
  pill.dataset.state = state;
  tone(pill, kind);
  document.body.toggleAttribute("data-stale", state === "cut");
  if (state === "cut" && before === "live") note("The feed is cut.", "bad");
  if (state === "live" && before === "cut") note("The feed is back; what was missed follows.", "good");
}

const scheme = location.protocol === "https:" ? "wss" : "ws";
const stream = new Stream(`${scheme}://${location.host}${find("#events-page").dataset.socket}`, {
  onEvent: show,
  onTopics: showTopics,
  onState: showState,
  onGap: () => note("There is a gap: some events were lost and can no longer be had.", "warn"),
  onEnded: () => location.reload(),
});

find("#subscribe").addEventListener("submit", (event) => {
  event.preventDefault();
  stream.subscribe([field.value.trim()]);
  field.value = "";
});
find('[data-do="clear"]').addEventListener("click", () => {
  list.replaceChildren();
  heard = 0;
  find("#nothing").hidden = false;
  tell();
});
find('[data-do="pause"]').addEventListener("click", ({ target }) => {
  const held = waiting;
  waiting = held ? null : [];
  held?.forEach(put);
  target.setAttribute("aria-pressed", String(!held));
  say(target, held ? "Pause" : "Resume");
  tell();
});
stream.start([...document.querySelectorAll("#known option")].map((option) => option.value));
