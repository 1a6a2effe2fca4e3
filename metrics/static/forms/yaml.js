// The tabs of a form of settings: its fields, or the same as YAML, with line numbers and faults beside the lines.
import { el } from "../dashboard/dom.js";
import { gettext, ngettext } from "../dashboard/i18n.js";

const PAUSE = 400; // milliseconds after the last key until the text is checked

function tabs(form) {
  const bar = form.querySelector("[data-syntax-tabs]");
  return bar ? [...bar.querySelectorAll("button")] : [];
}

export function startYaml(form) {
  const area = form.querySelector("textarea[data-yaml]");
  const syntax = form.querySelector("[name=syntax]");
  const yamlPart = area?.closest("fieldset");
  const buttons = tabs(form);
  if (!area || !syntax || !yamlPart || buttons.length !== 2) return;
  const parts = [...form.querySelectorAll("fieldset.module")].filter((each) => !each.closest(".inline-related"));
  const kept = area.dataset.identity.split(" "); // fields that are no settings: they hold with YAML too
  const fieldParts = parts.filter((each) => each !== yamlPart);
  const bar = form.querySelector("[data-syntax-tabs]");
  const note = bar.querySelector("[data-note]");

  function disableFields(areDisabled) {
    for (const part of fieldParts) {
      for (const each of part.querySelectorAll("input, select, textarea, button")) {
        if (!kept.includes(each.name)) each.disabled = areDisabled;
      }
    }
  }

  function show(tab) {
    buttons.forEach((button) => {
      const isShown = button.dataset.tab === tab;
      button.setAttribute("aria-selected", String(isShown));
      button.tabIndex = isShown ? 0 : -1;
    });
    yamlPart.hidden = tab !== "yaml";
    fieldParts.forEach((part, index) => {
      part.hidden = tab === "yaml" && !(index === 0 && !isChange());
    });
    if (tab === "yaml") area.focus({ preventScroll: true });
  }

  const isChange = () => !window.location.pathname.endsWith("/add/");

  function edited() {
    if (syntax.value !== "yaml") {
      syntax.value = "yaml";
      disableFields(true);
      note.textContent = gettext("The YAML has changes. They are saved, and not the fields, until you discard them.");
      discard.hidden = false;
    }
  }

  const discard = el("button", { type: "button", class: "setting-button", hidden: true }, gettext("Discard the YAML"));
  note.after(discard);
  discard.addEventListener("click", () => window.location.assign(window.location.pathname));

  async function ask(body) {
    const address = new URL("../check/", window.location.href);
    const response = await fetch(address, { method: "POST", body }).catch(() => null);
    return response?.ok ? response.json().catch(() => null) : null;
  }

  async function fromFields() {
    if (syntax.value === "yaml") return;
    const body = new FormData(form);
    body.set("show", "1");
    const answer = await ask(body);
    if (answer?.text !== undefined && syntax.value !== "yaml") {
      area.value = answer.text;
      editor.draw([]);
    }
    if (syntax.value !== "yaml") note.textContent = answer?.error ?? "";
  }

  const editor = startEditor(area, edited, async () => {
    const body = new FormData();
    for (const each of ["csrfmiddlewaretoken", ...kept].map((name) => form.elements.namedItem(name))) {
      if (each) body.set(each.name, each.value);
    }
    body.set("syntax", "yaml");
    body.set("yaml_text", area.value);
    return (await ask(body))?.faults ?? null;
  });

  buttons.forEach((button, index) => {
    button.addEventListener("click", () => {
      if (button.dataset.tab === "yaml") fromFields();
      show(button.dataset.tab);
    });
    button.addEventListener("keydown", ({ key }) => {
      if (key !== "ArrowLeft" && key !== "ArrowRight") return;
      const other = buttons[1 - index];
      other.click();
      other.focus();
    });
  });
  bar.hidden = false;
  if (syntax.value === "yaml") {
    syntax.value = "";
    edited();
    show("yaml");
    editor.check();
  } else show("fields");
}

function startEditor(area, onEdit, faultsOf) {
  const gutter = el("div", { class: "yaml-gutter", "aria-hidden": "true" });
  const faults = el("ol", { class: "yaml-faults", "aria-label": gettext("Faults") });
  const status = el("p", { class: "yaml-status", role: "status" });
  const frame = el("div", { class: "yaml-editor" });
  area.replaceWith(frame);
  frame.append(gutter, area);
  frame.after(status, faults);
  let timer = null;
  let shown = [];

  function goTo(line) {
    const lines = area.value.split("\n");
    const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    area.focus();
    area.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
    area.scrollTop = (line - 3) * parseFloat(getComputedStyle(area).lineHeight);
  }

  function draw(found) {
    shown = found;
    const byLine = Map.groupBy(found, ({ line }) => line);
    const numbers = area.value.split("\n").map((_, index) => {
      const here = byLine.get(index + 1);
      const text = here ? `▸ ${index + 1}` : String(index + 1);
      return el("div", here ? { class: "is-faulty", title: here.map(({ message }) => message).join("\n") } : {}, text);
    });
    gutter.replaceChildren(...numbers);
    gutter.scrollTop = area.scrollTop;
    faults.replaceChildren(
      ...found.map(({ line, message }) => {
        const link = el("button", { type: "button" }, gettext("Line %s", line));
        link.addEventListener("click", () => goTo(line));
        return el("li", {}, link, el("span", {}, message));
      }),
    );
    area.setAttribute("aria-invalid", String(found.length > 0));
  }

  async function check() {
    const text = area.value;
    const found = await faultsOf();
    if (area.value !== text) return;
    if (found === null) {
      status.textContent = gettext("The text was not checked: the gateway cannot be reached, or refused it.");
      return;
    }
    draw(found);
    const number = `${found.length} ${ngettext("fault", "faults", found.length)}.`;
    status.textContent = found.length ? number : gettext("No faults.");
  }

  area.addEventListener("input", () => {
    onEdit();
    draw(shown);
    clearTimeout(timer);
    timer = setTimeout(check, PAUSE);
  });
  area.addEventListener("scroll", () => {
    gutter.scrollTop = area.scrollTop;
  });
  draw([]);
  return { draw, check };
}
