/** The catalogue: searches, corrects and adds pins. */

import { h } from "../dom.js";
import { edit } from "./edit.js";
import { counted, framed } from "./parts.js";
import { catalogPath, get } from "./requests.js";

const PAUSE_MS = 250;
const SIDE = 64;

export async function catalogue(signal) {
  const rows = h("ul", { class: "rows" });
  const told = h("p", { class: "hint", role: "status" });
  const more = h("button", { type: "button", hidden: true }, "Show more");
  let timer;
  const search = h("input", { id: "pin-search", type: "search", autocomplete: "off", spellcheck: "false", placeholder: "Name, character, series, id or code",
    "aria-label": "Search the catalogue", oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(() => void load(), PAUSE_MS);
    } });
  let asked = 0;

  async function load(offset = 0) {
    const mine = ++asked;
    const found = await get(`/pins?${new URLSearchParams({ search: search.value.trim(), offset })}`, signal);
    if (mine !== asked) return; // a later search has begun
    if (!offset) rows.replaceChildren();
    rows.append(...found.pins.map((pin) => row(pin, () => void load())));
    told.textContent = rows.children.length ? "" : search.value.trim() ? "The catalogue has no such pin." : "The catalogue is empty. Add a pin, or import a folder.";
    more.hidden = !found.more;
    more.onclick = () => void load(offset + found.pins.length);
  }
  await load();
  return h("div", {}, h("div", { class: "section-head" }, h("h2", {}, "Catalogue"),
    h("button", { type: "button", class: "primary", id: "add-pin", onclick: () => void edit({ fresh: true, saved: () => void load() }) }, "Add a pin")), search, told, rows, more);
}

function row(pin, saved) {
  const facts = [pin.characters.join(", "), pin.series, pin.year, pin.editionSize ? `edition of ${pin.editionSize.toLocaleString()}` : "open edition"];
  const lacks = ["front", "back"].filter((view) => !pin.views.includes(view));
  return h("li", {}, h("button", { type: "button", class: "row", onclick: () => void edit({ pin: pin.pinId, saved }) },
    framed(catalogPath(pin.pinId, "front"), "", SIDE),
    h("span", { class: "row-words" }, h("strong", {}, pin.name), h("span", {}, facts.filter(Boolean).join(" · "))),
    h("span", { class: "row-more" }, h("span", {}, pin.pinId), h("span", {}, counted(pin.sales, "sale")), lacks.map((view) => h("span", {}, `no ${view} picture`)))));
}
