/** A result: the answer on top, then the three most important findings, and everything else in folds. */

import { h } from "../dom.js";
import { Findings, everyFinding } from "./findings.js";
import { Folds } from "./folds.js";
import { Hero } from "./hero.js";
import { Strip } from "./strip.js";
import { money, verdictInWords } from "./words.js";

/** The components' packet types, each with its announcement for screen readers. */
const SAID = {
  AUTHENTICATION_RESULT: (packet) => `Genuine? ${verdictInWords(packet)}, rating ${packet.authenticityRating} of 100.`,
  CHARACTER_IDENTIFICATION: (packet) => `Which pin? ${packet.identified ? packet.candidates[0].name : "Not identified"}.`,
  PRICING_ANALYSIS: ({ estimate }) => `Worth? ${estimate ? `${money(estimate.median, estimate.currency)}, if genuine` : "No price"}.`,
  DETAILED_ANALYSIS: () => "What is stamped and measured has arrived.",
  HTML_DISPLAY_DATA: () => "What the photographs show has arrived.",
};

/**
 * A board in `root`. `pictures` are canvases and `boxes` the pin's boxes in them, by view; `catalogPicture(pinId, view)`
 * resolves to a URL, `catalogCanvas` to a canvas, or null if there is none; `actions` are the handlers `share`, `name`, `photographs`,
 * `stop`; `retake(view)` opens that photograph's place (null if it cannot be retaken).
 */
export class Board {
  constructor(root, context) {
    this.in = new Set();
    this.strip = new Strip(context.actions.stop);
    this.hero = new Hero({ ...context, strip: this.strip.element });
    this.findings = new Findings(context);
    this.folds = new Folds(context);
    this.feedback = h("div", { id: "feedback-place" });
    root.replaceChildren(
      h("div", { class: "answer" }, this.hero.element),
      h("div", { class: "reasons" }, this.findings.element, this.folds.element, this.feedback));
  }

  /** Number of results that have arrived, and of all results. */
  get progress() {
    return [this.in.size, Object.keys(SAID).length];
  }

  /** Shows a packet; returns the announcement for screen readers, or null. */
  show(packet) {
    const type = packet.packetType;
    if (!SAID[type]) return null;
    this.in.add(type);
    if (type === "AUTHENTICATION_RESULT") {
      this.hero.showVerdict(packet);
      const sorted = this.findings.show(packet);
      this.folds.fill("findings", everyFinding(packet, sorted), `${sorted.weighed.length} weighed`);
      this.folds.advise(packet);
    } else if (type === "CHARACTER_IDENTIFICATION") {
      this.hero.showName(packet);
      this.findings.identified(packet.identified ? packet.candidates[0] : null);
      this.folds.showPin(packet);
    } else if (type === "PRICING_ANALYSIS") {
      this.hero.showPrice(packet);
      this.folds.showPrice(packet);
    } else if (type === "DETAILED_ANALYSIS") {
      this.folds.showDetails(packet);
    } else {
      this.folds.showPhotographs(packet);
    }
    return SAID[type](packet);
  }

  /** Shows `reason` in the places that stayed empty. `complete`: there is a result to share. */
  finish(reason, complete) {
    this.hero.finish(reason, complete);
    this.findings.finish(reason);
    if (!this.in.has("CHARACTER_IDENTIFICATION")) this.findings.identified(null);
    this.folds.finish(reason);
    this.strip.end();
  }
}
