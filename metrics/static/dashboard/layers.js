// What a chart draws within its axes: stacked columns, lines, and a heat map. `view` has x(time), y(value), bottom, and
// the times; the last step may be incomplete.
import { svg } from "./dom.js";

const LEVELS = 6;

/** Columns of several series on top of each other; those of an incomplete step are drawn faintly. */
export function columns(view, series) {
  const { times, step, isPartial } = view;
  const base = times.map(() => 0);
  const last = times.length - 1;
  return series.flatMap(({ kind, values }) => {
    let whole = "", partial = "";
    values.forEach((value, index) => {
      if (!value) return;
      const left = view.x(times[index]), width = Math.max(1, view.x(times[index] + step) - left - gap(view));
      const top = view.y(base[index] + value), height = view.y(base[index]) - top;
      base[index] += value;
      const shape = `M${left.toFixed(1)} ${top.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h${(-width).toFixed(1)}Z`;
      if (isPartial && index === last) partial += shape;
      else whole += shape;
    });
    return [svg("path", { class: `column-${kind}`, d: whole }), partial ? svg("path", { class: `column-${kind} partial`, d: partial }) : null];
  }).filter(Boolean);
}

const gap = (view) => (view.x(view.times[0] + view.step) - view.x(view.times[0]) > 4 ? 1 : 0);

/** A line through the middles of the steps, dashed to that of an incomplete one; a point where it has no neighbours. */
export function line(view, { kind, values, isWhole = false }) {
  const { times, step } = view;
  const x = (index) => Math.min(view.x(times[index] + step / 2), view.right);
  const isKnown = (index) => values[index] !== null && values[index] !== undefined;
  const last = times.length - 1;
  let solid = "", dashed = "";
  const dots = [];
  times.forEach((_, index) => {
    if (!isKnown(index)) return;
    const point = `${x(index).toFixed(1)} ${view.y(values[index]).toFixed(1)}`;
    const follows = index > 0 && isKnown(index - 1);
    if (view.isPartial && !isWhole && index === last && follows) dashed = `M${x(index - 1).toFixed(1)} ${view.y(values[index - 1]).toFixed(1)}L${point}`;
    else solid += `${follows ? "L" : "M"}${point}`;
    if (!follows && !isKnown(index + 1)) dots.push(svg("circle", { class: `dot-${kind}`, r: 2, cx: x(index), cy: view.y(values[index]) }));
  });
  return [svg("path", { class: `stroke-${kind}`, d: solid }), dashed ? svg("path", { class: `stroke-${kind} partial`, d: dashed }) : null, ...dots].filter(Boolean);
}

/** Cells by step and bucket, the darker the more requests: `cells` are [step, bucket, requests]. */
export function heat(view, cells) {
  const highest = Math.max(1, ...cells.map(([, , number]) => number));
  const shapes = Array(LEVELS).fill("");
  for (const [index, bucket, number] of cells) {
    const left = view.x(view.times[index]), width = Math.max(1, view.x(view.times[index] + view.step) - left);
    const top = view.y(bucket + 1), height = view.y(bucket) - top;
    const level = Math.min(LEVELS - 1, Math.floor((Math.log1p(number) / Math.log1p(highest)) * LEVELS));
    shapes[level] += `M${left.toFixed(1)} ${top.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h${(-width).toFixed(1)}Z`;
  }
  return shapes.map((d, level) => svg("path", { class: `heat heat-${level}`, d }));
}
