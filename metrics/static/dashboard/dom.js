// DOM helpers. Values become text nodes or attributes, never markup.
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);
export const find = (selector, within = document) => within.querySelector(selector);

/** Set a node's text only if it differs: rewriting it would disturb screen readers and selections. */
export function setText(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

export function setTone(node, value) {
  if (value) node.dataset.tone = value;
  else delete node.dataset.tone;
}
