/** Pieces that the sections share: pictures that come with the key, fields, lists of problems, an import that is watched. */

import { h } from "../dom.js";
import { get, picture } from "./requests.js";

const LOOK_MS = 700;

/** What is to be done for a place once it comes into view: a photograph costs a worker's time. */
const waiting = new WeakMap();
const watching = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    watching.unobserve(target);
    waiting.get(target)?.();
    waiting.delete(target);
  }
}, { rootMargin: "200px" });

/** A picture in a place that keeps its size, whether it comes or not; asked for when it is looked at. */
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

/** A labelled field; `options` makes it a list to choose from: [[value, text]]. */
export function field(name, label, { options, value = "", hint, ...attributes } = {}) {
  const id = `field-${name}`;
  const input = options
    ? h("select", { id, name, ...attributes }, options.map(([one, text]) => h("option", { value: one, selected: one === value }, text)))
    : h("input", { id, name, type: "text", autocomplete: "off", spellcheck: "false", value, ...attributes });
  return h("div", { class: "field" }, h("label", { for: id }, label), input, hint && h("p", { class: "hint" }, hint));
}

/** Problems of an import by line; `total` of them there are. */
export function problemList(title, problems, total) {
  if (!total) return [];
  const more = total > problems.length ? `, the first ${problems.length}` : "";
  return [h("h3", {}, `${title} (${total.toLocaleString()}${more})`), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", {}, "File"), h("th", {}, "Line"), h("th", {}, "What is wrong"))),
    h("tbody", {}, problems.map((one) => h("tr", {}, h("td", {}, one.file), h("td", { class: "figure" }, one.line), h("td", {}, one.message))))))];
}

/** Resolves to an import's state at its end; `tell(state)` hears of every step until then. */
export async function watched(id, tell = () => {}) {
  for (;;) {
    const state = await get(`/imports/${id}`);
    tell(state);
    if (["done", "failed", "cancelled"].includes(state.state)) return state;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

export const when = (at) => new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : many}`;
