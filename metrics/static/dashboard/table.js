// A table of many rows: sorting, search, a filter, groups, columns to choose, and a head that stays in sight. Rows are
// updated in place, and only as many are made as have been scrolled to.
import { el, setText, setTone } from "./dom.js";
import { ColumnChoice } from "./columns.js";
import { hasSelection } from "./selection.js";
import { gettext, ngettext } from "./i18n.js";

const CHUNK = 60; // rows
const REORDER = 5000; // milliseconds

/** `columns`: [{name, label, show(cell, row), sort?(row), num?, wide?, first?}]; the first one is the row's header and
    always shown; `sort` returns what rows are ordered by, `first` is "high" if the largest come first.
    `states`: [{name, label, test(row)}]; `groups(rows)`: names by which rows can be grouped, `groupOf(row, name)` a
    row's group. `rank(row)`: numbers by which the worst rows come first. `isMoving(row)`: it changes without news. */
export class Table {
  constructor(box, options) {
    Object.assign(this, { groups: () => [], isMoving: () => false, toneOf: () => "", ...options });
    this.box = box;
    this.rows = [];
    this.isShown = false;
    this.nodes = new Map();
    this.closed = new Set();
    this.limit = CHUNK;
    this.orderedAt = -REORDER;
    this.order = [];
    this.read();
    this.choice = new ColumnChoice(this.name, this.columns, this.defaults, () => this.rebuild());
    this.build();
    this.rebuild();
  }

