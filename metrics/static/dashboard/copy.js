// Buttons that copy a text, such as a key that is shown once.
(() => {
  const gettext = (text) => globalThis.gettext?.(text) ?? text;

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest?.("button[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = gettext("Copied");
    } catch {
      // Without TLS, browsers have no clipboard: the text is selected, to be copied by hand.
      const text = button.previousElementSibling;
      if (text) window.getSelection().selectAllChildren(text);
      button.textContent = gettext("Selected: copy it");
    }
  });
})();
