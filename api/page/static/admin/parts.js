/** Helpers of the sections: pictures (fetched with the key), form fields, lists of problems, waiting for an import. */

import { h } from "../dom.js";
import { get, picture } from "./requests.js";

const LOOK_MS = 700;

/** By place, the function that loads its picture once it is visible: a photograph takes a worker's time. */
const waiting = new WeakMap();
const watching = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    watching.unobserve(target);
    waiting.get(target)?.();
    waiting.delete(target);
  }
}, { rootMargin: "200px" });

/** A place of fixed size for a picture, which is loaded once the place is visible. */
export function framed(path, alt, side) {
  const image = h("img", { alt: "", width: side, height: side, hidden: true });
  const place = h("span", { class: "framed", "data-side": side }, image);
  if (path) {
    waiting.set(place, async () => {
      const blob = await picture(path);
      if (!blob) return;
      const url = URL.createObjectURL(blob);
      Object.assign(image, { src: url, alt, hidden: false, onload: () => URL.revokeObjectURL(url) });
    });
    watching.observe(place);
  }
  return place;
}

/** A labelled field; with `options`, [[value, text]], a selection list. */
export function field(name, label, { options, value = "", hint, ...attributes } = {}) {
  const id = `field-${name}`;
  const input = options
    ? h("select", { id, name, ...attributes }, options.map(([one, text]) => h("option", { value: one, selected: one === value }, text)))
    : h("input", { id, name, type: "text", autocomplete: "off", spellcheck: "false", value, ...attributes });
  return h("div", { class: "field" }, h("label", { for: id }, label), input, hint && h("p", { class: "hint" }, hint));
}

/** A list of an import's problems by line; `total` is the number of all. */
export function problemList(title, problems, total) {
  if (!total) return [];
  const more = total > problems.length ? `, the first ${problems.length}` : "";
  return [h("h3", {}, `${title} (${total.toLocaleString()}${more})`), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", {}, "File"), h("th", {}, "Line"), h("th", {}, "What is wrong"))),
    h("tbody", {}, problems.map((one) => h("tr", {}, h("td", {}, one.file), h("td", { class: "figure" }, one.line), h("td", {}, one.message))))))];
}

/**
 * Resolves to an import's state at its end; calls `tell(state)` repeatedly until then, with null while the server cannot
 * be reached: the import goes on meanwhile. Throws if the server refuses to tell.
 */
export async function watched(id, tell = () => {}) {
  for (;;) {
    const state = await get(`/imports/${id}`).catch((error) => {
      if (error.status && error.status < 500) throw error;
      return null;
    });
    tell(state);
    if (["done", "failed", "cancelled"].includes(state?.state)) return state;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

export const when = (at) => new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : many}`;
