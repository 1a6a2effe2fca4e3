// The choice of a range of time: presets, one's own, a zoom, and the comparison with the week before. It is part of the
// page's address.
import { el } from "./dom.js";
import { now } from "./page.js";
import { gettext } from "./i18n.js";

const PRESETS = [["15m", gettext("15 min")], ["1h", "1 h"], ["6h", "6 h"], ["24h", "24 h"], ["7d", gettext("7 days")], ["30d", gettext("30 days")], ["90d", gettext("90 days")]];
const DEFAULT = "1h";
const QUICK = new Set(["15m", "1h", "6h", "24h"]); // that change within seconds

/** A time as an input of local times writes it. */
function local(at) {
  const date = new Date(at * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

/** The time in an input: exactly what was put there if nobody has changed it, since an hour may be repeated as clocks change. */
const secondsOf = ({ value, dataset }) => (value === dataset.text ? Number(dataset.at) : new Date(value).getTime() / 1000);

function fill(input, at) {
  input.value = local(at);
  Object.assign(input.dataset, { text: input.value, at });
}

export class RangeChoice {
  constructor(box, onChange) {
    this.onChange = onChange;
    this.read();
    this.buttons = PRESETS.map(([name, label]) => el("button", { type: "button", "data-range": name, onclick: () => this.choose({ range: name }) }, label));
    this.from = el("input", { type: "datetime-local", required: true });
    this.to = el("input", { type: "datetime-local", required: true });
    this.fault = el("p", { class: "outcome", role: "alert", "data-tone": "bad" });
    this.own = el("details", { class: "dropdown" }, el("summary", {}, gettext("Own range")),
      el("form", { class: "dropdown-list", onsubmit: (event) => this.submit(event) },
        el("label", {}, gettext("From"), this.from), el("label", {}, gettext("To"), this.to), this.fault,
        el("button", { type: "submit", class: "small primary" }, gettext("Show"))));
    this.own.addEventListener("keydown", ({ key }) => key === "Escape" && this.close());
    this.back = el("button", { type: "button", class: "small", onclick: () => this.choose({ range: this.preset }) }, gettext("Zoom out"));
    this.compare = el("input", { type: "checkbox", onchange: () => this.choose({ compare: this.compare.checked ? "week" : "" }) });
    box.append(el("div", { class: "segments", role: "group", "aria-label": gettext("Time range") }, this.buttons), this.own, this.back,
      el("label", { class: "check" }, this.compare, gettext("Compare with the week before")));
    this.draw();
  }

  read() {
    const query = new URLSearchParams(location.search);
    const known = PRESETS.map(([name]) => name);
    this.preset = known.includes(query.get("range")) ? query.get("range") : DEFAULT;
    const [from, to] = [Number(query.get("from")), Number(query.get("to"))];
    this.span = from > 0 && to > from ? { from, to } : null;
    this.week = query.get("compare") === "week";
  }

  draw() {
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(!this.span && button.dataset.range === this.preset));
    this.back.hidden = !this.span;
    this.compare.checked = this.week;
  }

  choose({ range, span, compare }) {
    if (range) Object.assign(this, { preset: range, span: null });
    if (span) this.span = span;
    if (compare !== undefined) this.week = compare === "week";
    const query = new URLSearchParams(location.search);
    for (const name of ["range", "from", "to", "compare"]) query.delete(name);
    for (const [name, value] of Object.entries(this.query())) if (name !== "range" || value !== DEFAULT) query.set(name, value);
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`);
    this.draw();
    this.onChange();
  }

  zoom(from, to) {
    this.choose({ span: { from: Math.floor(from), to: Math.ceil(to) } });
  }

  submit(event) {
    event.preventDefault();
    const span = { from: secondsOf(this.from), to: secondsOf(this.to) };
    this.fault.textContent = !(span.from < span.to) ? gettext("The beginning must be before the end.") : span.from >= now() ? gettext("The beginning must not be in the future.") : "";
    if (this.fault.textContent) return;
    this.close();
    this.choose({ span });
  }

  close() {
    this.own.open = false;
    this.own.firstChild.focus();
  }

  query() {
    const range = this.span ? { from: this.span.from, to: this.span.to } : { range: this.preset };
    return this.week ? { ...range, compare: "week" } : range;
  }

  /** Fill the form with the range that is shown, unless somebody is at it. */
  shown(from, to) {
    if (this.own.open) return;
    fill(this.from, from);
    fill(this.to, to);
  }

  /** Whether it ends now, and changes soon. */
  isLive() {
    return !this.span && QUICK.has(this.preset);
  }
}
