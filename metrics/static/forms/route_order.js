// The order of a service's routes: rows of the list are dragged by their handle, or moved with the arrow keys.
import { setText } from "../dashboard/dom.js";
import { gettext } from "../dashboard/i18n.js";

const PAUSE = 500; // milliseconds after the last key until the new place is saved
const EDGE = 64; // pixels from the window's upper and lower edge within which dragging scrolls
const STEP = 12;
const LONG = 150; // rows from which those out of sight are not laid out

const rows = () => [...document.querySelectorAll("#result_list > tbody")].filter((row) => handleOf(row));
const handleOf = (row) => row?.querySelector("[data-move]");
const rowOf = (handle) => handle.closest("tbody");

let announcer = null;
let pending = null; // {handle, timer, origin}: a move by keys that is not saved yet

function announce(text, isError = false) {
  announcer.textContent = text;
  announcer.classList.toggle("is-error", isError);
}

function renumber(first) {
  rows().forEach((row, index) => setText(row.querySelector("[data-position]"), String(first + index)));
}

const firstNumber = () => Math.min(...rows().map((row) => Number(row.querySelector("[data-position]").textContent)));

function place(row, before) {
  row.parentNode.insertBefore(row, before);
}

// The same by moving the others: a browser ends the drag of an element that is taken out of the page.
function dragTo(row, before) {
  const siblings = [...row.parentNode.children];
  const end = before ? siblings.indexOf(before) : siblings.length;
  const start = siblings.indexOf(row);
  if (end <= start) for (const each of siblings.slice(end, start).reverse()) row.after(each);
  else for (const each of siblings.slice(start + 1, end)) row.before(each);
}

async function save(handle, origin) {
  const row = rowOf(handle);
  const all = rows();
  const index = all.indexOf(row);
  if ((all[index + 1] ?? null) === origin || all.length < 2) return;
  const body = new FormData();
  body.set("csrfmiddlewaretoken", document.querySelector("#changelist-form [name=csrfmiddlewaretoken]").value);
  const [side, neighbour] = index ? ["after", all[index - 1]] : ["before", all[1]];
  body.set(side, handleOf(neighbour).dataset.route);
  const response = await fetch(handle.dataset.move, { method: "POST", body, keepalive: true }).catch(() => null);
  const answer = response ? await response.json().catch(() => ({})) : {};
  if (response?.ok && answer.position) {
    renumber(answer.position - index);
    announce(gettext("Moved to position %s.", answer.position));
  } else if (response?.ok && answer.location) {
    window.location.assign(answer.location);
  } else {
    place(row, origin);
    announce(answer.error || gettext("The route was not moved: the gateway cannot be reached, or refused it."), true);
  }
}

function onKeydown(event) {
  if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
  event.preventDefault();
  const handle = event.currentTarget;
  const all = rows();
  const index = all.indexOf(rowOf(handle));
  const other = all[index + (event.key === "ArrowUp" ? -1 : 1)];
  if (!other) return;
  if (pending && pending.handle !== handle) flush();
  if (pending) clearTimeout(pending.timer);
  else pending = { handle, origin: all[index + 1] ?? null };
  const first = firstNumber();
  place(rowOf(handle), event.key === "ArrowUp" ? other : other.nextElementSibling);
  handle.focus();
  renumber(first);
  announce(gettext("Position %s", handle.querySelector("[data-position]").textContent));
  pending.timer = setTimeout(flush, PAUSE);
}

function flush() {
  const { handle, origin, timer } = pending;
  clearTimeout(timer);
  pending = null;
  save(handle, origin);
}

function onPointerDown(event) {
  if (event.button !== 0) return;
  const handle = event.currentTarget;
  const row = rowOf(handle);
  const all = rows();
  const origin = all[all.indexOf(row) + 1] ?? null;
  const first = firstNumber();
  handle.setPointerCapture(event.pointerId);
  row.classList.add("is-dragged");

  const onMove = ({ clientY }) => {
    if (clientY < EDGE) window.scrollBy(0, -STEP);
    else if (clientY > window.innerHeight - EDGE) window.scrollBy(0, STEP);
    const over = rows().find((each) => {
      const box = each.getBoundingClientRect();
      return each !== row && clientY > box.top && clientY < box.bottom;
    });
    if (!over) return;
    const box = over.getBoundingClientRect();
    dragTo(row, clientY < box.top + box.height / 2 ? over : over.nextElementSibling);
    renumber(first);
  };
  const onEnd = () => {
    row.classList.remove("is-dragged");
    handle.removeEventListener("pointermove", onMove);
    save(handle, origin);
  };
  handle.addEventListener("pointermove", onMove);
  handle.addEventListener("lostpointercapture", onEnd, { once: true });
}

/** Each move takes the layout of a whole table, which takes seconds for 1,000 rows. The styles of a long list make a
    grid of each row: the roles are those of the table. */
function lightenLongList() {
  const table = document.getElementById("result_list");
  if (rows().length < LONG) return;
  const roles = { thead: "rowgroup", tbody: "rowgroup", tr: "row", "thead th": "columnheader", "tbody th": "rowheader", "tbody td": "cell", "thead td": "cell" };
  for (const [selector, role] of Object.entries(roles)) table.querySelectorAll(selector).forEach((each) => each.setAttribute("role", role));
  table.setAttribute("role", "table");
  table.classList.add("is-long");
}

announcer = document.getElementById("route-order-status");
if (announcer) {
  lightenLongList();
  for (const row of rows()) {
    handleOf(row).addEventListener("keydown", onKeydown);
    handleOf(row).addEventListener("pointerdown", onPointerDown);
  }
  window.addEventListener("pagehide", () => pending && flush());
}
