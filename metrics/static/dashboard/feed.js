// The live feed: a WebSocket that sends what GET /metrics answers, once a second. While it is cut, GET /metrics is asked.
import { Line } from "./line.js";

const SILENCE = 4000; // milliseconds
const POLL = 2000;

export class Feed {
  /** `onSnapshot(snapshot)`; `onState(state, age)`: "connecting", "live", "polling" or "cut"; age is milliseconds. */
  constructor({ socket, poll, onSnapshot, onState }) {
    Object.assign(this, { poll, onSnapshot, onState });
    this.heard = null;
    this.state = "connecting";
    this.polling = false;
    this.line = new Line(socket, {
      silence: SILENCE,
      onMessage: (snapshot) => this.hear(snapshot),
      onCut: () => this.cut(),
    });
  }

  start() {
    this.line.start();
    setInterval(() => this.look(), 500);
    document.addEventListener("visibilitychange", () => document.hidden || this.line.soon());
  }

  hear(snapshot) {
    this.line.works();
    this.take(snapshot, "live");
  }

  /** The feed is gone: say so, and ask the other way until it is back. */
  cut() {
    if (this.state === "live" || this.state === "connecting") this.turn("cut");
  }

  look() {
    const now = performance.now();
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
