// A chart over time: axes with round ticks, markers, a crosshair shared with other charts, a zoom by dragging or by
// keyboard, and the same as a table.
import { el, setText, svg } from "./dom.js";
import { stepText, timeTicks } from "./scale.js";
import { hasSelection } from "./selection.js";
import { gettext } from "./i18n.js";

const HEIGHT = 200, LEFT = 52, RIGHT = 8, TOP = 14, BOTTOM = 22;
const DRAG = 6; // pixels
const LABEL = 84; // pixels for a label of the time axis
const SHAPES = { configuration: "M0-5L5 0 0 5-5 0Z", deployment: "M0-5L5 4H-5Z", circuit: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z" };

/** `format(value)`: a value with its unit. `draw(view)`: what is within the axes. `ticks(data)`: values of the axis, the
    lowest first, with `labelOf` their texts. `series(data)`: [{name, kind, values}] for the legend, the readout and the
    table. `isCount`: no value but zero is no data. `onZoom(from, to)` is called with Unix seconds. */
export class Chart {
  constructor(options) {
    Object.assign(this, { labelOf: options.format, read: null, ...options });
    this.data = null;
    this.selection = null;
    this.plot = svg("svg", { class: "plot", role: "img", tabindex: "0", "aria-label": this.title });
    this.readout = el("p", { class: "readout", "aria-live": "polite" });
    this.legend = el("ul", { class: "legend" });
    this.table = el("div", { class: "as-table", tabindex: "0", role: "region", "aria-label": gettext("%s, as a table", this.title) });
    this.file = el("a", { class: "file", download: "" }, "CSV");
    this.details = el("details", { ontoggle: () => this.details.open && this.fillTable() }, el("summary", {}, gettext("As a table")), this.table);
    this.node = el("figure", { class: "card chart" },
      el("figcaption", {}, el("h3", {}, this.title, el("span", { class: "unit" }, this.unit)), this.legend),
      this.plot, this.readout, el("div", { class: "chart-foot" }, this.details, this.file));
    this.crosshair.listen(() => this.point());
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  listen() {
    const { plot } = this;
    plot.addEventListener("pointerdown", (event) => this.onDown(event));
    plot.addEventListener("pointermove", (event) => this.onMove(event));
    plot.addEventListener("pointerup", (event) => this.onUp(event));
    plot.addEventListener("pointercancel", () => this.clear());
    plot.addEventListener("pointerleave", () => this.dragged === undefined && this.crosshair.set(null));
    plot.addEventListener("blur", () => this.clear());
    plot.addEventListener("keydown", (event) => this.onKeydown(event));
  }

  /** `data`: {times, step, from, to, now, markers, ...}; `href`: the address of its file. */
  show(data, href) {
    this.data = data;
    this.file.setAttribute("href", href);
    this.file.setAttribute("aria-label", gettext("%s as CSV", this.title));
    const legend = this.series(data).map(({ name, kind, mark = "line" }) => el("li", {},
      svg("svg", { viewBox: "0 0 14 8", "aria-hidden": "true" }, mark === "column" ? svg("rect", { class: `column-${kind}`, width: 14, height: 8, rx: 2 }) : svg("path", { class: `stroke-${kind}`, d: "M1 4H13" })), name));
    this.legend.replaceChildren(...legend);
    this.plot.setAttribute("aria-label", this.summary());
    this.draw();
    if (this.details.open && !hasSelection(this.table)) this.fillTable();
  }

  summary() {
    const parts = this.series(this.data).map(({ name, values, format = this.format }) => {
      const known = values.filter((value) => value !== null);
      return known.length ? gettext("%s up to %s", name, format(Math.max(...known))) : gettext("%s: no data", name);
    });
    return gettext("%s, %s: %s. Use the arrow keys to read values, with Shift to select a range, and Enter to zoom.", this.title, this.unit, parts.join("; "));
  }

  draw() {
    if (!this.data) return;
    const { times, step, now } = this.data;
    const width = this.plot.clientWidth || 400;
    const ticks = this.ticks(this.data);
    const from = times[0], to = times.at(-1) + step, low = ticks[0], high = ticks.at(-1);
    const right = width - RIGHT, bottom = HEIGHT - BOTTOM;
    this.view = {
      times, step, right, bottom, from, to, isPartial: to > now, data: this.data,
      x: (at) => LEFT + ((at - from) / (to - from)) * (right - LEFT),
      y: (value) => TOP + (1 - (value - low) / (high - low)) * (bottom - TOP),
    };
    this.plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.hover = svg("g");
    this.plot.replaceChildren(...this.axes(ticks), ...this.incomplete(), ...this.draws(), ...this.markers(), this.hover);
    this.point();
  }

  draws() {
    const drawn = this.layers(this.view);
    const hasValues = this.series(this.data).some(({ values }) => values.some((value) => value !== null && !(this.isCount && value === 0)));
    if (hasValues) return drawn;
    return [...drawn, svg("text", { x: (LEFT + this.view.right) / 2, y: HEIGHT / 2, "text-anchor": "middle" }, gettext("No data in this period"))];
  }

  axes(ticks) {
    const { x, y, right, from, to } = this.view;
    const lines = ticks.map((value) => svg("g", {},
      svg("line", { class: "grid", x1: LEFT, x2: right, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, this.labelOf(value))));
    const times = timeTicks(from, to, Math.max(2, Math.floor((right - LEFT) / LABEL))).filter(({ at }) => x(at) > LEFT + 14 && x(at) < right - 14);
    return [...lines, ...times.map(({ at, label }) => svg("g", {},
      svg("line", { class: "grid", x1: x(at), x2: x(at), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }),
      svg("text", { x: x(at), y: HEIGHT - 4, "text-anchor": "middle" }, label)))];
  }

  /** The rest of the last step, of which nothing can be known yet. */
  incomplete() {
    const { x, right, bottom, times, isPartial } = this.view;
    if (!isPartial) return [];
    const left = x(times.at(-1));
    return [svg("rect", { class: "so-far", x: left, y: TOP, width: Math.max(0, right - left), height: bottom - TOP }, svg("title", {}, gettext("This step is not over yet")))];
  }

  markers() {
    const { x, bottom, from, to } = this.view;
    return this.data.markers.filter(({ at }) => at >= from && at < to).map(({ at, kind, text, state }) => svg("g", { class: `marker ${kind} ${state}` },
      svg("line", { x1: x(at), x2: x(at), y1: TOP - 4, y2: bottom }),
      svg("path", { d: SHAPES[kind], transform: `translate(${x(at)} ${TOP - 6})` }),
      svg("title", {}, text)));
  }

  /** The step at a moment, or null outside of the chart. */
  stepAt(at) {
    const { times, step } = this.data;
    const index = Math.floor((at - times[0]) / step);
    return index < 0 || index >= times.length ? null : index;
  }

  timeOf(event) {
    const box = this.plot.getBoundingClientRect();
    const { from, to, right } = this.view;
    const share = (event.clientX - box.left - LEFT) / (right - LEFT);
    return from + Math.min(0.999999, Math.max(0, share)) * (to - from);
  }

  /** Show the crosshair and the values of its step. */
  point() {
    if (!this.view) return;
    const { at } = this.crosshair;
    const index = at === null ? null : this.stepAt(at);
    const selected = this.selection === null ? [] : [this.shade()];
    if (index === null) {
      this.hover.replaceChildren(...selected);
      setText(this.readout, "");
      return;
    }
    const { x, times, step, bottom } = this.view;
    const middle = Math.min(x(times[index] + step / 2), this.view.right);
    this.hover.replaceChildren(...selected, svg("line", { class: "cross", x1: middle, x2: middle, y1: TOP, y2: bottom }));
    setText(this.readout, this.textOf(index));
  }

  textOf(index) {
    const { times, step, now } = this.data;
    const values = this.read ? [this.read(this.data, index)] : this.series(this.data).map(({ name, values: each, format = this.format }) => `${name} ${format(each[index])}`);
    const end = times[index] + step > now ? gettext("so far") : null;
    return [stepText(times[index], step), ...values, end].filter(Boolean).join(" · ");
  }

  shade() {
    const [one, other] = this.selection.map(this.view.x).sort((left, right) => left - right);
    return svg("rect", { class: "selected", x: one, y: TOP, width: other - one, height: this.view.bottom - TOP });
  }

  onDown(event) {
    if (event.button !== 0 || !this.view) return;
    this.dragged = event.clientX;
    this.plot.setPointerCapture(event.pointerId);
    this.selection = null;
  }

  onMove(event) {
    if (!this.view) return;
    const at = this.timeOf(event);
    if (this.dragged !== undefined && Math.abs(event.clientX - this.dragged) > DRAG) {
      this.selection = [this.selection?.[0] ?? this.timeOf({ clientX: this.dragged }), at];
    }
    this.crosshair.set(at);
    this.point();
  }

  onUp() {
    this.dragged = undefined;
    this.zoom();
  }

  /** Zoom into whole steps of what is selected. */
  zoom() {
    if (this.selection === null) return;
    const [from, to] = this.selection.map((at) => this.data.times[this.stepAt(at) ?? 0]).sort((one, other) => one - other);
    this.clear();
    this.onZoom(from, to + this.data.step);
  }

  clear() {
    this.dragged = undefined;
    this.selection = null;
    this.crosshair.set(null);
    this.point();
  }

  onKeydown(event) {
    if (!this.view) return;
    const { times, step } = this.data;
    const last = times.length - 1;
    const index = this.crosshair.at === null ? null : this.stepAt(this.crosshair.at);
    const targets = { ArrowLeft: (index ?? last + 1) - 1, ArrowRight: (index ?? -1) + 1, Home: 0, End: last };
    if (event.key === "Escape") this.clear();
    if (event.key === "Enter") this.zoom();
    if (!(event.key in targets)) return;
    event.preventDefault();
    const at = times[Math.min(last, Math.max(0, targets[event.key]))] + step / 2;
    this.selection = event.shiftKey ? [this.selection?.[0] ?? this.crosshair.at ?? at, at] : null;
    this.crosshair.set(at);
    this.point();
  }

  fillTable() {
    const { times, step } = this.data;
    const series = this.series(this.data);
    const rows = times.map((at, index) => ({ at, index })).filter(({ index }) => series.some(({ values }) => values[index]));
    this.table.replaceChildren(el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, gettext("Time")), series.map(({ name }) => el("th", { scope: "col", class: "num" }, name)))),
      el("tbody", {}, rows.reverse().map(({ at, index }) => el("tr", {},
        el("th", { scope: "row" }, stepText(at, step)),
        series.map(({ values, format = this.format }) => el("td", { class: "num" }, format(values[index]))))))));
  }
}
