// The moment that is pointed at, shared by all charts of a page.
export class Crosshair {
  constructor() {
    this.at = null;
    this.listeners = [];
  }

  listen(listener) {
    this.listeners.push(listener);
  }

  /** `at` in Unix seconds, or null. */
  set(at) {
    if (at === this.at) return;
    this.at = at;
    this.listeners.forEach((listener) => listener(at));
  }
}
