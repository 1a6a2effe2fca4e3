// Realtime events over a socket, across breaks: what was missed is asked for, and what cannot be had is said to be lost.
const SILENCE = 40000; // milliseconds; the gateway says something every 25 seconds
const LONGEST = 8000;
const ENDED = 4401;

export class Stream {
  /** `onEvent(event)`, `onTopics(topics, refused)`, `onState("connecting"|"live"|"cut")`, `onGap()`, `onEnded()`. */
  constructor(address, listener) {
    Object.assign(this, { address, listener });
    this.topics = new Set();
    this.lastId = null;
    this.attempt = 0;
    this.state = "connecting";
  }

  start(topics) {
    this.topics = new Set(topics);
    this.connect();
    this.ticker = setInterval(() => this.socket && performance.now() - this.heard > SILENCE && this.drop(), 1000);
    window.addEventListener("online", () => this.soon());
    window.addEventListener("offline", () => this.drop());
  }

  connect() {
    clearTimeout(this.retry);
    this.retry = null;
    const socket = new WebSocket(this.address);
    this.socket = socket;
    this.heard = performance.now();
    socket.addEventListener("open", () => {
      if (socket !== this.socket) return;
      if (this.topics.size) this.subscribe([...this.topics]);
      else this.turn("live");
    });
    socket.addEventListener("message", ({ data }) => socket === this.socket && this.take(JSON.parse(data)));
    socket.addEventListener("close", ({ code }) => {
      if (socket !== this.socket) return;
      if (code === ENDED) this.listener.onEnded();
      this.drop();
    });
  }

  /** Asks for topics, and at a connection's beginning for what was missed of them. */
  subscribe(topics) {
    const message = { type: "subscribe", topics };
    if (this.state !== "live" && this.lastId) message.last_id = this.lastId;
    this.say(message);
  }

  unsubscribe(topic) {
    this.topics.delete(topic);
    this.say({ type: "unsubscribe", topics: [topic] });
    this.listener.onTopics([...this.topics], []);
  }

  say(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  take(message) {
    this.heard = performance.now();
    this.lastId = message.id ?? message.last_id ?? this.lastId;
    if (message.id) this.listener.onEvent(message);
    else if (message.type === "gap") this.listener.onGap();
    else if (message.type === "restart") this.pause = message.retry_in * 1000;
    else if (message.type === "subscribed") this.granted(message);
    else if (message.type === "unsubscribed") this.taken(message.topics);
  }

  granted({ topics, refused = [] }) {
    this.attempt = 0;
    topics.forEach((topic) => this.topics.add(topic));
    refused.forEach(({ topic }) => this.topics.delete(topic));
    this.turn("live");
    this.listener.onTopics([...this.topics], refused);
  }

  taken(topics) {
    topics.forEach((topic) => this.topics.delete(topic));
    this.listener.onTopics([...this.topics], []);
  }

  drop() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.turn("cut");
    if (this.retry) return;
    const pause = this.pause ?? Math.min(LONGEST, 500 * 2 ** this.attempt) * (0.75 + Math.random() / 2);
    this.pause = undefined;
    this.attempt += 1;
    this.retry = setTimeout(() => this.connect(), pause);
  }

  soon() {
    if (this.socket) return;
    this.attempt = 0;
    this.connect();
  }

  turn(state) {
    if (state === this.state) return;
    const before = this.state;
    this.state = state;
    this.listener.onState(state, before);
  }
}
