// Texts in the page's language, from the catalogue that pages in other languages than English load before their modules.
export const LANGUAGE = document.documentElement.lang || "en";
export const LOCALE = LANGUAGE === "en" ? "en-GB" : LANGUAGE;

/** Put values in the place of each `%s`, in order. */
const fill = (text, values) => (values.length ? text.replace(/%[s%]/g, (found) => (found === "%%" ? "%" : values.shift())) : text);

/** A text, with values for each `%s` in it. */
export const gettext = (text, ...values) => fill(globalThis.gettext?.(text) ?? text, values);

export const ngettext = (one, many, number) => globalThis.ngettext?.(one, many, number) ?? (number === 1 ? one : many);
