// Number formatting. An unknown value is shown as a dash, not as zero.
import { gettext, LANGUAGE, LOCALE, ngettext } from "./i18n.js";
const NONE = "–";
const whole = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat(LANGUAGE, { notation: "compact", maximumFractionDigits: 1 });
const decimals = (digits) => ({ minimumFractionDigits: digits, maximumFractionDigits: digits });
const fixed = [0, 1, 2].map((digits) => new Intl.NumberFormat(LANGUAGE, decimals(digits)));
const percents = [0, 1].map((digits) => new Intl.NumberFormat(LANGUAGE, { style: "percent", ...decimals(digits) }));
const short = new Intl.NumberFormat(LANGUAGE, { maximumSignificantDigits: 2 });
const trimmed = new Intl.NumberFormat(LANGUAGE, { maximumSignificantDigits: 3 });
const dollars = [0, 2, 4].map((digits) => new Intl.NumberFormat(LANGUAGE, { style: "currency", currency: "USD", ...decimals(digits) }));
const manyDollars = new Intl.NumberFormat(LANGUAGE, { style: "currency", currency: "USD", notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
const minute = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" });
const withDay = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
const full = new Intl.DateTimeFormat(LOCALE, { dateStyle: "full", timeStyle: "long" });

const TURNS = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\u200f\u202a-\u202e\u2066-\u2069]/u;

/** A person's text within a sentence. In FSI and PDI, what is written from right to left leaves the rest in its order. */
export const isolated = (text) => (TURNS.test(text) ? `\u2068${text}\u2069` : text);

const known = (value) => typeof value === "number" && Number.isFinite(value);

export const count = (value) => (known(value) ? (value < 10000 ? whole : compact).format(value) : NONE);

/** A percentage, as text. What is not quite nothing or everything is not rounded to it. */
export function percent(value, digits = 1) {
  if (!known(value)) return NONE;
  if (value === 0 || value === 100) return percents[0].format(value / 100);
  const least = 10 ** -digits, format = (number) => percents[digits].format(number / 100);
  if (value > 0 && value < least / 2) return `<${format(least)}`;
  if (value < 100 && value >= 100 - least / 2) return `>${format(100 - least)}`;
  return format(value);
}

/** A rate: whole from 10 on, and of a small one as many digits as tell it from zero. */
export function rate(value) {
  if (!known(value)) return NONE;
  return value >= 9.95 || value === 0 ? count(value) : value >= 0.95 ? fixed[1].format(value) : short.format(value);
}

/** A value of an axis, which has few digits. */
export const tickValue = (value) => (value < 10000 ? trimmed : compact).format(value);

/** A latency in seconds, as text. */
export function latency(seconds) {
  if (!known(seconds)) return NONE;
  const ms = seconds * 1000;
  if (ms === 0) return "0 ms";
  if (ms >= 999.5) return `${fixed[ms >= 9950 ? 0 : 1].format(ms / 1000)} s`;
  return `${fixed[ms >= 9.95 ? 0 : ms >= 0.995 ? 1 : 2].format(ms)} ms`;
}

/** A duration in seconds, as text. */
export function span(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds > 0 && seconds < 0.95) return latency(seconds);
  if (seconds < 60) return `${seconds < 10 && !Number.isInteger(seconds) ? fixed[1].format(seconds) : Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return gettext("%s days", whole.format(seconds / 86400));
}

/** US dollars, as text. The feed has four digits of an amount. */
export function money(value) {
  if (!known(value)) return NONE;
  if (value >= 10000) return manyDollars.format(value);
  return dollars[value === 0 || value >= 1000 ? 0 : value < 1 ? 2 : 1].format(value);
}

export const time = (at) => clock.format(new Date(at * 1000));

/** A time, with the day unless that is today for the viewer. `now` in Unix seconds. */
export function moment(at, now = Date.now() / 1000) {
  const isToday = new Date(at * 1000).toDateString() === new Date(now * 1000).toDateString();
  return (isToday ? clock : withDay).format(new Date(at * 1000));
}

/** The attributes of a `time` element, with day and year in its title: what says only the time may be read tomorrow. */
export const timeAttributes = (at) => ({ datetime: new Date(at * 1000).toISOString(), title: full.format(new Date(at * 1000)) });

/** An axis label for a time, on an axis of length `seconds`. */
export const tick = (at, seconds) => (seconds > 172800 ? day : minute).format(new Date(at * 1000));

export const plural = (number, one, many = `${one}s`) => `${whole.format(number)} ${ngettext(one, many, number)}`;
