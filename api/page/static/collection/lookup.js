/** Dialog "Which pin is it?": chooses a candidate, a catalogue pin by name, or a name typed by hand. */

import { dialog, h, icon } from "../dom.js";
import { catalogImage } from "../result/folds.js";

const PAUSE_MS = 250;

/**
 * Asks for the pin. `candidates` are pins that look like it or are in the picture too, `suggestions` those of a second engine;
 * `search(text, signal)` resolves to pins of the catalogue. `chosen({pinId, name})` is called with the answer; `pinId` is
 * null if the name was typed by hand or suggested.
 */
export function askWhichPin({ candidates, suggestions = [], search, catalogPicture, chosen }) {
  let asking = new AbortController();
  let timer;
  const results = h("ul", { class: "lookup", id: "lookup-results" });
  const told = h("p", { class: "hint", role: "status" });
  const field = h("input", { id: "lookup-name", type: "search", autocomplete: "off", spellcheck: "false", oninput: () => {
    clearTimeout(timer);
    timer = setTimeout(() => void look(), PAUSE_MS);
  } });
  const byHand = h("input", { id: "lookup-hand", type: "text", maxlength: 200, autocomplete: "off" });
  let close;

  const take = (pin) => {
    close();
    chosen(pin);
  };
  const row = (pin) => h("li", {}, h("button", { type: "button", onclick: () => take({ pinId: pin.pinId, name: pin.name }) },
    catalogImage(pin, catalogPicture),
    h("span", {}, h("strong", {}, pin.name), h("small", {}, [pin.characters, pin.series, pin.year].filter(Boolean).join(" · ")))));

  const named = suggestions.filter((one) => !["inscription", "description"].includes(one.kind));
  const suggested = named.length > 0 && h("div", {}, h("h3", {}, "Suggested, not verified"), h("ul", { class: "lookup suggested" }, named.map((one) =>
    h("li", {}, h("button", { type: "button", onclick: () => take({ pinId: null, name: one.text }) }, h("span", {}, h("strong", {}, one.text), h("small", {}, `${one.kind} · ${one.source}`)))))));

  async function look() {
    asking.abort();
    asking = new AbortController();
    const text = field.value.trim();
    if (!text) {
      results.replaceChildren(...candidates.map(row));
      told.textContent = !candidates.length ? "" : candidates.some(({ box }) => box) ? "These pins look similar, or are in the picture too." : "These pins look similar.";
      return;
    }
    try {
      const pins = await search(text, asking.signal);
      results.replaceChildren(...pins.map(row));
      told.textContent = pins.length ? `${pins.length} found.` : "The catalogue has no such pin.";
    } catch (error) {
      if (error?.name !== "AbortError") told.textContent = "The catalogue could not be searched. Please try again.";
    }
  }

  dialog("Which pin is it?", (end) => {
    close = end;
    return [
      h("header", { class: "dialog-head" }, h("h2", {}, "Which pin is it?"), h("button", { type: "button", class: "tool", "aria-label": "Close", onclick: end }, icon("close"))),
      h("label", { for: "lookup-name" }, "Name, character, series or code"), field, told, results, suggested,
      h("form", { class: "by-hand", onsubmit: (event) => {
        event.preventDefault();
        if (byHand.value.trim()) take({ pinId: null, name: byHand.value.trim() });
      } }, h("label", { for: "lookup-hand" }, "Not in the catalogue? Name it yourself"), h("div", { class: "actions" }, byHand, h("button", {}, "Save"))),
    ];
  });
  field.focus();
  void look();
}
