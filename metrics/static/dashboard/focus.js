// The keyboard's focus, which a control loses when it is disabled, made again or removed.
const FOCUSABLE = "button, summary, a[href], input, select, textarea, [tabindex]";
const DISABLED = "aria-disabled";
const busy = new WeakSet();

export const isDisabled = (button) => button.getAttribute(DISABLED) === "true";

/** Disable a button that keeps the focus, which the attribute `disabled` would take from it. Its handler asks `isDisabled`. */
export const setDisabled = (button, value) => button.setAttribute(DISABLED, String(value || busy.has(button)));

/** Do `work` with the button disabled. Does nothing, and returns undefined, while it is. */
export async function whileBusy(button, work) {
  if (isDisabled(button)) return undefined;
  busy.add(button);
  setDisabled(button, true);
  try {
    return await work();
  } finally {
    busy.delete(button);
    setDisabled(button, false);
  }
}

/** What tells a control from the others of its part of the page, also when it is made again. */
export const nameOf = (node) => node.getAttribute("aria-label") ?? node.textContent;

export const controlNamed = (name, within) => [...within.querySelectorAll(FOCUSABLE)].find((node) => nameOf(node) === name);

/** Returns a function that brings the focus back to where it is now, if nothing else has it: to the control that is in
    the place of this one if it was made again, or else to its part of the page. */
export function rememberFocus() {
  const node = document.activeElement;
  const name = nameOf(node), places = [];
  for (let part = node.closest("[id]"); part; part = part.parentElement?.closest("[id]")) places.push(part.id);
  return () => {
    if (node.isConnected || document.activeElement !== document.body) return;
    const parts = places.map((id) => document.getElementById(id)).filter(Boolean);
    const found = parts.map((part) => controlNamed(name, part)).find(Boolean) ?? parts.find((part) => part.matches(FOCUSABLE));
    found?.focus({ preventScroll: true });
  };
}