  build() {
    const { noun } = this;
    this.search = el("input", { type: "search", "aria-label": noun === "route" ? gettext("Search routes") : gettext("Search services"), placeholder: gettext("Search"), value: this.state.q, oninput: () => this.change({ q: this.search.value }) });
    this.filter = el("select", { "aria-label": gettext("State"), onchange: () => this.change({ state: this.filter.value }) },
      el("option", { value: "" }, gettext("All states")), this.states.map(({ name, label }) => el("option", { value: name }, label)));
    this.group = el("select", { "aria-label": gettext("Group by label"), onchange: () => this.change({ group: this.group.value }) });
    this.sorting = el("select", { class: "sort-select", "aria-label": gettext("Order"), onchange: () => this.change({ sort: this.sorting.value }) });
    this.note = el("p", { class: "quiet table-note", role: "status" });
    this.head = el("tr", { role: "row" });
    this.body = el("tbody", { role: "rowgroup", id: this.bodyId });
    this.more = el("div", { class: "more", "aria-hidden": "true" });
    this.scroller = el("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": noun === "route" ? gettext("Table of routes") : gettext("Table of services") },
      el("table", { class: `services ${this.kind ?? ""}`, role: "table", "aria-label": this.label }, el("thead", { role: "rowgroup" }, this.head), this.body), this.more);
    this.box.replaceChildren(el("div", { class: "table-tools" }, this.search, this.filter, this.sorting, this.group, this.choice.node, this.note), this.scroller);
    new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.extend(), { root: this.scroller, rootMargin: "600px" }).observe(this.more);
    window.addEventListener("beforeprint", () => this.showAll());
    this.filter.value = this.state.state;
  }

  /** What the rows are, for a number of them. */
  nameOf(number) {
    return this.noun === "route" ? ngettext("route", "routes", number) : ngettext("service", "services", number);
  }

  /** What the address says: `?q=&state=&group=&sort=-errors`, with the table's name before each but the first table's. */
  read() {
    const query = new URLSearchParams(location.search);
    const value = (key) => query.get(this.prefix + key) ?? "";
    this.state = { q: value("q"), state: value("state"), group: value("group"), sort: value("sort") };
  }

  get prefix() {
    return this.isSecondary ? `${this.name}-` : "";
  }

  change(changed) {
    Object.assign(this.state, changed);
    const query = new URLSearchParams(location.search);
    for (const [key, value] of Object.entries(this.state)) {
      if (value) query.set(this.prefix + key, value);
      else query.delete(this.prefix + key);
    }
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`);
    this.limit = CHUNK;
    this.scroller.scrollTop = 0;
    this.arrange(true);
  }

  /** Rebuild the head and all rows, with the columns that are chosen. */
  rebuild() {
    this.shown = this.columns.filter((column, index) => index === 0 || this.choice.has(column.name));
    this.nodes.clear();
    this.sorting.replaceChildren(el("option", { value: "" }, gettext("Worst first")), ...this.shown.filter(({ sort }) => sort).map((column) =>
      el("option", { value: column.first === "high" ? `-${column.name}` : column.name }, gettext("By %s", column.label))));
    this.head.replaceChildren(...this.shown.map((column) => this.headOf(column)));
    this.body.replaceChildren();
    this.arrange(true);
  }

  headOf(column) {
    const classes = column.num ? "num" : null;
    if (!column.sort || this.choice.width === "narrow") return el("th", { role: "columnheader", scope: "col", class: classes }, column.label);
    return el("th", { role: "columnheader", scope: "col", class: classes, "data-column": column.name },
      el("button", { type: "button", class: "bare sorter", onclick: () => this.sortBy(column) }, column.label, el("span", { class: "arrow", "aria-hidden": "true" })));
  }

  /** First in the column's own direction, then in the other one, then the worst first again. */
  sortBy(column) {
    const first = column.first === "high" ? `-${column.name}` : column.name;
    const second = column.first === "high" ? column.name : `-${column.name}`;
    const { sort } = this.state;
    this.change({ sort: sort === first ? second : sort === second ? "" : first });
  }

  /** Say that there is nothing to show, unless earlier rows are shown. */
  fail() {
    if (!this.isShown) setText(this.note, gettext("The figures cannot be read. They are asked for again."));
  }

  show(rows) {
    this.rows = rows;
    this.isShown = true;
    const names = this.groups(rows);
    if (names.join() !== this.groupNames) {
      this.groupNames = names.join();
      this.group.replaceChildren(el("option", { value: "" }, gettext("No groups")), ...names.map((name) => el("option", { value: name }, gettext("By %s", name))));
      this.group.value = names.includes(this.state.group) ? this.state.group : "";
    }
    this.group.hidden = names.length === 0;
    this.arrange(false);
  }

  /** Show the rows that pass, in their order. Rows do not move while they are pointed at, focused or selected, unless
      the person has asked for another order. */
  arrange(isAsked) {
    const passing = this.passing();
    const now = performance.now();
    const known = new Set(this.order);
    if (isAsked || passing.some((row) => !known.has(this.keyOf(row))) || (now - this.orderedAt >= REORDER && !this.isInUse())) {
      this.order = this.sorted(passing).map(this.keyOf);
      this.orderedAt = now;
    }
    const rank = new Map(this.order.map((key, index) => [key, index]));
    const ordered = [...passing].sort((one, other) => (rank.get(this.keyOf(one)) ?? Infinity) - (rank.get(this.keyOf(other)) ?? Infinity));
    this.place(ordered);
    this.head.querySelectorAll("[data-column]").forEach((cell) => {
      const { column } = cell.dataset;
      const direction = { [column]: "ascending", [`-${column}`]: "descending" }[this.state.sort];
      if (direction) cell.setAttribute("aria-sort", direction);
      else cell.removeAttribute("aria-sort");
    });
    this.sorting.value = this.state.sort;
    if (!this.isShown) return;
    const of = passing.length === this.rows.length ? "" : gettext(" of %s", this.rows.length);
    setText(this.note, `${passing.length}${of} ${this.nameOf(this.rows.length)}${this.state.sort ? "" : gettext(", worst first")}`);
  }

  isInUse() {
    const isPointedAt = matchMedia("(hover: hover)").matches && this.body.matches(":hover");
    return isPointedAt || this.body.contains(document.activeElement) || hasSelection(this.body);
  }

  passing() {
    const words = this.state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const test = this.states.find(({ name }) => name === this.state.state)?.test ?? (() => true);
    return this.rows.filter((row) => test(row) && words.every((word) => this.textOf(row).toLowerCase().includes(word)));
  }

  sorted(rows) {
    const sign = this.state.sort.startsWith("-") ? -1 : 1;
    const column = this.columns.find(({ name }) => name === this.state.sort.replace("-", ""));
    const key = column?.sort;
    const compare = key ? (one, other) => sign * compared(key(one), key(other), sign) : (one, other) => worse(this.rank(one), this.rank(other));
    return [...rows].sort((one, other) => compare(one, other) || compared(this.keyOf(one), this.keyOf(other), 1));
  }

  place(rows) {
    const wanted = [];
    for (const { title, rows: members } of this.grouped(rows)) {
      if (title !== null) wanted.push(this.groupNode(title, members));
      if (title === null || !this.closed.has(title)) wanted.push(...members.slice(0, Math.max(0, this.limit - wanted.length)).map((row) => this.nodeOf(row)));
    }
    this.isCut = wanted.length >= this.limit;
    wanted.forEach((node, index) => {
      if (this.body.children[index] !== node) this.body.insertBefore(node, this.body.children[index] ?? null);
    });
    while (this.body.children.length > wanted.length) this.body.lastChild.remove();
    const present = new Set(this.rows.map(this.keyOf));
    for (const key of this.nodes.keys()) if (!present.has(key)) this.nodes.delete(key);
  }

  /** Groups in the order of their first rows; one without a title if rows are not grouped. */
  grouped(rows) {
    const name = this.group.value;
    if (!name) return [{ title: null, rows }];
    const found = new Map();
    for (const row of rows) {
      const title = this.groupOf(row, name);
      if (!found.has(title)) found.set(title, []);
      found.get(title).push(row);
    }
    return [...found].map(([title, members]) => ({ title, rows: members }));
  }

  groupNode(title, members) {
    const isOpen = !this.closed.has(title);
    const flip = () => {
      if (isOpen) this.closed.add(title);
      else this.closed.delete(title);
      this.arrange(true);
      [...this.body.querySelectorAll(".group button")].find((button) => button.dataset.title === title)?.focus();
    };
    const worst = members.map(this.toneOf).includes("bad") ? "bad" : members.map(this.toneOf).includes("warn") ? "warn" : "";
    const text = `${title || gettext("none")} · ${members.length} ${this.nameOf(members.length)}`;
    const key = JSON.stringify([text, isOpen, worst, this.shown.length]);
    const known = [...this.body.querySelectorAll(".group")].find((node) => node.dataset.key === key);
    return known ?? el("tr", { role: "row", class: "group", "data-key": key, "data-tone": worst || null },
      el("th", { role: "rowheader", scope: "rowgroup", colspan: this.shown.length },
        el("button", { type: "button", class: "bare small", "aria-expanded": String(isOpen), "data-title": title, onclick: flip }, text)));
  }

  nodeOf(row) {
    const key = this.keyOf(row);
    const node = this.nodes.get(key) ?? this.makeRow(row);
    if (node.row === row && !this.isMoving(row)) return node;
    node.row = row;
    setTone(node, this.toneOf(row));
    this.shown.forEach((column, index) => column.show(node.children[index], row));
    return node;
  }

  makeRow(row) {
    const node = el("tr", { role: "row", [`data-${this.noun}`]: this.keyOf(row) }, this.shown.map((column, index) => {
      const classes = [column.num ? "num" : "", column.wide ? "wide" : "", column.kind ?? ""].join(" ").trim() || null;
      if (index === 0) return el("th", { role: "rowheader", scope: "row", class: classes });
      return el("td", { role: "cell", class: classes, "data-label": column.hasOwnLabel ? null : column.label });
    }));
    this.nodes.set(this.keyOf(row), node);
    return node;
  }

  /** Paper cannot be scrolled. */
  showAll() {
    this.limit = Infinity;
    this.arrange(false);
  }

  /** Make more rows, as the end of those that were made is in sight. */
  extend() {
    if (!this.isCut) return;
    this.limit += CHUNK;
    this.arrange(false);
  }
}

/** Unknown values come last in either direction. */
function compared(one, other, sign) {
  if (one === null || other === null) return ((one === null) - (other === null)) * sign;
  if (typeof one === "string") return one.localeCompare(other, "en", { numeric: true });
  return one - other;
}

/** The order of two lists of numbers, the larger first. */
function worse(one, other) {
  const index = one.findIndex((value, place) => value !== other[place]);
  return index === -1 ? 0 : other[index] - one[index];
}
