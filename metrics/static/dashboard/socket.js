// A WebSocket that reconnects with exponential backoff and treats prolonged silence as a lost connection.
const MAX_BACKOFF = 8000; // milliseconds

export class ReconnectingSocket {
  /** `timeout`: milliseconds without a message after which an open connection counts as lost. `onOpen()`,
      `onMessage(message)`, `onDisconnect(code)`: the close code, or null if this side closed the connection. */
  constructor(address, { timeout, onOpen = () => {}, onMessage, onDisconnect }) {
    Object.assign(this, { address, timeout, onOpen, onMessage, onDisconnect });
    this.attempt = 0;
  }

  start() {
    this.connect();
    this.watch = setInterval(() => this.socket && performance.now() - this.lastMessageAt > this.timeout && this.disconnect(), 500);
    this.stopping = new AbortController();
    const { signal } = this.stopping;
    window.addEventListener("online", () => this.reconnectNow(), { signal });
    window.addEventListener("offline", () => this.disconnect(), { signal });
  }

  /** Close the connection for good. */
  stop() {
    clearInterval(this.watch);
    this.stopping.abort();
    clearTimeout(this.retry);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  connect() {
    clearTimeout(this.retry);
    this.retry = null;
    let socket;
    try {
      socket = new WebSocket(this.address);
    } catch { // a browser that is told to open none
      this.disconnect();
      return;
    }
    this.socket = socket;
    this.lastMessageAt = performance.now();
    socket.addEventListener("open", () => socket === this.socket && this.onOpen());
    socket.addEventListener("message", ({ data }) => {
      if (socket !== this.socket) return;
      this.lastMessageAt = performance.now();
      this.onMessage(JSON.parse(data));
    });
    socket.addEventListener("close", ({ code }) => socket === this.socket && this.disconnect(code));
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** Restart the backoff at its shortest delay: the connection has proved to work. */
  resetBackoff() {
    this.attempt = 0;
  }

  /** Use this delay, as requested by the server, for the next reconnect only. */
  setNextDelay(milliseconds) {
    this.nextDelay = milliseconds;
  }

  disconnect(code = null) {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.onDisconnect(code);
    if (this.retry) return;
    const delay = this.nextDelay ?? Math.min(MAX_BACKOFF, 500 * 2 ** this.attempt) * (0.75 + Math.random() / 2);
    this.nextDelay = undefined;
    this.attempt += 1;
    this.retry = setTimeout(() => this.connect(), delay);
  }

  reconnectNow() {
    if (this.socket) return;
    this.resetBackoff();
    this.connect();
  }
}
