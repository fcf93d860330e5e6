/** The answer on one screen: picture, name, verdict and price, in places that do not move while packets arrive. */

import { pinBox } from "../capture/outline.js";
import { cut, scaled } from "../capture/photographs.js";
import { h, icon } from "../dom.js";
import { gauge } from "./charts.js";
import { VIEWS, boxOf, capitalised, evidenceView, judged, money, reading, verdictInWords, verdictSign } from "./words.js";

/** Score from which the best candidate is named and shown although no pin was identified. */
export const ALIKE = 0.1;

const waiting = (text) => h("p", { class: "waiting" }, text);

export class Hero {
  /** `pictures` and `boxes` by view; `actions` are the handlers `share`, `name`, `photographs`. */
  constructor({ pictures, boxes, strip, actions }) {
    this.boxes = boxes;
    /** The identified pin, and the one that the user named; null if there is none. */
    this.claimed = this.named = null;
    this.stage = stage(pictures, boxes);
    this.name = h("h1", { id: "results-heading", tabindex: -1 }, "Which pin is it?");
    this.facts = h("p", { class: "facts" }, "Comparing with the catalogue …");
    this.verdict = h("div", { class: "hero-verdict", "data-type": "AUTHENTICATION_RESULT", "aria-busy": "true" },
      gauge(null), h("div", {}, h("p", { class: "verdict" }, "Genuine?"), waiting("Weighing the evidence …")));
    this.price = h("div", { class: "hero-price", "data-type": "PRICING_ANALYSIS", "aria-busy": "true" },
      h("p", { class: "price-label" }, "What is it worth?"), waiting("Looking up sales …"));
    this.words = h("div", { class: "hero-name", "data-type": "CHARACTER_IDENTIFICATION", "aria-busy": "true" }, this.name, this.facts);
    this.share = h("button", { id: "share", type: "button", disabled: true, onclick: actions.share }, icon("share"), "Share");
    this.other = h("button", { id: "not-this", type: "button", disabled: true, onclick: actions.name }, icon("search"), "Wrong pin?");
    this.change = h("button", { id: "change", type: "button", onclick: actions.photographs }, icon("camera"), "Photographs");
    this.element = h("article", { id: "hero", class: "card hero" }, strip,
      this.stage.element, this.words, this.verdict, this.price,
      h("div", { class: "hero-actions" }, this.share, this.other, this.change));
  }

  showName(packet) {
    const best = packet.candidates[0];
    arrived(this.words);
    this.claimed = packet.identified ? best : null;
    if (packet.identified) {
      this.call(best.name, [best.series, best.year, packet.characters !== best.name && packet.characters].filter(Boolean).join(" · "));
    } else {
      this.call("Not identified", best?.score >= ALIKE ? `Most similar: ${best.name}` : "No pin is clearly similar.");
      this.other.lastChild.data = "Find it";
      this.other.classList.add("suggested");
    }
    this.other.disabled = false;
    this.several = packet.alsoSeen?.length > 0;
    this.reframe();
  }

  call(name, facts) {
    this.name.textContent = name;
    this.name.title = name;
    this.facts.textContent = facts;
  }

  /** Shows the pin that the user named: the verdict and the price may be about another one. */
  rename(pin) {
    this.named = pin;
    this.call(pin.name, "Named by you");
    if (this.judgement) this.showVerdict(this.judgement);
    if (this.estimate !== undefined) this.showPrice(this.estimate);
  }

  /** The name of the identified pin if the user named another one; else null. */
  get mistaken() {
    return this.named && this.claimed && this.named.pinId !== this.claimed.pinId ? this.claimed.name : null;
  }

  showVerdict(packet) {
    arrived(this.verdict);
    this.judgement = packet;
    this.counterfeit = packet.verdict === "counterfeit";
    if (this.estimate !== undefined) this.showPrice(this.estimate);
    this.verdict.replaceChildren(
      judged(packet) ? gauge(packet) : gauge(null),
      h("div", {},
        h("p", { class: `verdict verdict-${packet.verdict}` }, h("span", { class: "sign", "aria-hidden": "true" }, verdictSign(packet)), verdictInWords(packet)),
        h("p", { class: "reading" }, this.mistaken ? `Compared with ${this.mistaken}.` : reading(packet))));
    this.regions = packet.evidence.filter((row) => evidenceView(row) === "front").map((row) => boxOf(row.region)).filter(Boolean);
    this.reframe();
  }

