// Calls a service with the person's own key, from this browser. The answer is shown as text, whatever it is.
import { el, find, setText, setTone } from "../dashboard/dom.js";
import { whileBusy } from "../dashboard/focus.js";
import { gettext } from "../dashboard/i18n.js";

const MAX_SHOWN = 200_000;
const TIMEOUT_MS = 60_000;
const NEW_KEY_MS = 5_000;
/** Types of bodies that are shown. */
const TEXT = /^(text\/|application\/([\w.+-]*\+)?(json|xml|javascript|x-ndjson|yaml|graphql|problem))/i;

const form = find("[data-try]");
const answer = find("[data-answer]");
const sendButton = find('button[type="submit"]', form);
const field = (name) => find(`[data-field="${name}"]`, form);
const opened = Date.now();
let running = null;

/** The address of the call, which must stay within the service. */
function target(path) {
  const prefix = form.dataset.prefix;
  const url = new URL(prefix + (path.startsWith("/") ? path : `/${path}`), location.origin);
  if (url.origin !== location.origin || !url.pathname.startsWith(`${prefix}/`)) throw new Error(gettext("The path leaves the service."));
  url.hash = "";
  return url;
}

function requestHeaders() {
  const headers = new Headers();
  for (const line of field("headers").value.split("\n").filter((text) => text.trim())) {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(gettext("“%s” is not a header field: write Name: value.", line));
    try {
      headers.append(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
    } catch {
      throw new Error(gettext("“%s” is not a valid header field.", line));
    }
  }
  // The browser's own cache stays out of it, without telling the gateway's to.
  if (!headers.has("Cache-Control")) headers.set("Cache-Control", "no-transform");
  if (!headers.has("Pragma")) headers.set("Pragma", "gateway");
  const key = field("key").value.trim();
  try {
    if (key) headers.set("X-API-Key", key);
  } catch {
    throw new Error(gettext("The API key has characters that no key has."));
  }
  return headers;
}

async function call(signal) {
  const method = field("method").value;
  const body = field("body").value;
  const headers = requestHeaders();
  const withBody = body && method !== "GET" && method !== "HEAD";
  if (withBody && !headers.has("Content-Type")) headers.set("Content-Type", "application/json");
  const options = {
    method, headers, signal, body: withBody ? body : undefined,
    mode: "same-origin", credentials: "omit", cache: "no-store", redirect: "follow", referrerPolicy: "no-referrer",
  };
  for (;;) {
    const response = await fetch(target(field("path").value.trim()), options);
    // Another worker may not have the key yet: it takes up to a second.
    const isTooNew = response.status === 401 && "newKey" in form.dataset && Date.now() - opened < NEW_KEY_MS;
    if (!isTooNew) return response;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

/** JSON with line breaks, and otherwise as it came: to parse it would round its numbers. */
function indented(text) {
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  return text.replace(/"(?:[^"\\]|\\.)*"|[[{]\s*[\]}]|[[\]{},:]|\s+/g, (token) => {
    if (token[0] === '"') return token;
    if (/^\s/.test(token)) return "";
    if (token.length > 1) return token[0] + token.at(-1);
    if (token === ":") return ": ";
    if (token === ",") return `,${line()}`;
    if (token === "[" || token === "{") { depth += 1; return token + line(); }
    depth = Math.max(0, depth - 1);
    return line() + token;
  });
}

/** The beginning of a body, as text. A stream is shown as far as it has come. */
async function read(response, show) {
  const type = response.headers.get("Content-Type") ?? "";
  if (!response.body) return;
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "", size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (TEXT.test(type) || !type) show(text += decoder.decode(value, { stream: true }));
    else show(gettext("%s bytes of %s, which is not text.", size, type));
    if (text.length > MAX_SHOWN) {
      show(`${text.slice(0, MAX_SHOWN)}\n${gettext("… the rest is not shown.")}`);
      await reader.cancel();
      return;
    }
  }
  if (/json(;|$)/i.test(type) && !/ndjson/i.test(type)) show(indented(text));
}

function showHead(response, milliseconds) {
  const headers = response.headers;
  const facts = [`${Math.round(milliseconds)} ms`];
  if (headers.get("X-Cache")) facts.push(`x-cache: ${headers.get("X-Cache")}`);
  if (headers.get("X-Request-ID")) facts.push(gettext("request id: %s", headers.get("X-Request-ID")));
  if (response.redirected) facts.push(gettext("after a redirect to %s", new URL(response.url).pathname));
  const status = find("[data-status]", answer);
  setText(status, `${response.status} ${response.statusText}`.trim());
  setTone(status, response.ok ? "good" : response.status < 500 ? "warn" : "bad");
  setText(find("[data-facts]", answer), facts.join(" · "));
  find("[data-headers]", answer).replaceChildren(...[...headers].flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function showFault(text) {
  const status = find("[data-status]", answer);
  setText(status, text);
  setTone(status, "bad");
  setText(find("[data-facts]", answer), "");
  find("[data-headers]", answer).replaceChildren();
}

/** Shows why a call has no answer, or where a body ends that has begun to arrive. */
function showEnd(error, isTimeout, hasHead, show) {
  const stopped = isTimeout ? gettext("No answer within %s seconds.", TIMEOUT_MS / 1000) : gettext("Stopped.");
  if (hasHead) show(running.signal.aborted ? stopped : gettext("The connection was cut."));
  else if (running.signal.aborted) showFault(stopped);
  else if (error instanceof TypeError) showFault(gettext("No answer: the connection failed, or the service redirects to another site."));
  else showFault(error.message);
}

async function send() {
  const stop = find("[data-stop]", form), body = find("[data-body]", answer);
  let hasHead = false, isTimeout = false, shown = "";
  running = new AbortController();
  const timer = setTimeout(() => { isTimeout = true; running.abort(); }, TIMEOUT_MS);
  stop.hidden = false;
  // What is shown until there is an answer would be taken for it.
  answer.hidden = true;
  setText(body, "");
  const began = performance.now();
  try {
    const response = await call(running.signal);
    showHead(response, performance.now() - began);
    hasHead = true;
    answer.hidden = false;
    await read(response, (text) => setText(body, shown = text));
  } catch (error) {
    showEnd(error, isTimeout, hasHead, (text) => setText(body, shown ? `${shown}\n… ${text}` : `… ${text}`));
    answer.hidden = false;
  } finally {
    clearTimeout(timer);
    if (document.activeElement === stop) sendButton.focus();
    stop.hidden = true;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(sendButton, send);
});
find("[data-stop]", form).addEventListener("click", () => running?.abort());
find("[data-show]", form).addEventListener("click", (event) => {
  const shows = field("key").type === "password";
  field("key").type = shows ? "text" : "password";
  event.currentTarget.textContent = shows ? gettext("Hide") : gettext("Show");
  event.currentTarget.setAttribute("aria-pressed", shows);
});
for (const button of document.querySelectorAll("[data-fill]")) {
  button.addEventListener("click", () => {
    field("method").value = button.dataset.method;
    field("path").value = button.dataset.path;
    field("headers").value = button.dataset.lines;
    field("body").value = button.dataset.body;
    if (button.dataset.lines || button.dataset.body) find("[data-more]", form).open = true;
    field("path").focus();
    form.scrollIntoView({ block: "nearest" });
  });
}
sendButton.disabled = false;
