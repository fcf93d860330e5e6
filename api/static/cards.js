/** The results as cards: each waits until its packet is there, and then says it. */

import { gauge, money, priceChart } from "./charts.js";
import { h } from "./dom.js";
import { fragment } from "./fragments.js";
import { cut } from "./photographs.js";

const VERDICTS = {
  authentic: ["✓", "Looks genuine"],
  counterfeit: ["✕", "Looks counterfeit"],
  undetermined: ["?", "Undetermined"],
  not_a_pin: ["–", "This does not look like a pin"],
};
const VIEWS = { front: "front", back: "back", angled: "tilted" };
const NAMES = {
  authenticity: "authenticity", characters: "characters", pricing: "price", details: "details", display: "photographs",
};

/** A log10 likelihood ratio below which a finding says next to nothing. */
const SLIGHT = 0.1;

const CARDS = [
  { type: "AUTHENTICATION_RESULT", component: "authenticity", title: "Genuine?", draw: verdictCard },
  { type: "CHARACTER_IDENTIFICATION", component: "characters", title: "Who is on it?", draw: characterCard },
  { type: "PRICING_ANALYSIS", component: "pricing", title: "What is it worth?", draw: priceCard },
  { type: "DETAILED_ANALYSIS", component: "details", title: "Details", draw: detailCard },
  { type: "HTML_DISPLAY_DATA", component: "display", title: "The photographs", draw: displayCard },
];

/**
 * A board of cards in `root`. `pictures` are canvases by view (null in the history), `catalogPicture(pinId, view)`
 * resolves to a URL or null, `highlight(box | null)` marks a region on the photographs above.
 */
export class Board {
  constructor(root, { pictures = {}, catalogPicture, highlight }) {
    this.context = { pictures, catalogPicture, highlight };
    this.started = performance.now();
    this.cards = new Map();
    root.replaceChildren();
    for (const card of CARDS) {
      const time = h("span", { class: "arrival" });
      const body = h("div", { class: "card-body" }, h("p", { class: "waiting" }, "Waiting for this result …"));
      const element = h("article", { class: "card waiting-card", "data-type": card.type, "aria-busy": "true" },
        h("header", {}, h("h3", {}, card.title), time), body);
      this.cards.set(card.type, { ...card, element, body, time });
      root.append(element);
    }
  }

