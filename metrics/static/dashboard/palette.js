// The command palette: Ctrl-K or Cmd-K opens a dialog with a combobox, whose list comes from the server.
import { el, find, setText } from "./dom.js";

const DELAY = 120; // milliseconds
const TIMEOUT = 10000;
const IN_COMPOSITION = 229; // the key code of Enter that ends an input method's composition in WebKit, where isComposing is already false

/** K on this keyboard; where it has no Latin letters, the key in its place. */
const isK = ({ key, code }) => key.toLowerCase() === "k" || (code === "KeyK" && !/^[a-z]$/i.test(key));

class Palette {
  constructor(button) {
    this.button = button;
    this.address = button.dataset.palette;
    this.texts = button.dataset;
    this.options = [];
    this.index = -1;
    this.request = null;
  }

  build() {
    this.input = el("input", {
      type: "text", role: "combobox", "aria-expanded": "false", "aria-controls": "palette-list", "aria-autocomplete": "list",
      "aria-label": this.texts.label, placeholder: this.texts.placeholder, autocomplete: "off", spellcheck: "false", maxlength: 1000,
    });
    this.list = el("div", { id: "palette-list", class: "palette-list", role: "listbox", "aria-label": this.texts.label, hidden: true });
    this.status = el("p", { class: "palette-status", role: "status" });
    this.dialog = el("dialog", { class: "palette", "aria-label": this.texts.label }, this.input, this.list, this.status);
    this.input.addEventListener("input", () => this.search(DELAY));
    this.input.addEventListener("keydown", (event) => this.onKey(event));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    document.body.append(this.dialog);
  }

  open() {
    if (!this.dialog) this.build();
    if (this.dialog.open) return;
    this.dialog.showModal();
    this.input.select();
    this.search(0);
  }

  toggle() {
    if (this.dialog?.open) this.dialog.close();
    else this.open();
  }

  search(delay) {
    clearTimeout(this.timer);
    this.request?.abort();
    this.timer = setTimeout(() => this.load(), delay);
  }

  async load() {
    const query = this.input.value.trim();
    const request = new AbortController();
    this.request = request;
    try {
      const signal = AbortSignal.any([request.signal, AbortSignal.timeout(TIMEOUT)]);
      const response = await fetch(`${this.address}?${new URLSearchParams({ q: query })}`, { credentials: "same-origin", redirect: "manual", signal });
      if (response.type === "opaqueredirect") location.reload();
      if (!response.ok) throw new Error(String(response.status));
      const { groups } = await response.json();
      if (this.request !== request) return;
      this.shownQuery = query;
      this.show(groups);
    } catch {
      if (request.signal.aborted) return;
      this.show([]);
      setText(this.status, this.texts.failed);
    }
  }

  show(groups) {
    this.options = [];
    this.list.replaceChildren(...groups.map(({ title, items }, number) => {
      const heading = el("div", { id: `palette-group-${number}`, class: "palette-group", role: "presentation" }, title);
      return el("div", { role: "group", "aria-labelledby": heading.id }, heading, ...items.map((item) => this.option(item)));
    }));
    this.list.hidden = this.options.length === 0;
    this.input.setAttribute("aria-expanded", String(this.options.length > 0));
    setText(this.status, this.options.length ? "" : this.texts.none);
    this.select(this.options.length ? 0 : -1);
  }

  option({ title, url, detail }) {
    const number = this.options.length;
    const option = el("a", { id: `palette-option-${number}`, role: "option", href: url, tabindex: -1, "aria-selected": "false" },
      el("span", { class: "palette-title" }, title), detail ? el("span", { class: "palette-detail" }, detail) : null);
    option.addEventListener("mousemove", () => this.index !== number && this.select(number));
    option.addEventListener("click", () => this.dialog.close());
    this.options.push(option);
    return option;
  }

  select(index) {
    this.options[this.index]?.setAttribute("aria-selected", "false");
    this.index = index;
    const option = this.options[index];
    if (option) {
      option.setAttribute("aria-selected", "true");
      option.scrollIntoView({ block: "nearest" });
      this.input.setAttribute("aria-activedescendant", option.id);
    } else {
      this.input.removeAttribute("aria-activedescendant");
    }
  }

  onKey(event) {
    const last = this.options.length - 1;
    const moves = { ArrowDown: this.index >= last ? 0 : this.index + 1, ArrowUp: this.index <= 0 ? last : this.index - 1, PageDown: Math.min(last, this.index + 8), PageUp: Math.max(0, this.index - 8) };
    if (event.isComposing || event.keyCode === IN_COMPOSITION) return;
    if (event.key in moves && last >= 0) {
      event.preventDefault();
      this.select(moves[event.key]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.follow(event);
    }
  }

  /** Follow the selected option, once the list is that of the whole query: a pasted id may be sent with Enter at once. */
  async follow(event) {
    clearTimeout(this.timer);
    const query = this.input.value.trim();
    if (this.shownQuery !== query) await this.load();
    const option = this.options[this.index];
    if (!option) return;
    if (event.ctrlKey || event.metaKey) window.open(option.href, "_blank", "noopener");
    else option.click();
  }
}

const button = find("[data-palette]");
if (button) {
  const palette = new Palette(button);
  const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);
  setText(find("kbd", button), isMac ? "⌘K" : "Ctrl K");
  button.hidden = false;
  button.addEventListener("click", () => palette.open());
  window.addEventListener("keydown", (event) => {
    if (!isK(event) || event.altKey || event.shiftKey || !(event.ctrlKey || event.metaKey)) return;
    if (document.querySelector("dialog[open]:not(.palette)")) return;
    event.preventDefault();
    if (!event.repeat) palette.toggle();
  });
}
