// SVG charts: a sparkline, a time series readable by pointer, by keyboard or as a table, and a band of circuit states.
import { el, setText, svg } from "./dom.js";
import { tick, time } from "./format.js";

const KINDS = ["a", "b", "c"];
const HEIGHT = 180;
const LEFT = 48;
const BOTTOM = 22;
const TOP = 8;

function path(values, x, y) {
  let text = "";
  let pen = "M";
  values.forEach((value, index) => {
    if (value === null || value === undefined) { pen = "M"; return; }
    text += `${pen}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  });
  return text;
}

/** Values as a filled line, without axes. */
export function sparkline(node, values) {
  const width = 132, height = 32;
  const max = Math.max(1, ...values);
  const step = width / Math.max(1, values.length - 1);
  const x = (index) => index * step;
  const y = (value) => height - 2 - (value / max) * (height - 4);
  const line = path(values, x, y);
  node.setAttribute("viewBox", `0 0 ${width} ${height}`);
  node.setAttribute("preserveAspectRatio", "none");
  node.replaceChildren(
    svg("path", { class: "fill-a", d: values.length > 1 ? `${line}L${width} ${height}L0 ${height}Z` : "" }),
    svg("path", { class: "stroke-a", d: line }),
  );
}

/** The upper end of an axis: 1, 2 or 5 times a power of ten, at least `value`. */
function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((limit) => limit >= value);
}

/** A time series. `series`: [{name, values, kind?, area?}], one value for each of `times` (Unix seconds). `max`: the
    upper end of the axis, or null to derive it from the values. */
export class Chart {
  constructor(title, format) {
    this.format = format;
    this.data = { times: [], series: [], max: null };
    this.plot = svg("svg", { class: "plot", role: "img", tabindex: "0" });
    this.readout = el("p", { class: "readout", "aria-live": "polite" });
    this.legend = el("ul", { class: "legend" });
    this.table = el("div", { class: "as-table", tabindex: "0", role: "region", "aria-label": `${title}, as a table` });
    this.title = title;
    this.selected = null;
    this.node = el("figure", { class: "card chart" },
      el("figcaption", {}, el("h3", {}, title), this.legend), this.plot, this.readout,
      el("details", { ontoggle: (event) => event.target.open && this.fillTable() },
        el("summary", {}, "As a table"), this.table));
    this.plot.addEventListener("pointermove", (event) => this.onPointerMove(event));
    this.plot.addEventListener("pointerleave", () => this.select(null));
    this.plot.addEventListener("blur", () => this.select(null));
    this.plot.addEventListener("keydown", (event) => this.onKeydown(event));
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  show(data) {
    this.data = data;
    this.legend.replaceChildren(...data.series.map((line, index) => el("li", {},
      svg("svg", { viewBox: "0 0 14 8", "aria-hidden": "true" },
        svg("path", { class: `stroke-${line.kind ?? KINDS[index]}`, d: "M1 4H13" })), line.name)));
    this.plot.setAttribute("aria-label", this.summary());
    this.draw();
    if (this.table.parentNode.open) this.fillTable();
  }

  summary() {
    const parts = this.data.series.map((line) => {
      const values = line.values.filter((value) => value !== null);
      return values.length ? `${line.name} up to ${this.format(Math.max(...values))}` : `${line.name}: no data`;
    });
    return `${this.title}: ${parts.join("; ")}. Use the arrow keys to read values.`;
  }

  draw() {
    const width = this.plot.clientWidth || 400;
    const { times, series } = this.data;
    const values = series.flatMap((line) => line.values).filter((value) => value !== null);
    const top = this.data.max ?? ceiling(Math.max(0, ...values));
    this.x = (index) => LEFT + (index / Math.max(1, times.length - 1)) * (width - LEFT - 4);
    this.y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
    this.plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const parts = [0, 0.5, 1].map((share) => svg("g", {},
      svg("line", { class: "grid", x1: LEFT, x2: width, y1: this.y(top * share), y2: this.y(top * share) }),
      svg("text", { x: LEFT - 8, y: this.y(top * share) + 4, "text-anchor": "end" }, this.format(top * share))));
    if (times.length > 1) parts.push(...this.axis(width));
    series.forEach((line, index) => parts.push(...this.line(line, line.kind ?? KINDS[index])));
    if (!values.length) {
      parts.push(svg("text", { x: LEFT + (width - LEFT) / 2, y: HEIGHT / 2 - 12, "text-anchor": "middle" }, "No data in this period"));
    }
    this.cursor = svg("g");
    this.plot.replaceChildren(...parts, this.cursor);
    this.select(this.selected);
  }

  axis(width) {
    const { times } = this.data;
    const length = times.at(-1) - times[0];
    const marks = width > 380 ? [0, 0.25, 0.5, 0.75, 1] : [0, 0.5, 1];
    return marks.map((share) => {
      const index = Math.round(share * (times.length - 1));
      const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
      return svg("text", { x: this.x(index), y: HEIGHT - 4, "text-anchor": anchor }, tick(times[index], length));
    });
  }

  line(line, kind) {
    const known = line.values.map((value, index) => (value === null ? null : index)).filter((index) => index !== null);
    const drawn = path(line.values, this.x, this.y);
    const parts = [];
    if (line.area && known.length > 1 && known.length === line.values.length) {
      parts.push(svg("path", { class: `fill-${kind}`, d: `${drawn}L${this.x(known.at(-1))} ${this.y(0)}L${this.x(known[0])} ${this.y(0)}Z` }));
    }
    parts.push(svg("path", { class: `stroke-${kind}`, d: drawn }));
    // A value without neighbours draws no line, so it gets a dot.
    known.filter((index) => (line.values[index - 1] ?? null) === null && (line.values[index + 1] ?? null) === null)
      .forEach((index) => parts.push(svg("circle", { class: `dot-${kind}`, r: 2, cx: this.x(index), cy: this.y(line.values[index]) })));
    return parts;
  }

  onPointerMove(event) {
    const box = this.plot.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - 4);
    this.select(Math.round(share * (this.data.times.length - 1)));
  }

  onKeydown(event) {
    const last = this.data.times.length - 1;
    const targets = { ArrowLeft: (this.selected ?? last + 1) - 1, ArrowRight: (this.selected ?? -1) + 1, Home: 0, End: last };
    if (event.key === "Escape") this.select(null);
    if (!(event.key in targets)) return;
    event.preventDefault();
    this.select(targets[event.key]);
  }

  select(index) {
    const { times, series } = this.data;
    if (index === null || !times.length) {
      this.selected = null;
      this.cursor?.replaceChildren();
      setText(this.readout, "");
      return;
    }
    this.selected = Math.min(times.length - 1, Math.max(0, index));
    const x = this.x(this.selected);
    const marks = series.map((line, number) => (line.values[this.selected] === null ? null
      : svg("circle", { class: `dot-${line.kind ?? KINDS[number]}`, cx: x, cy: this.y(line.values[this.selected]), r: 3.5 })));
    this.cursor.replaceChildren(svg("line", { class: "cross", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }), ...marks.filter(Boolean));
    const length = times.at(-1) - times[0];
    const when = length > 172800 ? `${tick(times[this.selected], length)} ${tick(times[this.selected], 0)}` : tick(times[this.selected], length);
    setText(this.readout, `${when} · ${series.map((line) => `${line.name} ${this.format(line.values[this.selected])}`).join(" · ")}`);
  }

  fillTable() {
    const { times, series } = this.data;
    const length = times.length > 1 ? times.at(-1) - times[0] : 0;
    const rows = times.map((at, index) => ({ at, index })).filter(({ index }) => series.some((line) => line.values[index]));
    this.table.replaceChildren(el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Time"),
        series.map((line) => el("th", { scope: "col", class: "num" }, line.name)))),
      el("tbody", {}, rows.reverse().map(({ at, index }) => el("tr", {},
        el("th", { scope: "row" }, `${tick(at, length)}${length > 172800 ? ` ${tick(at, 0)}` : ""}`),
        series.map((line) => el("td", { class: "num" }, this.format(line.values[index]))))))));
  }
}

/** A circuit's states from `from` to `to`. `transitions`: [{at, before, after}], oldest first; `state`: the current state. */
export function band(node, transitions, state, from, to) {
  const width = 1000, height = 28;
  const x = (at) => ((Math.max(from, at) - from) / (to - from)) * width;
  const within = transitions.filter((transition) => transition.at <= to);
  const edges = [{ at: from, after: within[0]?.before ?? state }, ...within];
  node.setAttribute("viewBox", `0 0 ${width} ${height}`);
  node.setAttribute("preserveAspectRatio", "none");
  node.replaceChildren(svg("rect", { class: "none", width, height }), ...edges.map((edge, index) => {
    const start = x(edge.at), end = x(edges[index + 1]?.at ?? to);
    return svg("rect", { class: edge.after, x: start, height, width: Math.max(end - start, index ? 2 : 0) },
      svg("title", {}, `${edge.after} from ${time(Math.max(edge.at, from))}`));
  }));
}
