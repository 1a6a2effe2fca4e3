// Number formatting. An unknown value is shown as a dash, not as zero.
import { LANGUAGE, LOCALE, ngettext } from "./i18n.js";
const NONE = "–";
const whole = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat(LANGUAGE, { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
const minute = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" });

const known = (value) => typeof value === "number" && Number.isFinite(value);

export const count = (value) => (known(value) ? (value < 10000 ? whole : compact).format(value) : NONE);
export const percent = (value, digits = 1) => (known(value) ? `${value.toFixed(value === 100 || value === 0 ? 0 : digits)}%` : NONE);

export function rate(value) {
  if (!known(value)) return NONE;
  return value >= 100 ? count(value) : value >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(1);
}

/** A latency in seconds, as text. */
export function latency(seconds) {
  if (!known(seconds)) return NONE;
  const ms = seconds * 1000;
  if (ms === 0) return "0 ms";
  if (ms >= 10000) return `${(ms / 1000).toFixed(0)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 10 ? `${ms.toFixed(0)} ms` : ms >= 1 ? `${ms.toFixed(1)} ms` : `${ms.toFixed(2)} ms`;
}

/** A duration in seconds, as text. */
export function span(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 60) return `${seconds < 10 && !Number.isInteger(seconds) ? seconds.toFixed(1) : seconds.toFixed(0)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return gettext("%s days", whole.format(seconds / 86400));
}

export function money(value) {
  if (!known(value)) return NONE;
  return `$${value === 0 || value >= 1000 ? whole.format(value) : value.toFixed(value < 1 ? 4 : 2)}`;
}

export const time = (at) => clock.format(new Date(at * 1000));

/** An axis label for a time, on an axis of length `seconds`. */
export const tick = (at, seconds) => (seconds > 172800 ? day : minute).format(new Date(at * 1000));

export const plural = (number, one, many = `${one}s`) => `${whole.format(number)} ${ngettext(one, many, number)}`;
