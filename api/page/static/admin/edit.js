/** Adds or corrects one pin, or gives it pictures of an analysis. Saving runs an import of one row. */

import { dialog, h, icon } from "../dom.js";
import { framed, field, problemList, watched } from "./parts.js";
import { catalogPath, get, picture, put, putPhotograph, send } from "./requests.js";

const COLUMNS = ["pin_id", "name", "characters", "series", "year", "edition_size", "brand", "factory_code", "front_image", "back_image"];
const LABELS = {
  pin_id: ["Pin id", "It cannot be changed once the pin is saved."], name: ["Name"], characters: ["Characters", "Separated by ;"], series: ["Series"], year: ["Year"],
  edition_size: ["Edition size", "Empty for an open edition."], brand: ["Maker"], factory_code: ["Code on the back"],
};
const SIDE = 132;

const cell = (value) => (/[",;\r\n]|^\s|\s$/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

/**
 * Asks for the values of a pin and saves them. `pin` is the id of an existing pin; `fresh` makes a new one. The `views` of
 * `analysis` are offered as pictures, its `suggestions` as values. `saved()` is called once the pin is in the catalogue.
 */
export async function edit({ pin = null, fresh = false, analysis = null, views = [], suggestions = [], saved = () => {} }) {
  const suggested = (kind) => suggestions.filter((one) => one.kind === kind).map((one) => one.text);
  const form = h("form", { class: "edit", onsubmit: (event) => {
    event.preventDefault();
    void save();
  } });
  const told = h("p", { class: "notice", role: "status" });
  const problems = h("div", {});
  const button = h("button", { class: "primary" }, "Save");
  const fields = h("div", { class: "fields" });
  const pictures = h("div", { class: "pictures" });
  const chosen = {};
  let known = null;

  const input = (name) => form.elements.namedItem(name);

  function show(found) {
    known = found;
    const characters = [...new Set(suggested("character"))];
    const confirmed = suggestions.find((one) => analysis?.comment.includes(one.text)); // the suggestion that the feedback accepted
    const values = found ? {
      pin_id: found.pinId, name: found.name, characters: found.characters.join(";"), series: found.series, year: found.year, edition_size: found.editionSize,
      brand: found.brand, factory_code: found.factoryCode,
    } : { pin_id: analysis ? `PIN-${analysis.recordNumber}` : "", name: confirmed?.text ?? characters[0], characters: characters.join(";"), series: suggested("series")[0] };
    fields.replaceChildren(...Object.entries(LABELS).map(([name, [label, hint]]) => field(name, label, {
      value: values[name] ?? "", hint, readonly: name === "pin_id" && Boolean(found), required: ["pin_id", "name"].includes(name), inputmode: ["year", "edition_size"].includes(name) ? "numeric" : null })));
    pictures.replaceChildren(...["front", "back"].map((view) => slot(view)));
  }

  /** The input for a view's picture: the catalogue's, a file, or the analysis's photograph. */
  function slot(view) {
    const has = known?.views.includes(view);
    const place = h("div", { class: "picture-place" }, framed(has ? catalogPath(known.pinId, view) : null, `The ${view} picture of the catalogue`, SIDE));
    const said = h("p", { class: "hint" }, has ? "As in the catalogue" : "None yet");
    const take = (source, text) => {
      chosen[view] = source;
      const url = URL.createObjectURL(source);
      const image = h("img", { src: url, alt: `The ${view} picture that will be saved`, width: SIDE, height: SIDE, onload: () => URL.revokeObjectURL(url) });
      place.replaceChildren(h("span", { class: "framed", "data-side": SIDE }, image));
      said.textContent = text;
    };
    const file = h("input", { id: `picture-${view}`, class: "visually-hidden", type: "file", accept: "image/*,.heic,.heif,.hif,.avif", onchange: () => {
      const [one] = file.files;
      if (one) take(one, "From a file");
    } });
    const photograph = async (whole) => {
      said.textContent = "Cutting it out …";
      try {
        const blob = await putPhotograph(await folder(), { recordNumber: analysis.recordNumber, view, path: `images/${view}.png`, whole });
        take(new File([blob], `${view}.png`), whole ? "The whole photograph" : "From the analysis");
      } catch (error) {
        said.textContent = error.message;
      }
    };
    const offered = views.includes(view);
    if (offered && (!has || fresh)) void photograph(false);
    return h("fieldset", {}, h("legend", {}, view === "front" ? "Front" : "Back"), place, said, h("div", { class: "actions" }, file,
      h("label", { for: `picture-${view}`, class: "button small" }, "Choose a file"),
      offered && h("button", { type: "button", class: "small", onclick: () => void photograph(false) }, "The photograph"),
      offered && h("button", { type: "button", class: "small quiet", onclick: () => void photograph(true) }, "Uncut")));
  }

  let draft = null;
  async function folder() {
    draft ??= send("POST", "/imports").then((made) => made.id, (error) => {
      draft = null; // the next attempt asks again
      throw error;
    });
    return draft;
  }

  async function save() {
    button.disabled = true;
    told.classList.remove("wrong");
    told.textContent = "Saving …";
    problems.replaceChildren();
    try {
      const id = await folder();
      const names = {};
      if (!known && !chosen.front) throw new Error("A new pin needs a picture of its front.");
      if (!known && await get(`/pin?${new URLSearchParams({ id: input("pin_id").value.trim() })}`).catch(() => null)) {
        throw new Error("The catalogue already has a pin with this id. Please choose another id.");
      }
      for (const [view, file] of Object.entries(chosen)) {
        names[view] = `images/${view}${/\.[a-z0-9]+$/i.exec(file.name)?.[0] ?? ""}`;
        await put(id, names[view], file);
      }
      if (names.front && !names.back && known?.views.includes("back")) {
        // a row with a front picture replaces all pictures, so that it must name the back too
        const kept = await picture(catalogPath(known.pinId, "back"));
        if (!kept) throw new Error("The catalogue's picture of the back could not be loaded. Please try again.");
        names.back = "images/back.jpg";
        await put(id, names.back, kept);
      }
      const row = COLUMNS.map((name) => (name.endsWith("_image") ? names[name.slice(0, -6)] ?? "" : input(name).value.trim()));
      await put(id, "pins.csv", new Blob([`${COLUMNS.join(",")}\r\n${row.map(cell).join(",")}\r\n`]));
      await send("POST", `/imports/${id}/start`);
      draft = null;
      const state = await watched(id, (found) => {
        told.textContent = found ? "Saving …" : "The server cannot be reached. The import goes on there; trying again …";
      });
      if (state.state !== "done" || state.problems.length) {
        throw new Error(state.wrong || state.problems.map((one) => one.message).join(" ") || "The import was cancelled.");
      }
      told.textContent = "Saved. It is in the catalogue.";
      problems.replaceChildren(...problemList("Imported with a warning", state.warnings, state.warnings.length));
      saved();
      show(await get(`/pin?${new URLSearchParams({ id: row[0] })}`).catch(() => known));
      for (const view of Object.keys(chosen)) delete chosen[view];
    } catch (error) {
      told.classList.add("wrong");
      told.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  }

  const which = analysis && !fresh && whichPin((found) => show(found), pin);
  form.append(...[which, ...(analysis ? [pictures, fields] : [fields, pictures]), told, problems, h("div", { class: "actions" }, button)].filter(Boolean));
  const shown = dialog(fresh ? "A new pin" : "A pin in the catalogue", (close) => [
    h("header", { class: "dialog-head" }, h("h2", {}, fresh ? "A new pin" : analysis ? "Which pin is it?" : "Correct a pin"), h("button", { type: "button", class: "tool", "aria-label": "Close", onclick: close }, icon("close"))),
    form,
  ], { wide: true });
  shown.addEventListener("close", () => void draft?.then((id) => send("DELETE", `/imports/${id}`)).catch(() => {}));
  if (fresh) show(null);
  else if (pin) show(await get(`/pin?${new URLSearchParams({ id: pin })}`).catch(() => null));
}

/** A search for the pin that an analysis shows; `take(pin)` receives the chosen pin. */
function whichPin(take, name) {
  const results = h("ul", { class: "rows short" });
  const search = h("input", { id: "which-search", type: "search", autocomplete: "off", value: name ?? "", oninput: () => void look() });
  async function look() {
    const text = search.value.trim();
    if (!text) return results.replaceChildren();
    const found = await get(`/pins?${new URLSearchParams({ search: text })}`).catch(() => ({ pins: [] }));
    if (text !== search.value.trim()) return undefined;
    return results.replaceChildren(...found.pins.slice(0, 6).map((one) => h("li", {}, h("button", { type: "button", class: "row", onclick: () => {
      results.replaceChildren();
      take(one);
    } }, framed(catalogPath(one.pinId, "front"), "", 48), h("span", { class: "row-words" }, h("strong", {}, one.name), h("span", {}, one.pinId))))));
  }
  return h("div", { class: "which" }, h("label", { for: "which-search" }, "Search the catalogue"), search, results);
}
