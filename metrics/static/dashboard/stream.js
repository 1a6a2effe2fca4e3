// Realtime events over a socket, across breaks: what was missed is asked for, and what cannot be had is said to be lost.
import { Line } from "./line.js";

const SILENCE = 40000; // milliseconds; the gateway says something every 25 seconds
const ENDED = 4401;

export class Stream {
  /** `onEvent(event)`, `onTopics(topics, refused)`, `onState("connecting"|"live"|"cut")`, `onGap()`, `onEnded()`. */
  constructor(address, listener) {
    this.listener = listener;
    this.topics = new Set();
    this.lastId = null;
    this.state = "connecting";
    this.line = new Line(address, {
      silence: SILENCE,
      onOpen: () => this.begin(),
      onMessage: (message) => this.take(message),
      onCut: (code) => this.cut(code),
    });
  }

  start(topics) {
    this.topics = new Set(topics);
    this.line.start();
  }

  begin() {
    if (this.topics.size) this.subscribe([...this.topics]);
    else this.turn("live");
  }

  /** Asks for topics, and at a connection's beginning for what was missed of them. */
  subscribe(topics) {
    const message = { type: "subscribe", topics };
    if (this.state !== "live" && this.lastId) message.last_id = this.lastId;
    this.line.say(message);
  }

  unsubscribe(topic) {
    this.topics.delete(topic);
    this.line.say({ type: "unsubscribe", topics: [topic] });
    this.listener.onTopics([...this.topics], []);
  }

  take(message) {
    this.lastId = message.id ?? message.last_id ?? this.lastId;
    if (message.id) this.listener.onEvent(message);
    else if (message.type === "gap") this.listener.onGap();
    else if (message.type === "restart") this.line.waits(message.retry_in * 1000);
    else if (message.type === "subscribed") this.granted(message);
    else if (message.type === "unsubscribed") this.taken(message.topics);
  }

  granted({ topics, refused = [] }) {
    this.line.works();
    topics.forEach((topic) => this.topics.add(topic));
    refused.forEach(({ topic }) => this.topics.delete(topic));
    this.turn("live");
    this.listener.onTopics([...this.topics], refused);
  }

  taken(topics) {
    topics.forEach((topic) => this.topics.delete(topic));
    this.listener.onTopics([...this.topics], []);
  }

  cut(code) {
    if (code === ENDED) this.listener.onEnded();
    this.turn("cut");
  }

  turn(state) {
    if (state === this.state) return;
    const before = this.state;
    this.state = state;
    this.listener.onState(state, before);
  }
}
