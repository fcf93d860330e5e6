/** The collection: lists the analyses stored on this device, with their value, a search and an export. */

import { dialog, h, icon } from "../dom.js";
import { essence, listed, money } from "../result/words.js";
import * as store from "./store.js";

const when = (at) => new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

export class Collection {
  /** `open(entry)` shows one analysis. */
  constructor(root, open) {
    Object.assign(this, { root, open });
    this.entries = [];
    this.urls = [];
    this.list = h("ul", { id: "collection-list", class: "entries" });
    this.total = h("p", { id: "collection-total", class: "total" });
    this.told = h("p", { class: "hint", role: "status" });
    this.search = h("input", { id: "collection-search", type: "search", placeholder: "Search", "aria-label": "Search the collection", oninput: () => this.draw() });
    this.empty = h("div", { class: "collection-empty" }, h("img", { src: "/static/icons/pin.svg", alt: "", width: 56, height: 56 }),
      h("p", {}, h("strong", {}, "No pins yet"), "What you analyse is kept here, on this device only: picture, name, verdict and price."));
    this.tools = h("div", { class: "collection-tools" }, this.search,
      h("button", { id: "collection-export", type: "button", onclick: () => this.export() }, "Export as CSV"),
      h("button", { id: "forget-all", class: "quiet", type: "button", onclick: () => this.askToForget() }, "Forget all"));
    root.append(h("div", { class: "collection-head" }, h("h2", { id: "collection-heading", tabindex: -1 }, "Collection"), this.total), this.tools, this.empty, this.list, this.told);
    this.tools.hidden = true; // until entries are loaded
    root.hidden = false;
  }

  async refresh() {
    const found = await store.all();
    if (found) this.entries = found.map((entry) => ({ entry, ...essence(entry) }));
    this.draw();
  }

  draw() {
    this.urls.forEach((url) => URL.revokeObjectURL(url));
    this.urls = [];
    const wanted = this.search.value.trim().toLocaleLowerCase();
    const shown = this.entries.filter((one) => `${one.name} ${one.words}`.toLocaleLowerCase().includes(wanted));
    this.tools.hidden = !this.entries.length;
    this.total.textContent = this.entries.length ? worth(this.entries) : "";
    this.empty.hidden = this.entries.length > 0;
    this.told.textContent = this.entries.length && !shown.length ? "No pin here matches your search." : "";
    this.list.replaceChildren(...shown.map((one) => this.row(one)));
  }

  row({ entry, name, words, verdict, estimate }) {
    const image = h("img", { alt: "", width: 64, height: 64, hidden: true });
    if (entry.previews?.front instanceof Blob) {
      const url = URL.createObjectURL(entry.previews.front);
      this.urls.push(url);
      Object.assign(image, { src: url, hidden: false });
    }
    return h("li", {},
      h("button", { type: "button", class: "entry", onclick: () => this.open(entry) },
        h("span", { class: "entry-picture" }, image),
        h("span", { class: "entry-words" }, h("strong", {}, name), h("span", { class: `tone-${verdict}` }, words),
          h("time", { datetime: new Date(entry.at).toISOString() }, when(entry.at))),
        h("span", { class: "entry-price" }, estimate && money(estimate.median, estimate.currency),
          estimate && h("small", {}, verdict === "counterfeit" ? "a genuine one" : "if genuine"))),
      h("button", { type: "button", class: "tool", "aria-label": `Forget ${name}, ${when(entry.at)}`, onclick: () => void this.forget(entry) }, icon("trash")));
  }

  async forget(entry) {
    await store.forget(entry.id);
    await this.refresh();
    (this.list.querySelector(".entry") ?? this.root.querySelector("h2")).focus?.();
  }

  askToForget() {
    dialog("Forget all", (close) => [
      h("h2", {}, "Forget the whole collection?"),
      h("p", {}, `${this.entries.length === 1 ? "One analysis" : `${this.entries.length} analyses`} with their photographs will be removed from this device. This cannot be undone.`),
      h("div", { class: "actions" },
        h("button", { id: "forget-yes", type: "button", class: "danger", onclick: () => void store.forgetAll().then(() => this.refresh()).then(close) }, "Forget all"),
        h("button", { type: "button", class: "quiet", onclick: close }, "Keep")),
    ]);
  }

  export() {
    const rows = [["analysed_at", "name", "pin_id", "verdict", "rating", "price_if_genuine", "currency", "link"],
      ...this.entries.map(({ entry, name, pinId, verdict, rating, estimate }) => [
        new Date(entry.at).toISOString(), name, pinId ?? "", verdict, rating ?? "", estimate?.median ?? "", estimate?.currency ?? "",
        `${location.origin}/results/${encodeURIComponent(entry.id)}`])];
    const csv = rows.map((row) => row.map(cell).join(",")).join("\r\n");
    const url = URL.createObjectURL(new Blob(["\ufeff", csv, "\r\n"], { type: "text/csv" }));
    h("a", { href: url, download: "pins.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}

/** A value as a CSV cell; a text that a spreadsheet would take for a formula is marked as text. */
function cell(value) {
  const text = String(value);
  const safe = typeof value !== "number" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The total value of the pins. Of several analyses of one pin only the newest counts; counterfeits do not. */
function worth(entries) {
  const seen = new Set();
  const sums = new Map();
  let pins = 0;
  for (const { entry, verdict, estimate } of entries) {
    const group = entry.group ?? entry.id;
    if (seen.has(group)) continue;
    seen.add(group);
    if (verdict === "not_a_pin") continue;
    pins += 1;
    if (estimate && verdict !== "counterfeit") sums.set(estimate.currency, (sums.get(estimate.currency) ?? 0) + estimate.median);
  }
  const count = pins === 1 ? "1 pin" : `${pins} pins`;
  return sums.size ? `${count}, worth ${listed([...sums].map(([currency, sum]) => money(sum, currency)))} if genuine` : count;
}