  /** If the front shows several pins, shows what the evidence is about, or the whole: its box, estimated from pixels, may be another pin's. */
  reframe() {
    if (!this.several || this.boxes.front?.sure === undefined) return; // without `sure` it is the camera's outline
    this.boxes.front = this.regions?.length ? around(this.regions) : { sure: false };
    this.stage.show();
  }

  /** Shows the price. For a counterfeit it says that the price is a genuine pin's, whichever packet arrives first; another pin's price is not shown. */
  showPrice(packet) {
    arrived(this.price);
    this.estimate = packet;
    const estimate = this.mistaken ? null : packet.estimate;
    const why = this.mistaken ? `Sales were looked up for ${this.mistaken}.` : packet.reason ?? "";
    this.price.replaceChildren(...(estimate
      ? [h("p", { class: "price-label" }, this.counterfeit ? "A genuine one sells for" : "If genuine, it sells for"),
         h("p", { class: "price" }, money(estimate.median, estimate.currency)),
         h("p", { class: "range" }, `usually ${money(estimate.low, estimate.currency)} to ${money(estimate.high, estimate.currency)}`)]
      : [h("p", { class: "price none" }, "No price"), h("p", { class: "why" }, why)]));
  }

  /** Shows `reason` in the places that stayed empty. */
  finish(reason, complete) {
    for (const place of [this.words, this.verdict, this.price]) {
      if (!place.hasAttribute("aria-busy")) continue;
      arrived(place);
      const open = place.querySelector(".waiting, .facts");
      if (open) open.textContent = reason;
    }
    this.share.disabled = !complete;
  }
}

function arrived(place) {
  if (!place.hasAttribute("aria-busy")) return;
  place.removeAttribute("aria-busy");
  place.classList.add("arrived");
}

/** The smallest box that holds all of `boxes`. */
function around(boxes) {
  const [x, y] = [Math.min(...boxes.map((one) => one.x)), Math.min(...boxes.map((one) => one.y))];
  return {
    x, y,
    width: Math.max(...boxes.map((one) => one.x + one.width)) - x,
    height: Math.max(...boxes.map((one) => one.y + one.height)) - y,
  };
}

/** Shows the photographs, cropped to the pin, one at a time. Returns the element, and `show`, which draws the photograph shown again. */
function stage(pictures, boxes) {
  const views = Object.keys(VIEWS).filter((view) => pictures[view]);
  const screen = h("div", { class: "stage-screen" });
  if (!views.length) {
    screen.append(h("p", { class: "no-preview" }, "This browser cannot show the photographs; the server can read them."));
    return { element: h("div", { class: "stage" }, screen), show() {} };
  }
  const tabs = views.map((view) => h("button", { type: "button", class: "tab", onclick: () => show(view) }, h("span", {}, capitalised(VIEWS[view]))));
  let shown = views[0];
  function show(view = shown) {
    shown = view;
    const picture = cropped(pictures[view], boxes[view]);
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", `Your ${VIEWS[view]} photograph`);
    screen.replaceChildren(picture);
    tabs.forEach((tab, index) => tab.setAttribute("aria-pressed", String(views[index] === view)));
  }
  show();
  const element = h("div", { class: "stage" }, screen,
    views.length > 1 && h("div", { class: "tabs", role: "group", "aria-label": "Photograph shown" }, tabs));
  return { element, show };
}

/** Approximate ratio of width to height of the picture's place. */
const SHAPE = 1.5;

/** A picture cropped to its pin, in the shape of its place if the picture is large enough; uncropped without a pin. */
export function cropped(picture, box = pinBox(picture), side = 1000) {
  if (box.sure === false) return scaled(picture, side);
  const width = Math.min(1, Math.max(box.width, (box.height * picture.height * SHAPE) / picture.width));
  const height = Math.min(1, Math.max(box.height, (box.width * picture.width) / SHAPE / picture.height));
  const x = Math.min(1 - width, Math.max(0, box.x + (box.width - width) / 2));
  const y = Math.min(1 - height, Math.max(0, box.y + (box.height - height) / 2));
  return cut(picture, { x, y, width, height }, { side, margin: 0.03 });
}
