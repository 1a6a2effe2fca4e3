// The live feed: a WebSocket that sends what GET /metrics answers, once a second. While it is cut, GET /metrics is asked.
const SILENCE = 4000; // milliseconds without a word after which a feed that looks open is cut
const POLL = 2000;
const LONGEST = 8000;

export class Feed {
  /** `onSnapshot(snapshot)`; `onState(state, age)`: "connecting", "live", "polling" or "cut"; age is milliseconds. */
  constructor({ socket, poll, onSnapshot, onState }) {
    Object.assign(this, { address: socket, poll, onSnapshot, onState });
    this.heard = null;
    this.attempt = 0;
    this.state = "connecting";
    this.polling = false;
  }

  start() {
    this.connect();
    this.ticker = setInterval(() => this.look(), 500);
    window.addEventListener("online", () => this.soon());
    window.addEventListener("offline", () => this.drop());
    document.addEventListener("visibilitychange", () => document.hidden || this.soon());
  }

  connect() {
    clearTimeout(this.retry);
    this.retry = null;
    const socket = new WebSocket(this.address);
    this.socket = socket;
    this.opened = performance.now();
    socket.addEventListener("message", (event) => {
      if (socket !== this.socket) return;
      this.attempt = 0;
      this.take(JSON.parse(event.data), "live");
    });
    socket.addEventListener("close", () => socket === this.socket && this.drop());
  }

  /** The feed is gone: say so, ask the other way, and try again after a while that doubles. */
  drop() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    if (this.state === "live" || this.state === "connecting") this.turn("cut");
    if (this.retry) return;
    const pause = Math.min(LONGEST, 500 * 2 ** this.attempt) * (0.75 + Math.random() / 2);
    this.attempt += 1;
    this.retry = setTimeout(() => this.connect(), pause);
  }

  soon() {
    if (this.socket) return;
    this.attempt = 0;
    this.connect();
  }

  look() {
    const now = performance.now();
    if (this.socket && now - Math.max(this.opened, this.heard ?? 0) > SILENCE) this.drop();
    if (this.state !== "live" && now - (this.asked ?? 0) > POLL) this.ask();
    if (this.state !== "live") this.onState(this.state, this.age());
  }

  async ask() {
    if (this.polling) return;
    this.polling = true;
    this.asked = performance.now();
    try {
      const snapshot = await this.poll(AbortSignal.timeout(SILENCE));
      if (this.state !== "live") this.take(snapshot, "polling");
    } catch {
      if (this.state === "polling") this.turn("cut");
    } finally {
      this.polling = false;
    }
  }

  take(snapshot, state) {
    this.heard = performance.now();
    this.turn(state);
    this.onSnapshot(snapshot);
  }

  turn(state) {
    if (state === this.state && state !== "polling") return;
    this.state = state;
    this.onState(state, this.age());
  }

  age() {
    return this.heard === null ? null : performance.now() - this.heard;
  }
}
