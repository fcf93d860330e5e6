/** Findings (rows of evidence): the three most important ones with pictures, the rest as a list. */

import { pinBox } from "../capture/outline.js";
import { cut, scaled } from "../capture/photographs.js";
import { NOT_LOADED, dialog, h, icon, loading } from "../dom.js";
import { VIEWS, SLIGHT, boxOf, capitalised, direction, evidenceName, evidenceView, odds } from "./words.js";

const SHOWN = 3;
const CROP = 360;
/** The log10 likelihood ratio from which a bar is full. */
const FULL = 0.8;

export class Findings {
  /** `pictures`, `boxes` by view; `catalogCanvas(pinId, view)` resolves to a canvas, null if there is none, or rejects. */
  constructor({ pictures, boxes, catalogCanvas }) {
    Object.assign(this, { pictures, boxes, catalogCanvas });
    this.pin = undefined; // undefined: not known yet; null: no pin was identified
    this.pairs = [];
    this.list = h("ol", { class: "findings", "aria-busy": "true" },
      Array.from({ length: SHOWN }, () => h("li", { class: "finding empty" },
        h("div", { class: "pair" }, blank("Yours"), blank("Genuine")),
        h("div", { class: "finding-words" }, h("span", { class: "line" }), h("span", { class: "line short" })))));
    this.element = h("section", { class: "counted", "aria-labelledby": "counted-heading" },
      h("h2", { id: "counted-heading" }, "What counted most"), this.list);
  }

  show(packet) {
    this.list.removeAttribute("aria-busy");
    const weighed = packet.evidence.filter((row) => row.assessed).sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
    const shown = [...weighed.filter((row) => Math.abs(row.weight) >= SLIGHT).slice(0, SHOWN)];
    const open = packet.evidence.filter((row) => !row.assessed);
    this.list.replaceChildren(...shown.map((row) => this.card(row)), ...this.instead(SHOWN - shown.length, shown.length, open, { judged: weighed.length > 0 }));
    return { weighed, open };
  }

  /** Shows `reason` in the places, if no findings have arrived. */
  finish(reason) {
    if (!this.list.hasAttribute("aria-busy")) return;
    this.list.removeAttribute("aria-busy");
    this.list.replaceChildren(...this.instead(SHOWN, 0, [], { reason }));
  }

  /** Fills the places without a finding, so that nothing below moves. */
  instead(places, shown, open, { judged = false, reason = null }) {
    if (!places) return [];
    const reasons = [...new Set(open.map((row) => capitalised(row.finding)))].slice(0, 4);
    const item = h("li", { class: `finding none span-${places}` },
      h("p", {}, reason ?? (shown ? "No other finding weighs much." : judged ? "No finding weighs much." : "Nothing could be judged.")),
      reasons.length > 0 && h("ul", {}, reasons.map((text) => h("li", {}, text))));
    return [item];
  }

  /** Shows the genuine pin's pictures once the pin is known; `candidate` is null if none was identified. */
  identified(candidate) {
    this.pin = candidate;
    for (const { row, place } of this.pairs) void this.fillGenuine(row, place);
  }

  card(row) {
    const view = evidenceView(row);
    const mine = this.mine(row, view);
    const genuine = h("span", { class: "place" });
    this.pairs.push({ row, place: genuine });
    void this.fillGenuine(row, genuine);
    const name = evidenceName(row);
    return h("li", { class: `finding ${direction(row.weight)}` },
      h("button", { type: "button", class: "pair", "aria-label": `Enlarge: ${name}, yours beside a genuine one`, onclick: () => void this.enlarge(row) },
        figure(mine ?? h("span", { class: "place" }, "No photograph"), "Yours"), figure(genuine, "Genuine"), h("span", { class: "enlarge" }, icon("enlarge"))),
      h("div", { class: "finding-words" }, h("h3", {}, name), h("p", { class: "finding-text", title: row.finding }, row.finding),
        h("p", { class: "odds" }, odds(row.weight))));
  }

  mine(row, view, side = CROP) {
    const picture = this.pictures[view];
    if (!picture) return null;
    const region = boxOf(row.region ?? row.box, view);
    return cut(picture, region ?? this.boxes[view] ?? pinBox(picture), { side, margin: around(row, region) });
  }

