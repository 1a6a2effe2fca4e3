// The live feed: snapshots over a WebSocket once a second, or by polling while it is disconnected.
import { ReconnectingSocket } from "./socket.js";

const TIMEOUT = 4000; // milliseconds
const POLL_INTERVAL = 2000;

export class Feed {
  /** `onSnapshot(snapshot)`; `onState(state, age)`: "connecting", "live", "polling" or "disconnected", and the
      milliseconds since the last snapshot. `poll(signal)` fetches one snapshot. */
  constructor({ address, poll, onSnapshot, onState }) {
    Object.assign(this, { poll, onSnapshot, onState });
    this.lastSnapshotAt = null;
    this.state = "connecting";
    this.polling = false;
    this.socket = new ReconnectingSocket(address, {
      timeout: TIMEOUT,
      onMessage: (snapshot) => this.receive(snapshot),
      onDisconnect: () => this.disconnected(),
    });
  }

  start() {
    this.socket.start();
    setInterval(() => this.check(), 500);
    document.addEventListener("visibilitychange", () => document.hidden || this.socket.reconnectNow());
  }

  receive(snapshot) {
    this.socket.resetBackoff();
    this.show(snapshot, "live");
  }

  disconnected() {
    if (this.state === "live" || this.state === "connecting") this.setState("disconnected");
  }

  /** Poll if it is due, and report the age of the last snapshot. */
  check() {
    const now = performance.now();
    if (this.state !== "live" && now - (this.lastPollAt ?? 0) > POLL_INTERVAL) this.pollOnce();
    if (this.state !== "live") this.onState(this.state, this.age());
  }

  async pollOnce() {
    if (this.polling) return;
    this.polling = true;
    this.lastPollAt = performance.now();
    try {
      const snapshot = await this.poll(AbortSignal.timeout(TIMEOUT));
      if (this.state !== "live") this.show(snapshot, "polling");
    } catch {
      if (this.state === "polling") this.setState("disconnected");
    } finally {
      this.polling = false;
    }
  }

  show(snapshot, state) {
    this.lastSnapshotAt = performance.now();
    this.setState(state);
    this.onSnapshot(snapshot);
  }

  setState(state) {
    if (state === this.state && state !== "polling") return;
    this.state = state;
    this.onState(state, this.age());
  }

  age() {
    return this.lastSnapshotAt === null ? null : performance.now() - this.lastSnapshotAt;
  }
}
