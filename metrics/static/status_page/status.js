// Renews the status page while it is open and in sight, so that nobody takes an old one for the present.
const INTERVAL = 60000; // milliseconds
const TIMEOUT = 10000;
const main = document.querySelector("main");

const labelOf = (details) => details.closest("section")?.querySelector("h2")?.textContent;

async function read() {
  const response = await fetch(location.href, { signal: AbortSignal.timeout(TIMEOUT) });
  if (!response.ok) throw new Error(String(response.status));
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

/** Replace what is shown; lists that were opened stay open, and the keyboard's focus stays on theirs. */
function show(page) {
  const before = [...main.querySelectorAll("details")];
  const opened = new Set(before.filter(({ open }) => open).map(labelOf));
  const focused = before.find((details) => details.contains(document.activeElement));
  main.replaceChildren(...page.querySelector("main").childNodes);
  document.title = page.title;
  for (const details of main.querySelectorAll("details")) {
    details.open = opened.has(labelOf(details));
    if (focused && labelOf(details) === labelOf(focused)) details.querySelector("summary").focus();
  }
}

async function renew() {
  try {
    show(await read());
  } catch {
    document.querySelector("#stale").hidden = false;
  }
}

let renewedAt = performance.now();

function check() {
  if (document.hidden || performance.now() - renewedAt < INTERVAL) return;
  renewedAt = performance.now();
  renew();
}

setInterval(check, 1000);
document.addEventListener("visibilitychange", check);
