// The choice of a table's columns, kept in this browser for each of three widths.
import { el } from "./dom.js";
import { gettext } from "./i18n.js";

const WIDTHS = [["narrow", "(max-width: 860px)"], ["medium", "(max-width: 1180px)"], ["wide", "all"]];

export class ColumnChoice {
  /** `defaults`: names by width: {narrow, medium, wide}. `onChange()` is called when others are chosen. */
  constructor(table, columns, defaults, onChange) {
    Object.assign(this, { table, defaults, onChange, optional: columns.slice(1) });
    this.width = this.currentWidth();
    this.read();
    for (const [, query] of WIDTHS) matchMedia(query).addEventListener("change", () => this.resized());
    this.list = el("div", { class: "dropdown-list" });
    this.node = el("details", { class: "dropdown" }, el("summary", {}, gettext("Columns")), this.list);
    this.node.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    document.addEventListener("pointerdown", ({ target }) => this.node.contains(target) || (this.node.open = false));
    this.draw();
  }

  close() {
    this.node.open = false;
    this.node.firstChild.focus();
  }

  currentWidth() {
    return WIDTHS.find(([, query]) => matchMedia(query).matches)[0];
  }

  get key() {
    return `gateway-columns-${this.table}-${this.width}`;
  }

  read() {
    let stored = null;
    try { stored = localStorage.getItem(this.key); } catch { /* storage is unavailable */ }
    const known = new Set(this.optional.map(({ name }) => name));
    this.names = new Set((stored === null ? this.defaults[this.width] : stored.split(",")).filter((name) => known.has(name)));
  }

  has(name) {
    return this.names.has(name);
  }

  resized() {
    const width = this.currentWidth();
    if (width === this.width) return;
    this.width = width;
    this.read();
    this.draw();
    this.onChange();
  }

  draw() {
    this.list.replaceChildren(
      ...this.optional.map(({ name, label }) => el("label", {},
        el("input", { type: "checkbox", checked: this.has(name), onchange: ({ target }) => this.set(name, target.checked) }), label)),
      el("button", { type: "button", class: "small", onclick: () => this.reset() }, gettext("Default columns")));
  }

  set(name, isChosen) {
    if (isChosen) this.names.add(name);
    else this.names.delete(name);
    try { localStorage.setItem(this.key, [...this.names].join()); } catch { /* storage is unavailable */ }
    this.onChange();
  }

  reset() {
    try { localStorage.removeItem(this.key); } catch { /* storage is unavailable */ }
    this.read();
    this.draw();
    this.onChange();
  }
}
