// An incident: what is wrong, since when, why, for whom, recent changes, what callers receive, and what to do.
import { api, closed, confirmDisable, confirmForceOpen, openDialog, perform, reasonField, toast } from "./actions.js";
import { el, find, setText, setTone } from "./dom.js";
import { diff, failureTable, list, share } from "./evidence.js";
import { controlNamed, nameOf, whileBusy } from "./focus.js";
import { count, isolated, latency, moment, percent, plural, span } from "./format.js";
import { getJson, pageOf, stateDetail } from "./page.js";
import { hasSelection } from "./selection.js";
import { sentence } from "./sentences.js";
import { gettext } from "./i18n.js";

const RELOAD = 5000; // milliseconds
const TIMEOUT = 10000;
const MINUTE = 60; // seconds
const PHASES = { active: gettext("Ongoing"), recovering: gettext("Recovering"), recovered: gettext("Recovered") };
const TARGETS = document.body.dataset.targets;
const PROPOSALS = document.body.dataset.proposals; // only where changes need approval
const may = (right) => document.body.hasAttribute(`data-${right}`);

const tone = ({ phase, is_bad }) => (phase === "recovered" ? "good" : is_bad && phase === "active" ? "bad" : "warn");

/** That a change has become a proposal, with a link to it for whoever approves it. */
const waiting = (proposal) => [gettext("Nothing has changed yet: it waits for approval as "), el("a", { href: `${PROPOSALS}${proposal}/change/` }, gettext("proposal %s", proposal)), "."];

export const headline = ({ signals }) => sentence(signals[0].text);

/** Since when it lasts, or how long it did and when it ended. `now` in Unix seconds. */
function duration({ since, ended }, now) {
  if (since === null) return ended === null ? "" : gettext("ended %s ago", span(Math.round(now - ended)));
  const length = span(Math.max(0, Math.round((ended ?? now) - since)));
  return ended === null ? gettext("since %s, for %s", moment(since), length) : gettext("from %s to %s, %s", moment(since), moment(ended), length);
}

export class IncidentCard {
  /** `isOwnPage`: the page of the service, which has other controls of its circuit and says its name. */
  constructor(service, { isOpen, isOwnPage = false }) {
    Object.assign(this, { service, isOwnPage, isOpen: isOpen && service !== "" });
    this.rendered = "";
    this.detail = null;
    this.build();
    if (this.isOpen) this.load();
    this.timer = setInterval(() => this.isOpen && !document.hidden && this.load(), RELOAD);
  }

  build() {
    const id = `incident-${this.service || "quotas"}`;
    const name = this.service === "" ? gettext("Quotas") : this.isOwnPage ? gettext("Incident") : el("a", { href: pageOf(this.service) }, this.service);
    this.body = el("div", { class: "incident-body", id: `${id}-body`, hidden: !this.isOpen });
    this.toggle = el("button", { type: "button", class: "small bare", "aria-expanded": String(this.isOpen), "aria-controls": this.body.id, onclick: () => this.flip() }, gettext("Details"));
    this.others = el("ul", { class: "signals" });
    this.node = el("article", { class: "card incident", "aria-labelledby": id },
      el("header", { class: "incident-head" },
        el("span", { class: "pill" }),
        el("h2", { id }, name, el("span", { class: "what" })),
        el("span", { class: "when quiet" }),
        this.service === "" ? null : this.toggle),
      this.others, this.body);
  }

  flip() {
    this.isOpen = !this.isOpen;
    this.body.hidden = !this.isOpen;
    this.toggle.setAttribute("aria-expanded", this.isOpen);
    if (this.isOpen) this.load();
  }

  /** `row` is the service's, if it has one. */
  update(incident, row, now) {
    const isNew = this.phase !== incident.phase || this.what !== headline(incident);
    Object.assign(this, { phase: incident.phase, what: headline(incident), row });
    const pill = find(".pill", this.node);
    setText(pill, PHASES[incident.phase]);
    setTone(pill, tone(incident));
    setTone(this.node, tone(incident));
    setText(find(".what", this.node), `: ${this.what}`);
    setText(find(".when", this.node), duration(incident, now));
    const others = incident.signals.slice(1).map(({ text, ended }) => (ended === null ? sentence(text) : gettext("%s (over)", sentence(text))));
    if (JSON.stringify(others) !== this.shownOthers) this.others.replaceChildren(...others.map((text) => el("li", {}, text)));
    this.shownOthers = JSON.stringify(others);
    this.others.hidden = others.length === 0;
    setText(find(".state-now", this.body), row && row.circuit.state !== "CLOSED" ? stateDetail(row.circuit) : "");
    if (isNew && this.isOpen) this.load();
  }

