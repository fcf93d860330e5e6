/** The results as cards: each waits until its packet is there, and then says it. */

import { money, priceChart } from "./charts.js";
import { h } from "./dom.js";
import { fragment } from "./fragments.js";
import { scaled } from "./photographs.js";
import { VIEWS, capitalised, helpList, stage, verdictCard, verdictInWords } from "./verdict.js";

const NAMES = {
  authenticity: "authenticity", characters: "characters", pricing: "price", details: "details", display: "photographs",
};

/** A score in which a resemblance is none: such candidates are not worth a line. */
const UNLIKELY = 0.005;
/** One from which a pin that is not identified is worth to be laid beside the photograph. */
const ALIKE = 0.1;

const CARDS = [
  { type: "AUTHENTICATION_RESULT", title: "Genuine?", draw: verdictCard, say: sayVerdict },
  { type: "CHARACTER_IDENTIFICATION", title: "Who is on it?", draw: characterCard, say: (packet) => packet.characters || "Not identified" },
  { type: "PRICING_ANALYSIS", title: "What is it worth?", draw: priceCard, say: sayPrice },
  { type: "DETAILED_ANALYSIS", title: "Details", draw: detailCard },
  { type: "HTML_DISPLAY_DATA", title: "The photographs", draw: displayCard },
];

/**
 * A board of cards in `root`. `pictures` are canvases by view, `catalogPicture(pinId, view)` resolves to a URL or
 * null, `retake(view)` leads to that photograph (absent where it cannot be retaken).
 */
export class Board {
  constructor(root, { pictures = {}, catalogPicture, retake = null }) {
    this.help = h("div", {});
    this.context = { pictures, catalogPicture, help: this.help };
    this.retake = retake;
    this.sent = Object.keys(pictures);
    this.advice = [];
    this.problems = {};
    this.started = performance.now();
    this.cards = new Map();
    root.replaceChildren();
    for (const card of CARDS) {
      const time = h("span", { class: "arrival" });
      const verdict = card.type === "AUTHENTICATION_RESULT";
      const waiting = h("p", { class: "waiting" }, verdict ? "Weighing the evidence …" : "Waiting for this result …");
      const body = h("div", { class: "card-body" },
        ...(verdict ? [h("div", { class: "verdict-head" }, stage(pictures).element, h("div", { class: "verdict-words" }, waiting))] : [waiting]));
      const element = h("article", { class: "card waiting-card", "data-type": card.type, "aria-busy": "true" },
        h("header", {}, h("h3", {}, card.title), time), body);
      this.cards.set(card.type, { ...card, element, body, time });
      root.append(element);
    }
  }

  /** Results that are in, and all there are. */
  get progress() {
    const open = [...this.cards.values()].filter((card) => card.element.hasAttribute("aria-busy")).length;
    return [this.cards.size - open, this.cards.size];
  }

  /**
   * Shows a packet; `live` false for one out of the history, whose arrival time says nothing. Returns what a screen
   * reader should say of it, if anything.
   */
  show(packet, live = true) {
    const card = this.cards.get(packet.packetType);
    if (!card) return null;
    card.body.replaceChildren(...card.draw(packet, this.context).filter(Boolean));
    card.element.classList.remove("waiting-card");
    card.element.removeAttribute("aria-busy");
    if (live) {
      card.element.classList.add("arrived");
      card.time.textContent = `after ${((performance.now() - this.started) / 1000).toFixed(1)} s`;
    }
    this.advise(packet);
    return `${card.title} ${card.say?.(packet) ?? "is there."}`;
  }

  advise(packet) {
    if (packet.packetType === "AUTHENTICATION_RESULT") this.advice = packet.advice ?? [];
    else if (packet.packetType === "DETAILED_ANALYSIS") this.problems = problemsOf(packet.details.photos);
    else return;
    this.help.replaceChildren(...helpList(this.advice, this.problems, this.sent, this.retake));
  }

  /** Nothing more will come: says so on the cards that stayed empty. */
  finish(reason) {
    for (const card of this.cards.values()) {
      if (!card.element.hasAttribute("aria-busy")) continue;
      card.element.removeAttribute("aria-busy");
      card.element.classList.remove("waiting-card");
      card.body.replaceChildren(h("p", { class: "missing" }, reason));
    }
  }
}

