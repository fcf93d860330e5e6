/** Folds with everything besides the answer. Each takes one line from the start until it is opened. */

import { dialog, h, icon, loading } from "../dom.js";
import { scaled } from "../capture/photographs.js";
import { priceChart } from "./charts.js";
import { marked } from "./findings.js";
import { fragment } from "./fragments.js";
import { ALIKE } from "./hero.js";
import { VIEWS, boxOf, capitalised } from "./words.js";

const TITLES = {
  help: "What would make it more certain",
  findings: "Every finding",
  pin: "The pin",
  price: "The price",
  details: "Stamped and measured",
  photographs: "The photographs",
};

/** Score below which a candidate is not listed. */
const UNLIKELY = 0.005;

export class Folds {
  constructor({ pictures, catalogPicture, retake }) {
    Object.assign(this, { pictures, catalogPicture, retake });
    this.sent = Object.keys(pictures);
    this.advice = null;
    this.problems = {};
    this.folds = Object.fromEntries(Object.entries(TITLES).map(([name, title]) => {
      const teaser = h("span", { class: "teaser" }, "…");
      const body = h("div", { class: "fold-body" }, h("p", { class: "waiting" }, "Still to come."));
      const element = h("details", { class: `fold fold-${name}`, "aria-busy": "true" }, h("summary", {}, h("span", {}, title), teaser), body);
      return [name, { element, teaser, body }];
    }));
    this.element = h("section", { class: "folds", "aria-label": "More about it" }, Object.values(this.folds).map(({ element }) => element));
  }

  fill(name, content, teaser) {
    const fold = this.folds[name];
    fold.element.removeAttribute("aria-busy");
    fold.body.replaceChildren(...content.flat().filter(Boolean));
    fold.teaser.textContent = teaser;
  }

  finish(reason) {
    for (const [name, { element }] of Object.entries(this.folds)) {
      if (element.hasAttribute("aria-busy")) this.fill(name, [h("p", { class: "missing" }, reason)], "–");
    }
  }

  showPin(packet) {
    const [best, ...others] = packet.candidates;
    const compare = best && this.pictures.front && (packet.identified || best.score >= ALIKE);
    const likely = (packet.identified ? others : packet.candidates).filter((candidate) => candidate.score >= UNLIKELY);
    const also = (packet.alsoSeen ?? []).filter((one) => boxOf(one.box));
    this.fill("pin", [
      compare && h("div", { class: "sides" },
        side(described(scaled(this.pictures.front, 480), "Your photograph"), "Yours"),
        side(this.catalogImage(best), packet.identified ? "Catalogue" : "Most similar")),
      fragment(packet.identification),
      likely.length > 0 && h("h3", {}, packet.identified ? "Others that were considered" : "Similar pins"),
      likely.length > 0 && h("ol", { class: "candidates" }, likely.map((candidate) => this.candidateRow(candidate))),
      also.length > 0 && this.alsoSeen(also),
      suggested(packet.suggestions),
    ], also.length ? `${also.length} more in the picture` : packet.identified ? "identified" : "not identified");
  }

  /** Other catalogued pins in the picture, with their boxes. */
  alsoSeen(also) {
    return [
      h("h3", {}, "Also in the picture"),
      this.pictures.front && marked(this.pictures.front, also.map((one) => boxOf(one.box))),
      h("ol", { class: "candidates numbered" }, also.map((one) => this.candidateRow({ characters: "", ...one }))),
    ];
  }

  candidateRow(candidate) {
    const percent = Math.round(candidate.score * 100);
    return h("li", {}, this.catalogImage(candidate),
      h("div", {}, h("strong", {}, candidate.name), candidate.characters !== candidate.name && h("span", {}, candidate.characters),
        h("small", {}, [candidate.series, candidate.year].filter(Boolean).join(", "))),
      h("span", { class: "score" }, percent < 1 ? "under 1 %" : `${percent} %`));
  }

  catalogImage(candidate) {
    return catalogImage(candidate, this.catalogPicture);
  }

  showPrice(packet) {
    const { estimate } = packet;
    const sales = (packet.sales ?? []).filter((sale) => !estimate || sale.currency === estimate.currency);
    const count = estimate?.sampleSize ?? sales.length;
    this.fill("price", [sales.length > 0 && priceChart(sales, estimate), fragment(packet.pricing)],
      count ? `${count} ${count === 1 ? "sale" : "sales"}` : "no sales");
  }

