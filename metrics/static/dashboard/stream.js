// A subscription to realtime events: resumes after the last event id on reconnect, and reports gaps.
import { ReconnectingSocket } from "./socket.js";

const TIMEOUT = 40000; // milliseconds; the gateway sends a heartbeat every 25 seconds
const SESSION_ENDED = 4401;

export class EventStream {
  /** `onEvent(event)`, `onTopics(topics, refused)`, `onState(state, previous)`: "connecting", "live" or
      "disconnected", `onGap()`, `onSessionEnded()`. */
  constructor(address, listener) {
    this.listener = listener;
    this.topics = new Set();
    this.lastId = null;
    this.state = "connecting";
    this.socket = new ReconnectingSocket(address, {
      timeout: TIMEOUT,
      onOpen: () => this.resume(),
      onMessage: (message) => this.receive(message),
      onDisconnect: (code) => this.disconnected(code),
    });
  }

  start(topics) {
    this.topics = new Set(topics);
    this.socket.start();
  }

  resume() {
    if (this.topics.size) this.subscribe([...this.topics]);
    else this.setState("live");
  }

  /** Subscribe to topics; after a reconnect, from the last event received. */
  subscribe(topics) {
    const message = { type: "subscribe", topics };
    if (this.state !== "live" && this.lastId) message.last_id = this.lastId;
    this.socket.send(message);
  }

  unsubscribe(topic) {
    this.topics.delete(topic);
    this.socket.send({ type: "unsubscribe", topics: [topic] });
    this.listener.onTopics([...this.topics], []);
  }

  receive(message) {
    this.lastId = message.id ?? message.last_id ?? this.lastId;
    if (message.id) this.listener.onEvent(message);
    else if (message.type === "gap") this.listener.onGap();
    else if (message.type === "restart") this.socket.setNextDelay(message.retry_in * 1000);
    else if (message.type === "subscribed") this.subscribed(message);
    else if (message.type === "unsubscribed") this.unsubscribed(message.topics);
  }

  subscribed({ topics, refused = [] }) {
    this.socket.resetBackoff();
    topics.forEach((topic) => this.topics.add(topic));
    refused.forEach(({ topic }) => this.topics.delete(topic));
    this.setState("live");
    this.listener.onTopics([...this.topics], refused);
  }

  unsubscribed(topics) {
    topics.forEach((topic) => this.topics.delete(topic));
    this.listener.onTopics([...this.topics], []);
  }

  disconnected(code) {
    if (code === SESSION_ENDED) this.listener.onSessionEnded();
    this.setState("disconnected");
  }

  setState(state) {
    if (state === this.state) return;
    const previous = this.state;
    this.state = state;
    this.listener.onState(state, previous);
  }
}