  async load() {
    const detail = await getJson(`${pageOf(this.service)}incident.json`, AbortSignal.timeout(TIMEOUT)).catch(() => null);
    if (!detail) {
      if (!this.detail) this.body.replaceChildren(quiet(gettext("The details cannot be read. They are asked for again.")));
      return;
    }
    const { now, ...rest } = detail;
    const state = this.row?.circuit.state;
    const text = JSON.stringify([rest, state]);
    if (text === this.rendered || hasSelection(this.body)) return;
    this.rendered = text;
    this.detail = detail;
    this.keepingFocus(() => this.render(detail, state));
  }

  /** Render again, with the keyboard's focus and the list of failures as they were. */
  keepingFocus(render) {
    const focused = this.body.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    const isListOpen = find(".failures", this.body)?.open ?? false;
    const scrolled = this.regions().map((region) => [nameOf(region), region.scrollTop, region.scrollLeft]);
    render();
    const failures = find(".failures", this.body);
    if (failures) failures.open = isListOpen;
    for (const [name, scrollTop, scrollLeft] of scrolled) Object.assign(this.regions().find((region) => nameOf(region) === name) ?? {}, { scrollTop, scrollLeft });
    if (focused === null) return;
    (controlNamed(focused, this.body) ?? find(".failures[open] .failure-list", this.body) ?? this.toggle).focus({ preventScroll: true });
  }

  /** What is scrolled by itself. */
  regions() {
    return [...this.body.querySelectorAll("[role=region]")];
  }

  render(detail, state) {
    const { evidence } = detail;
    this.suspect = suspected(detail);
    const result = find(".outcome", this.body)?.textContent ?? "";
    this.body.replaceChildren(
      el("dl", { class: "incident-facts" },
        fact(gettext("Why"), ...why(evidence)),
        fact(gettext("Who is hit"), ...who(detail)),
        fact(gettext("Callers receive"), ...receive(detail), el("p", { class: "quiet state-now" })),
        fact(gettext("Recent changes"), ...changed(detail, this.suspect))),
      this.actions(state),
      el("p", { class: "outcome", role: "status" }, result),
      ...[failureTable(detail.failures)].filter(Boolean));
  }

  actions(state) {
    const button = (label, onclick, kind = "") => el("button", { type: "button", class: kind, "data-do": "act", onclick }, label);
    const buttons = [
      may("configure") && this.suspect && this.phase !== "recovered" ? button(gettext("Roll back…"), () => this.confirmRollback(), "primary") : null,
      button(gettext("Probe targets"), (event) => whileBusy(event.target, () => this.probe())),
      may("configure") ? el("a", { class: "button", href: `${TARGETS}?${new URLSearchParams({ q: this.service })}` }, gettext("Mark targets down…")) : null,
      this.isOwnPage ? null : button(gettext("Force open…"), () => confirmForceOpen(this.service)),
      button(gettext("Disable circuit…"), () => confirmDisable(this.service)),
      this.isOwnPage || state === "CLOSED" ? null : button(gettext("Reset %s", this.service), (event) => perform(event.target, () => api.reset(this.service), closed(this.service))),
    ];
    return el("div", { class: "actions" }, buttons);
  }

  async probe() {
    const outcome = find(".outcome", this.body);
    setText(outcome, gettext("Calling…"));
    try {
      const { targets } = await api.probe(this.service);
      const worst = Math.max(0, ...targets.map(({ status }) => status ?? 599));
      setTone(outcome, worst >= 500 ? "bad" : worst >= 400 ? "" : "good");
      setText(outcome, targets.map(probed).join("; ") || gettext("Every target is disabled."));
    } catch (error) {
      setTone(outcome, "bad");
      setText(outcome, error.message);
    }
  }

  confirmRollback() {
    const { undo, later, actor, at, text, lines } = this.suspect;
    const { revision } = this.detail;
    const undone = later
      ? gettext("Undoes “%s” by %s at %s, and %s.", text, actor, moment(at), plural(later, "later change", "later changes"))
      : gettext("Undoes “%s” by %s at %s.", text, actor, moment(at));
    openDialog({
      title: gettext("Roll the configuration back"),
      text: `${undone} ${PROPOSALS ? gettext("It takes effect once another person has approved it.") : gettext("It takes effect in every worker within a second.")}`,
      fields: [...(lines.length ? [diff(lines, gettext("What is undone"))] : []), reasonField(gettext("the new target is down"))],
      verb: PROPOSALS ? gettext("Propose to roll back") : gettext("Roll back"),
      danger: true,
      submit: async (form) => {
        const { proposal, services } = await api.restore(undo, revision, form.reason.value.trim());
        toast(proposal ? waiting(proposal) : gettext("Rolled back. Changed: %s.", services.join(", ") || gettext("nothing")));
        this.load();
        return true;
      },
    });
  }

