// Round ticks of axes: of values, of logarithmic durations, and of times in the viewer's own time zone.
import { LOCALE } from "./i18n.js";

const clock = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" });
const both = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const zoned = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
const MINUTE = 60, HOUR = 3600, DAY = 86400; // seconds
const STEPS = [MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR];
const DAYS = [1, 2, 7, 14, 28, 91, 182, 364];

export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Values from 0 to at least `highest`, in steps of 1, 2 or 5 times a power of ten: about `number` of them. */
export function valueTicks(highest, number = 4) {
  if (!(highest > 0)) return [0, 1];
  const rough = highest / number;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const count = Math.ceil(highest / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

/** Round local times between `from` and `to` (Unix seconds), at most `number` of them, with their labels. */
export function timeTicks(from, to, number) {
  const length = to - from;
  const step = STEPS.find((size) => length / size <= number);
  const times = step ? hours(from, to, step) : days(from, to, DAYS.find((size) => length / DAY / size <= number) ?? DAYS.at(-1));
  return times.map((at) => ({ at, label: label(at, step) }));
}

/** Multiples of `step` of the local clock. Up to an hour they follow each other in steps of real time, also while an hour
    is repeated or left out as clocks change; longer ones are asked of the calendar. */
function hours(from, to, step) {
  const start = new Date(from * 1000);
  const found = [];
  if (step <= HOUR) {
    const shift = -start.getTimezoneOffset() * 60;
    for (let at = Math.ceil((from + shift) / step) * step - shift; at <= to; at += step) found.push(at);
    return found;
  }
  for (let offset = 0; ; offset += step) {
    const at = new Date(start.getFullYear(), start.getMonth(), start.getDate(), 0, 0, offset).getTime() / 1000;
    if (at > to) return found;
    if (at >= from) found.push(at);
  }
}

/** Local midnights, every `size` days; weeks begin on Mondays. */
function days(from, to, size) {
  const start = new Date(from * 1000);
  const found = [];
  const shift = size % 7 === 0 ? (start.getDay() + 6) % 7 : 0;
  for (let offset = -shift; ; offset += size) {
    const at = new Date(start.getFullYear(), start.getMonth(), start.getDate() + offset).getTime() / 1000;
    if (at > to) return found;
    if (at >= from) found.push(at);
  }
}

function label(at, step) {
  const date = new Date(at * 1000);
  const isMidnight = date.getHours() === 0 && date.getMinutes() === 0;
  return step && !isMidnight ? clock.format(date) : day.format(date);
}

const offsetAt = (at) => new Date(at * 1000).getTimezoneOffset();

/** Day and time, with the zone within three hours of a change of clocks, which repeat an hour. */
export function timeText(at) {
  const isClear = offsetAt(at - 3 * HOUR) === offsetAt(at + 3 * HOUR);
  return (isClear ? both : zoned).format(new Date(at * 1000));
}

/** When a step begins and ends, as text. */
export function stepText(at, step) {
  const end = at + step;
  const isSameDay = new Date(at * 1000).toDateString() === new Date(end * 1000).toDateString() && offsetAt(at) === offsetAt(end);
  return `${timeText(at)}–${isSameDay ? clock.format(new Date(end * 1000)) : timeText(end)}`;
}