/** What to say at the end of an analysis. */
export function summary(packet) {
  const list = (names) => names.map((name) => NAMES[name] ?? name).join(", ");
  const parts = [`Done in ${(packet.processingTime / 1000).toFixed(1)} s.`];
  if (packet.degraded.length) parts.push(`Simplified for lack of time: ${list(packet.degraded)}.`);
  if (packet.missing.length) parts.push(`Not available: ${list(packet.missing)}.`);
  return parts.join(" ");
}

function sayVerdict(packet) {
  return `${verdictInWords(packet)}, rating ${packet.authenticityRating} of 100.`;
}

function sayPrice({ estimate }) {
  return estimate ? `${money(estimate.median, estimate.currency)}, if genuine.` : "No price.";
}

/** {view: [text]} from a packet's details, whatever they hold. */
function problemsOf(photos) {
  const problems = {};
  for (const view of Object.keys(VIEWS)) {
    const found = photos?.[view]?.problems;
    if (Array.isArray(found) && found.length) problems[view] = found.map(String);
  }
  return problems;
}

function characterCard(packet, { pictures, catalogPicture }) {
  const [best, ...others] = packet.candidates;
  const compare = best && pictures.front && (packet.identified || best.score >= ALIKE) ? pair(packet, best, pictures.front, catalogPicture) : null;
  const likely = (packet.identified ? others : packet.candidates).filter((candidate) => candidate.score >= UNLIKELY);
  const list = likely.length > 0 &&
    h("ol", { class: "candidates", "aria-label": "Candidates" }, likely.map((candidate) => candidateRow(candidate, catalogPicture)));
  return [
    compare,
    fragment(packet.identification),
    list && packet.identified ? h("details", {}, h("summary", {}, `Others that were considered (${likely.length})`), list) : list,
  ];
}

function candidateRow(candidate, catalogPicture) {
  const percent = Math.round(candidate.score * 100);
  return h("li", {}, catalogImage(candidate, catalogPicture),
    h("div", {}, h("strong", {}, candidate.name), h("span", {}, candidate.characters),
      h("small", {}, [candidate.series, candidate.year].filter(Boolean).join(", "))),
    h("span", { class: "score" }, percent < 1 ? "under 1 %" : `${percent} %`));
}

function pair(packet, candidate, picture, catalogPicture) {
  const mine = scaled(picture, 320);
  mine.setAttribute("role", "img");
  mine.setAttribute("aria-label", "Your photograph");
  return h("div", { class: "pair" },
    h("figure", {}, mine, h("figcaption", {}, "Yours")),
    h("figure", {}, catalogImage(candidate, catalogPicture), h("figcaption", {}, packet.identified ? "Catalogue" : "Most similar")));
}

function catalogImage(candidate, catalogPicture) {
  const image = h("img", { class: "catalog-picture", alt: "", hidden: true });
  const place = h("span", { class: "catalog-place" }, image);
  catalogPicture(candidate.pinId, "front").then((url) => {
    if (!url) return;
    image.alt = `Catalogue picture of ${candidate.name}`;
    image.src = url;
    image.hidden = false;
  });
  return place;
}

function priceCard(packet) {
  const { estimate } = packet;
  const sales = (packet.sales ?? []).filter((sale) => !estimate || sale.currency === estimate.currency);
  return [
    estimate &&
      h("p", { class: "price" }, h("strong", {}, money(estimate.median, estimate.currency)),
        h("span", {}, `usually ${money(estimate.low, estimate.currency)} to ${money(estimate.high, estimate.currency)}`)),
    sales.length > 1 && priceChart(sales, estimate),
    fragment(packet.pricing),
  ];
}

function detailCard(packet) {
  const colours = Array.isArray(packet.details.colours) ? packet.details.colours : [];
  const swatches = colours.filter((colour) => /^#[0-9a-f]{6}$/i.test(colour?.hex ?? "")).map((colour) => {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.backgroundColor = colour.hex;
    return h("li", {}, swatch, colour.name ?? colour.hex);
  });
  return [swatches.length > 0 && h("ul", { class: "swatches", "aria-label": "Colours" }, swatches), fragment(packet.analysis)];
}

function displayCard(packet, { pictures }) {
  const html = { front: packet.frontHtml, back: packet.backHtml, angled: packet.angledHtml };
  return [h("div", { class: "views" }, Object.keys(VIEWS).filter((view) => html[view]).map((view) => {
    const picture = pictures[view] && scaled(pictures[view], 240);
    if (picture) {
      picture.setAttribute("role", "img");
      picture.setAttribute("aria-label", `${capitalised(VIEWS[view])} photograph`);
    }
    return h("div", { class: "view" }, picture, fragment(html[view]));
  }))];
}

export { verdictInWords };