  remove() {
    clearInterval(this.timer);
    const hasFocus = this.node.contains(document.activeElement);
    this.node.remove();
    if (hasFocus) find("#content").focus({ preventScroll: true });
  }
}

/** The last change of the service's configuration before the incident that can be undone. */
function suspected({ changes, incident: { since, signals } }) {
  const precision = signals[0].kind === "circuit" ? 2 : MINUTE; // traffic is counted by minute
  return changes.find(({ at, undo, names_service }) => undo && names_service && (since === null || at <= since + precision)) ?? null;
}

const fact = (name, ...content) => el("div", {}, el("dt", {}, name), el("dd", {}, content));

const inWords = (counted) => share({ ...counted, name: sentence(counted.name) });

const quiet = (text) => el("p", { class: "quiet" }, text);

function why({ causes }) {
  if (!causes.length) return [quiet(gettext("No failed call was counted."))];
  const [first, ...rest] = causes;
  return [el("p", { class: "cause" }, sentence(first.name)), quiet(gettext("%s of the failures", percent(first.share * 100, 0))), list(rest.map(inWords))];
}

function who({ evidence, names, traffic_share: part }) {
  const { failed, requests, callers, top_callers: top } = evidence;
  if (!requests) return [quiet(gettext("No requests since."))];
  const rows = top.map((caller) => share({ ...caller, name: names[caller.name] ? `${isolated(names[caller.name])} (${caller.name})` : caller.name }));
  return [
    el("p", {}, el("strong", {}, percent((failed / requests) * 100, 0)), gettext(" of %s, %s of all traffic", plural(requests, "request", "requests"), percent(part * 100, 0))),
    list(rows),
    callers > top.length ? quiet(gettext("and %s", plural(callers - top.length, "other caller", "other callers"))) : null,
  ];
}

function receive({ evidence, meanwhile }) {
  const { answers } = evidence;
  return [answers.length ? list(answers.map(inWords)) : el("p", {}, gettext("What the service responds.")), quiet(gettext("When calls fail: %s.", sentence(meanwhile)))];
}

function changed({ changes, incident }, suspect) {
  if (!changes.length) return [quiet(gettext("Nothing in the hour before."))];
  return [el("ol", { class: "changes" }, changes.map((each) => el("li", each === suspect ? { class: "suspect" } : {},
    el("p", {}, el("strong", {}, isolated(each.text)), gettext(" by %s", each.actor)),
    quiet(relative(each.at, incident.since)),
    each.lines.length && each === suspect ? diff(each.lines, each.text) : null)))];
}

/** When a change was, beside the beginning of the incident, of which only the minute is known if counts have shown it. */
function relative(at, since) {
  if (since === null) return moment(at);
  if (since % MINUTE === 0 && at >= since && at < since + MINUTE) return gettext("%s, in the minute in which it began", moment(at));
  const distance = Math.round(Math.abs(since - at));
  return gettext("%s, %s %s it began", moment(at), span(distance), at <= since ? gettext("before") : gettext("after"));
}

const probed = ({ target, path, status, milliseconds, reason }) =>
  `${target.replace(/^https?:\/\//, "")}${path}: ${status === null ? sentence(reason) : gettext("%s after %s", status, latency(milliseconds / 1000))}`;

/** The cards of several incidents, in their order. Cards that are shown already are kept. */
export class Incidents {
  constructor(container, options = {}) {
    Object.assign(this, { container, options });
    this.cards = new Map();
  }

  show(incidents, rows, now, more = 0) {
    incidents.forEach((incident, index) => {
      if (!this.cards.has(incident.service)) {
        const isOpen = this.options.isOwnPage || (index === 0 && ![...this.cards.values()].some((card) => card.isOpen));
        this.cards.set(incident.service, new IncidentCard(incident.service, { ...this.options, isOpen }));
      }
      const card = this.cards.get(incident.service);
      if (this.container.children[index] !== card.node) this.container.insertBefore(card.node, this.container.children[index] ?? null);
      card.update(incident, rows.find(({ name }) => name === incident.service), now);
    });
    const services = new Set(incidents.map(({ service }) => service));
    for (const [service, card] of this.cards) {
      if (services.has(service)) continue;
      card.remove();
      this.cards.delete(service);
    }
    this.more ??= el("p", { class: "quiet" });
    setText(this.more, more ? gettext("and %s more", count(more)) : "");
    if (this.container.lastChild !== this.more) this.container.append(this.more);
    this.container.hidden = incidents.length === 0;
  }
}