  /** Shows a packet; `live` false for one out of the history, whose arrival time says nothing. */
  show(packet, live = true) {
    const card = this.cards.get(packet.packetType);
    if (!card) return;
    card.body.replaceChildren(...card.draw(packet, this.context).filter(Boolean));
    card.element.classList.remove("waiting-card");
    card.element.removeAttribute("aria-busy");
    if (live) card.time.textContent = `after ${((performance.now() - this.started) / 1000).toFixed(1)} s`;
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
  if (packet.degraded.length) parts.push(`Simplified: ${list(packet.degraded)}.`);
  if (packet.missing.length) parts.push(`Not available: ${list(packet.missing)}.`);
  return parts.join(" ");
}

export function verdictInWords(packet) {
  return VERDICTS[packet.verdict]?.[1] ?? "Undetermined";
}

function verdictCard(packet, context) {
  const [sign] = VERDICTS[packet.verdict] ?? ["?"];
  const weighed = packet.evidence
    .filter((row) => row.assessed)
    .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
  const open = packet.evidence.filter((row) => !row.assessed);
  const rows = (evidence) => evidence.map((row) => evidenceRow(row, context));
  const slight = weighed.filter((row) => Math.abs(row.weight) < SLIGHT);
  const decided = packet.note !== "Analysis timed out" && packet.verdict !== "not_a_pin";
  return [
    h("p", { class: `verdict verdict-${packet.verdict}` }, h("span", { class: "sign", "aria-hidden": "true" }, sign),
      verdictInWords(packet)),
    decided && gauge(packet.authenticityRating, packet.confidence, packet.verdict),
    packet.note && h("p", { class: "note" }, packet.note),
    packet.advice?.length &&
      h("div", { class: "advice" }, h("h4", {}, "What would help"), h("ul", {}, packet.advice.map((text) => h("li", {}, text)))),
    weighed.length
      ? h("ul", { class: "evidence", "aria-label": "Evidence" }, rows(weighed.filter((row) => !slight.includes(row))))
      : h("p", { class: "missing" }, "No finding could be weighed."),
    slight.length &&
      h("details", {}, h("summary", {}, `Of little weight (${slight.length})`), h("ul", { class: "evidence" }, rows(slight))),
    open.length &&
      h("details", {}, h("summary", {}, `Could not be assessed (${open.length})`),
        h("ul", { class: "unassessed" }, open.map((row) => h("li", {}, h("strong", {}, words(row.name)), " ", row.finding)))),
  ];
}

function evidenceRow(row, { pictures, highlight }) {
  const picture = row.box && pictures[row.box.view];
  const direction = row.weight > 0 ? "for" : row.weight < 0 ? "against" : "neutral";
  const size = Math.min(100, (Math.abs(row.weight) / 1.2) * 100);
  const bar = h("span", { class: "bar-fill" });
  bar.style.width = `${size}%`;
  let region = null;
  if (picture) {
    const image = cut(picture, row.box);
    image.setAttribute("role", "img");
    image.setAttribute("aria-label", `Region on the ${VIEWS[row.box.view]} photograph`);
    region = h("button", { class: "region", type: "button", title: "Show where",
      onfocus: () => highlight(row.box), onmouseenter: () => highlight(row.box), onclick: () => highlight(row.box, true),
      onblur: () => highlight(null), onmouseleave: () => highlight(null) }, image);
  }
  return h("li", { class: `evidence-row ${direction}${region ? " located" : ""}` },
    region,
    h("div", {},
      h("strong", {}, words(row.name)), h("p", {}, row.finding),
      h("span", { class: "bar", role: "img", "aria-label": `Weight ${row.weight.toFixed(2)}, ${direction}` }, bar),
      h("span", { class: "weight" }, direction === "neutral" ? "no weight" : `speaks ${direction} (${row.weight > 0 ? "+" : "−"}${Math.abs(row.weight).toFixed(2)})`)));
}

function characterCard(packet, { pictures, catalogPicture }) {
  const best = packet.candidates[0];
  const compare = best && pictures.front ? pair(best, pictures.front, catalogPicture) : null;
  return [
    fragment(packet.identification),
    compare,
    packet.candidates.length > 0 &&
      h("ol", { class: "candidates", "aria-label": "Candidates" }, packet.candidates.map((candidate) =>
        h("li", {}, catalogImage(candidate, catalogPicture),
          h("div", {}, h("strong", {}, candidate.name), h("span", {}, candidate.characters),
            h("small", {}, [candidate.series, candidate.year].filter(Boolean).join(", "))),
          h("meter", { min: 0, max: 1, value: candidate.score, "aria-label": `Score ${Math.round(candidate.score * 100)} percent` })))),
  ];
}

function pair(candidate, picture, catalogPicture) {
  const mine = cut(picture, { x: 0, y: 0, width: 1, height: 1 }, 220);
  mine.setAttribute("role", "img");
  mine.setAttribute("aria-label", "Your photograph");
  return h("div", { class: "pair" },
    h("figure", {}, mine, h("figcaption", {}, "Yours")),
    h("figure", {}, catalogImage(candidate, catalogPicture), h("figcaption", {}, "Catalogue")));
}

function catalogImage(candidate, catalogPicture) {
  const image = h("img", { class: "catalog-picture", alt: "", hidden: true, loading: "lazy" });
  catalogPicture(candidate.pinId, "front").then((url) => {
    if (!url) return;
    image.alt = `Catalogue picture of ${candidate.name}`;
    image.src = url;
    image.hidden = false;
  });
  return image;
}

function priceCard(packet) {
  const { estimate } = packet;
  const sales = (packet.sales ?? []).filter((sale) => !estimate || sale.currency === estimate.currency);
  return [
    estimate &&
      h("p", { class: "price" }, h("strong", {}, money(estimate.median, estimate.currency)),
        h("span", {}, ` ${money(estimate.low, estimate.currency)} – ${money(estimate.high, estimate.currency)}`)),
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
  return [fragment(packet.analysis), swatches.length > 0 && h("ul", { class: "swatches", "aria-label": "Colours" }, swatches)];
}

function displayCard(packet) {
  return [packet.frontHtml, packet.backHtml, packet.angledHtml].filter(Boolean).map(fragment);
}

const words = (name) => {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
};
