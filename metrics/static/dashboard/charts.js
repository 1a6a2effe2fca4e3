// Small charts without axes: a sparkline, and a band of circuit states.
import { svg } from "./dom.js";
import { moment } from "./format.js";
import { stateName } from "./page.js";
import { gettext } from "./i18n.js";

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
      svg("title", {}, gettext("%s from %s", stateName(edge.after), moment(Math.max(edge.at, from)))));
  }));
}
