// Parts of an incident: shares with bars, differences of the configuration, and the last failed requests.
import { el, svg } from "./dom.js";
import { count, moment, percent, timeAttributes } from "./format.js";
import { sentence } from "./sentences.js";
import { gettext } from "./i18n.js";

const WIDTH = 100;

export const list = (items) => (items.length ? el("ul", { class: "shares" }, items) : null);

/** A name with its number and share, from 0 to 1. */
export function share({ name, count: number, share: part }) {
  return el("li", {},
    el("span", { class: "name" }, name),
    el("span", { class: "quiet num" }, `${count(number)} · ${percent(part * 100, 0)}`),
    svg("svg", { class: "bar-of", viewBox: `0 0 ${WIDTH} 3`, preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { height: 3, width: Math.max(1, part * WIDTH) })));
}

const KINDS = { "+": "added", "-": "removed", "@": "place" };

/** The lines of a unified diff. */
export const diff = (lines, label) => el("pre", { class: "diff", tabindex: "0", role: "region", "aria-label": label },
  lines.map((line) => el("span", { class: KINDS[line[0]] ?? null }, `${line}\n`)));

export function failureTable(failures) {
  if (!failures.length) return null;
  const names = [gettext("Time"), gettext("Request"), gettext("Status"), gettext("Cause"), gettext("Caller"), gettext("Request id")];
  return el("details", { class: "failures" },
    el("summary", {}, gettext("Last failures (%s)", failures.length)),
    el("div", { class: "scroll failure-list", tabindex: "0", role: "region", "aria-label": gettext("Last failures") }, el("table", {},
      el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, failures.map((failure) => el("tr", {},
        el("td", { class: "quiet" }, el("time", timeAttributes(failure.at), moment(failure.at))),
        el("td", {}, el("code", {}, `${failure.method} ${failure.path}`)),
        el("td", {}, String(failure.status)),
        el("td", {}, sentence(failure.cause || failure.code || failure.aborted)),
        el("td", {}, failure.caller || gettext("anonymous")),
        el("td", {}, el("a", { href: `${document.body.dataset.dashboard}requests/${encodeURIComponent(failure.request_id)}/` }, el("code", {}, failure.request_id)))))))));
}