  showDetails(packet) {
    const colours = Array.isArray(packet.details.colours) ? packet.details.colours : [];
    const swatches = colours.filter((colour) => /^#[0-9a-f]{6}$/i.test(colour?.hex ?? "")).map((colour) => {
      const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.backgroundColor = colour.hex;
      return h("li", {}, swatch, colour.name ?? colour.hex);
    });
    const code = packet.details.factoryCode ?? packet.details.brand;
    this.fill("details", [fragment(packet.analysis), swatches.length > 0 && h("ul", { class: "swatches", "aria-label": "Colours" }, swatches),
      suggested(packet.suggestions)],
      typeof code === "string" ? code : "");
    this.problems = problemsOf(packet.details.photos);
    this.updateHelp();
  }

  showPhotographs(packet) {
    const html = { front: packet.frontHtml, back: packet.backHtml, angled: packet.angledHtml };
    const views = Object.keys(VIEWS).filter((view) => html[view]);
    this.fill("photographs", [h("div", { class: "views" }, views.map((view) => {
      const picture = this.pictures[view];
      return h("div", { class: "view" },
        picture && h("button", { type: "button", class: "whole", "aria-label": `Enlarge the ${VIEWS[view]} photograph`,
          onclick: () => enlarge(picture, view) }, scaled(picture, 300)),
        fragment(html[view]));
    }))], String(views.length));
  }

  advise(packet) {
    this.advice = packet.advice ?? [];
    this.updateHelp();
  }

  /** Shows which photograph would help: the server's advice, and each view's problems with a button to retake it. */
  updateHelp() {
    if (!this.advice) return; // the verdict's advice has not arrived
    const views = Object.keys(VIEWS).filter((view) => this.problems[view] || (this.sent.length > 0 && !this.sent.includes(view) && view !== "front"));
    const said = views.flatMap((view) => this.problems[view] ?? []);
    const rest = this.advice.filter((text) => !said.some((problem) => text.includes(problem)));
    const content = [
      rest.length > 0 && h("ul", { class: "advice" }, rest.map((text) => h("li", {}, text))),
      ...views.map((view) => h("div", { class: "help-view" },
        h("div", {}, h("strong", {}, capitalised(VIEWS[view])),
          ...(this.problems[view] ?? ["There is no photograph of it yet."]).map((text) => h("p", {}, text))),
        this.retake && h("button", { type: "button", "data-retake": view, onclick: () => this.retake(view),
          "aria-label": `${this.problems[view] ? "Retake" : "Add"} the ${VIEWS[view]} photograph` }, this.problems[view] ? "Retake" : "Add"))),
    ];
    const count = rest.length + views.length;
    this.fill("help", count ? content : [h("p", {}, "No other photograph would help much.")], count ? `${count} ${count === 1 ? "hint" : "hints"}` : "nothing");
    this.folds.help.element.classList.toggle("wanted", count > 0);
  }
}

/** Suggestions of a second engine, marked as not verified. */
function suggested(suggestions) {
  if (!suggestions?.length) return [];
  return [h("h3", {}, "Suggestions, not verified"), h("ul", { class: "suggestions" }, suggestions.map((one) =>
    h("li", {}, one.text, h("small", {}, [one.kind, one.source].filter(Boolean).join(" · ")))))];
}

export function catalogImage(candidate, catalogPicture) {
  const image = h("img", { class: "catalog-picture", alt: "", hidden: true });
  const place = h("span", { class: "catalog-place" }, image);
  void loading(place, () => catalogPicture(candidate.pinId, "front"), (url) => {
    place.replaceChildren(image);
    if (!url) return;
    image.alt = `Catalogue picture of ${candidate.name}`;
    image.src = url;
    image.hidden = false;
  });
  return place;
}

function enlarge(picture, view) {
  const title = `${capitalised(VIEWS[view])} photograph`;
  dialog(title, (close) => [
    h("header", { class: "dialog-head" }, h("h2", {}, title), h("button", { type: "button", class: "tool", "aria-label": "Close", onclick: close }, icon("close"))),
    h("div", { class: "marked" }, described(scaled(picture, 1600), `Your ${VIEWS[view]} photograph`)),
  ], { wide: true });
}

function described(canvas, label) {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  return canvas;
}

const side = (content, caption) => h("figure", {}, content, h("figcaption", {}, caption));

/** {view: [text]} from a packet's details; ignores values of other types. */
function problemsOf(photos) {
  const problems = {};
  for (const view of Object.keys(VIEWS)) {
    const found = photos?.[view]?.problems;
    if (Array.isArray(found) && found.length) problems[view] = found.map(String);
  }
  return problems;
}

