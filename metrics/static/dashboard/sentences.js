// Sentences that the gateway has written in English before anybody looked at them, such as the causes of incidents and
// the reasons of circuits, in the page's language. `%d` is a number or a percentage, `%s` a name, or a sentence again.
import { gettext, LANGUAGE } from "./i18n.js";

const gettext_noop = (text) => text; // marks a text for the catalogue
const SENTENCES = [
  // What is wrong
  gettext_noop("%s (over %d min)"),
  gettext_noop("%d of responses are errors"),
  gettext_noop("%d of responses are 4xx"),
  gettext_noop("%d of requests are refused by a limit"),
  gettext_noop("%d of the backend's responses take more than %d s"),
  gettext_noop("%d of requests take more than %d s"),
  gettext_noop("the hit rate fell from %d to %d"),
  gettext_noop("the hit rate is %d"),
  gettext_noop("%d of the error budget of %s is used: %d of %d requests missed it"),
  gettext_noop("the error budget of %s is used %d times as fast as it lasts, over %s"),
  gettext_noop("%d availability"),
  gettext_noop("%d within %d ms"),
  gettext_noop("%d within %d s"),
  gettext_noop("the configuration cannot be loaded: every request receives 503"),
  gettext_noop("the quota %s is used up, until %s"),
  gettext_noop("the quota %s is used by %d and more, until %s"),
  gettext_noop("the quota %s is used up"),
  gettext_noop("the quota %s is used by %d and more"),
  gettext_noop("the certificate of %s ends in %d days"),
  gettext_noop("the certificate of %s has ended"),
  gettext_noop("%d of %d targets without calls: %s"),
  gettext_noop("%d of %d target without calls: %s"),
  gettext_noop("a target was without calls"),
  // Why an alert is resolved
  gettext_noop("it no longer holds"),
  gettext_noop("the alert was removed from the configuration"),
  gettext_noop("the alert was disabled"),
  gettext_noop("the alert no longer has this condition"),
  gettext_noop("the service was removed from the configuration"),
  gettext_noop("the service was disabled"),
  gettext_noop("the alert is no longer about this service"),
  gettext_noop("the service no longer has this objective"),
  gettext_noop("the alert no longer has this recipient"),
  // Circuits
  gettext_noop("the circuit is open: %s"),
  gettext_noop("the circuit is open"),
  gettext_noop("the circuit was forced open: %s"),
  gettext_noop("the circuit was forced open"),
  gettext_noop("the circuit is half open: calls are tried"),
  gettext_noop("the circuit was open: %s"),
  gettext_noop("the circuit was open"),
  gettext_noop("%d failure within %d s"),
  gettext_noop("%d failures within %d s"),
  gettext_noop("%d probes succeeded"),
  gettext_noop("a probe succeeded"),
  gettext_noop("a probe failed"),
  gettext_noop("the open time is over"),
  gettext_noop("the override expired"),
  // Causes
  gettext_noop("%d that means a failure from %s"),
  gettext_noop("%d from %s"),
  gettext_noop("connection refused by %s"),
  gettext_noop("connection reset by %s"),
  gettext_noop("no such name at %s"),
  gettext_noop("connect timeout at %s"),
  gettext_noop("read timeout at %s"),
  gettext_noop("idle timeout at %s"),
  gettext_noop("write timeout at %s"),
  gettext_noop("total timeout at %s"),
  gettext_noop("connection closed before the response at %s"),
  gettext_noop("connection closed during the response at %s"),
  // What callers receive
  gettext_noop("%s, or else %s"),
  gettext_noop("stale responses up to %d s old"),
  gettext_noop("stale responses from the cache"),
  gettext_noop("responses of %s"),
  gettext_noop("the configured fallback"),
  gettext_noop("what the service responds"),
  // Explain
  gettext_noop("the backend is called"),
  gettext_noop("unless the cache has a fresh response"),
  gettext_noop("refused by the gateway"),
  gettext_noop("refused, unless the cache has a response"),
  gettext_noop("the fallback is returned"),
  gettext_noop("the fallback service %s is called"),
  gettext_noop("the fallback service %s is not called: %s"),
  gettext_noop("the service has limited such calls, and accepts them again in %d s"),
  gettext_noop("%s: names are case-sensitive"),
  gettext_noop("%s: did you mean this?"),
  gettext_noop("the first route that matches"),
  gettext_noop("also matches, but comes after the first match"),
  gettext_noop("applies too: some servers read the path as this route's"),
  gettext_noop("matches the path, but allows only %s"),
  gettext_noop("expected %s, but the path has %s"),
  gettext_noop("the path ends before %s"),
  gettext_noop("the path continues with %s"),
  gettext_noop("the path ends with a slash"),
  gettext_noop("no credential is required"),
  gettext_noop("send an API key or a token"),
  gettext_noop("the gateway's"),
  gettext_noop("the service's"),
  gettext_noop("the route's"),
  gettext_noop("the client's address"),
  gettext_noop("caching is off in the configuration"),
  gettext_noop("every cacheable response is fresh for %d s"),
  gettext_noop("a response without an explicit lifetime is fresh for %d s"),
  gettext_noop("a response is fresh only as long as its own header fields say"),
  gettext_noop("a response is fresh only as long as its own header fields say: the request is anonymous and the scope is not shared"),
  gettext_noop("%s requests are not served from the cache"),
  gettext_noop("a request with content bypasses the cache"),
];
const PLACES = { "%d": "(\\d[\\d.,]*%?)", "%s": "(.+?)" };
const pattern = (text) => new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/%[ds]/g, (place) => PLACES[place])}$`, "su");
const KNOWN = LANGUAGE === "en" ? [] : SENTENCES.map((text) => [pattern(text), gettext(text).replaceAll("%d", "%s")]);
const plain = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 6 });
const percentage = new Intl.NumberFormat(LANGUAGE, { style: "percent", maximumFractionDigits: 6 });

function figure(text) {
  const number = Number.parseFloat(text);
  return text.endsWith("%") ? percentage.format(number / 100) : plain.format(number);
}

const inserted = (text) => (/^\d+(\.\d+)?%?$/.test(text) ? figure(text) : sentence(text));

/** A sentence in the page's language; one that is not known as it is. */
export function sentence(text) {
  for (const [form, translated] of KNOWN) {
    const found = form.exec(text);
    if (found) return gettext(translated, ...found.slice(1).map(inserted));
  }
  return text;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A sentence that may begin with a capital letter, and then does so in the page's language too. */
function shown(text) {
  const small = text.charAt(0).toLowerCase() + text.slice(1), found = sentence(small);
  return small === text ? found : found === small ? sentence(text) : capital(found);
}

/** Translate what the server has marked as sentences. */
export function translateSentences(within = document) {
  if (!KNOWN.length) return;
  for (const node of within.querySelectorAll("[data-sentence]")) node.textContent = shown(node.textContent);
}
