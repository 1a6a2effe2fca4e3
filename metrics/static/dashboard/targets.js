// A service's targets: their addresses, and what keeps them from their share of calls.
import { el } from "./dom.js";
import { plural } from "./format.js";
import { gettext } from "./i18n.js";

const CONDITIONS = {
  up: [gettext("Up"), "good"],
  slow_start: [gettext("Slow start"), "warn"],
  ejected: [gettext("Ejected"), "bad"],
  down: [gettext("Down"), "bad"],
  disabled: [gettext("Disabled"), ""],
};
const WITHOUT_CALLS = new Set(["ejected", "down"]);
const SHOWN = 3;

const address = ({ url }) => url.replace(/^https?:\/\//, "");

const pill = (text, tone) => el("span", { class: "pill slim", "data-tone": tone || null }, text);

/** How a target is: its condition, and what of its configuration matters for it. */
export function conditionPills(target) {
  const [text, tone] = CONDITIONS[target.condition];
  return [
    pill(target.workers ? gettext("%s in %s workers", text, target.workers) : text, tone),
    target.canary ? pill(gettext("Canary %s%%", target.canary), "info") : null,
    target.always_up ? pill(gettext("Kept up"), "info") : null,
  ];
}

export const isUnwell = (target) => WITHOUT_CALLS.has(target.condition);

/** How many targets of a service receive no calls although they are enabled. */
export const unwellCount = ({ targets }) => targets.filter(isUnwell).length;

/** The first targets, those without calls before the others; only what is not ordinary is said of each. */
export function targetList(targets) {
  const ordered = [...targets].sort((one, other) => isUnwell(other) - isUnwell(one));
  const rest = ordered.length - SHOWN;
  return [
    ...ordered.slice(0, SHOWN).map((target) => {
      const pills = conditionPills(target);
      return el("span", { class: "target" }, el("span", { class: "address", title: target.url }, address(target)), ...(target.condition === "up" ? pills.slice(1) : pills).filter(Boolean));
    }),
    rest > 0 ? el("span", { class: "sub" }, gettext("and %s", plural(rest, "other", "others"))) : null,
  ].filter(Boolean);
}

/** A text that changes whenever what is shown of the targets does. */
export const signature = (targets) => JSON.stringify(targets);