  /** The genuine pin's picture as a canvas, or the text in its place. Rejects if it could not be loaded. */
  async genuine(row, side = CROP) {
    if (!this.pin) return this.pin === null ? "Not identified" : "";
    const reference = boxOf(row.reference, evidenceView(row));
    const picture = await this.catalogCanvas(this.pin.pinId, reference?.view ?? evidenceView(row));
    if (!picture) return "Not in the catalogue";
    return cut(picture, reference ?? pinBox(picture), { side, margin: around(row, reference) });
  }

  fillGenuine(row, place) {
    return loading(place, () => this.genuine(row), (shown) => place.replaceChildren(shown));
  }

  async enlarge(row) {
    const view = evidenceView(row);
    const region = boxOf(row.region ?? row.box, view);
    const shown = await this.genuine(row, 1200).catch(() => NOT_LOADED);
    const genuine = typeof shown === "string" ? h("p", { class: "place" }, shown) : shown;
    const mine = this.mine(row, view, 1200) ?? h("p", { class: "place" }, "There is no such photograph.");
    const whole = region && this.pictures[view] ? marked(this.pictures[view], [region]) : null;
    dialog(evidenceName(row), (close) => [
      h("header", { class: "dialog-head" }, h("h2", {}, evidenceName(row)),
        h("button", { type: "button", class: "tool", "aria-label": "Close", onclick: close }, icon("close"))),
      h("div", { class: "enlarged" }, figure(mine, "Yours"), figure(genuine, "Genuine")),
      h("p", {}, row.finding), h("p", { class: `odds ${direction(row.weight)}` }, capitalised(odds(row.weight)), "."),
      whole && h("details", {}, h("summary", {}, `Where on the ${VIEWS[view]} photograph`), whole),
    ], { wide: true });
  }
}

/** How much to show around a place, as a share of its side: a fault's surroundings help to find it. */
const around = (row, place) => (place && row.weight < 0 ? 0.35 : 0.04);

const blank = (caption) => figure(h("span", { class: "place" }), caption);

const figure = (content, caption) => h("span", { class: "side" }, content, h("span", { class: "caption" }, caption));

/** A whole photograph with boxes (in shares) drawn on it, numbered if there are several. */
export function marked(picture, boxes) {
  return h("div", { class: "marked" }, scaled(picture, 900), boxes.map((box, index) => {
    const mark = h("span", { class: "mark", "aria-hidden": "true" }, boxes.length > 1 && h("b", {}, String(index + 1)));
    for (const [side, share] of Object.entries({ left: box.x, top: box.y, width: box.width, height: box.height })) {
      mark.style[side] = `${100 * share}%`;
    }
    return mark;
  }));
}

/** All findings as lines with their weights; those that could not be judged are grouped by reason. */
export function everyFinding(packet, { weighed, open }) {
  const reasons = new Map();
  for (const row of open) reasons.set(row.finding, [...(reasons.get(row.finding) ?? []), evidenceName(row)]);
  return [
    packet.summary && h("p", {}, packet.summary),
    weighed.length > 0 && h("ul", { class: "evidence" }, weighed.map(evidenceRow)),
    open.length > 0 && h("h3", {}, "Could not be judged"),
    open.length > 0 && h("ul", { class: "unassessed" }, [...reasons].map(([reason, names]) =>
      h("li", {}, h("strong", {}, capitalised(reason)), h("span", {}, names.join(", "))))),
    packet.evidence.length > 0 && h("p", { class: "hint" }, `These photographs show ${Math.round(packet.confidence * 100)} % of the evidence that can be judged.`),
  ];
}

function evidenceRow(row) {
  const fill = h("span", { class: row.weight < 0 ? "bar-fill left" : "bar-fill" });
  fill.style.width = `${Math.min(50, (Math.abs(row.weight) / FULL) * 50)}%`;
  return h("li", { class: `evidence-row ${direction(row.weight)}` },
    h("div", { class: "evidence-words" }, h("strong", {}, evidenceName(row)), h("p", {}, row.finding)),
    h("div", { class: "weighing" }, h("span", { class: "bar", "aria-hidden": "true" }, fill), h("span", { class: "odds" }, odds(row.weight))));
}
