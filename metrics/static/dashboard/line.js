// A WebSocket that comes back: silence is taken for a cut, and after one it is tried again after a while that doubles.
const LONGEST = 8000; // milliseconds

export class Line {
  /** `silence`: milliseconds without a word after which a line that looks open is cut. `onOpen()`, `onMessage(message)`,
      `onCut(code)`: null where it was not the other side that closed. */
  constructor(address, { silence, onOpen = () => {}, onMessage, onCut }) {
    Object.assign(this, { address, silence, onOpen, onMessage, onCut });
    this.attempt = 0;
  }

  start() {
    this.connect();
    setInterval(() => this.socket && performance.now() - this.heard > this.silence && this.drop(), 500);
    window.addEventListener("online", () => this.soon());
    window.addEventListener("offline", () => this.drop());
  }

  connect() {
    clearTimeout(this.retry);
    this.retry = null;
    const socket = new WebSocket(this.address);
    this.socket = socket;
    this.heard = performance.now();
    socket.addEventListener("open", () => socket === this.socket && this.onOpen());
    socket.addEventListener("message", ({ data }) => {
      if (socket !== this.socket) return;
      this.heard = performance.now();
      this.onMessage(JSON.parse(data));
    });
    socket.addEventListener("close", ({ code }) => socket === this.socket && this.drop(code));
  }

  say(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** It works: the next cut is met as the first. */
  works() {
    this.attempt = 0;
  }

  /** The next try comes after so many milliseconds, as the other side asked. */
  waits(pause) {
    this.pause = pause;
  }

  drop(code = null) {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.onCut(code);
    if (this.retry) return;
    const pause = this.pause ?? Math.min(LONGEST, 500 * 2 ** this.attempt) * (0.75 + Math.random() / 2);
    this.pause = undefined;
    this.attempt += 1;
    this.retry = setTimeout(() => this.connect(), pause);
  }

  /** Now, if it is cut. */
  soon() {
    if (this.socket) return;
    this.works();
    this.connect();
  }
}
