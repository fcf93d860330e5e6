/** Builds elements from data. Strings become text nodes and are never parsed as HTML. */

const SVG = "http://www.w3.org/2000/svg";

/** The page's only Trusted Types policy: browsers refuse HTML and script URLs from strings without one. */
export const trusted = globalThis.trustedTypes?.createPolicy("pinactors", {
  createHTML: (html) => html,
  createScriptURL: (url) => url,
}) ?? { createHTML: (html) => html, createScriptURL: (url) => url };

/** An element with attributes (`class`, `hidden`, `onclick`, …) and children (strings become text). */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** As `h`, for SVG elements. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/**
 * Runs `load` and gives its value to `show`; if it fails, shows "Picture not loaded" in `place` and tries again when the
 * browser is online again, as long as `place` is on the page.
 */
export async function loading(place, load, show) {
  try {
    show(await load());
  } catch {
    place.textContent = NOT_LOADED;
    addEventListener("online", () => place.isConnected && void loading(place, load, show), { once: true });
  }
}

export const NOT_LOADED = "Picture not loaded";

export const motion = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");

const ICONS = {
  camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 17a4 4 0 1 0 0-8 4 4 0 0 0 0 8z",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  share: "M12 15V4M8 7l4-4 4 4M6 12H5v8h14v-8h-1",
  close: "M6 6l12 12M18 6L6 18",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  enlarge: "M9 4H4v5M15 4h5v5M9 20H4v-5M15 20h5v-5",
  check: "M5 12l5 5 9-10",
  link: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
};

/** A line drawing of 24 by 24 in the colour of the surrounding text, hidden from screen readers. */
export function icon(name) {
  return s("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));
}

/** Shows a dialog, which is removed when it is closed. `content(close)` makes its content; `close()` closes it. */
export function dialog(label, content, { wide = false } = {}) {
  const element = h("dialog", { "aria-label": label, class: wide ? "wide" : null });
  const close = () => element.close();
  element.append(...[content(close)].flat().filter(Boolean));
  element.addEventListener("click", (event) => event.target === element && close());
  element.addEventListener("close", () => element.remove());
  document.body.append(element);
  element.showModal();
  return element;
}
