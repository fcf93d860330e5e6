/** Card "Is this right?": sends agreement or disagreement with an analysis, and corrections, to the server. */

import { h } from "../dom.js";
import { PinactorsError, confirm } from "../pinactors.js";
import { capitalised, listed } from "./words.js";

const WRONG = { pin: "The pin", price: "The price", verdict: "The verdict" };

/**
 * A card for the analysis that ended with `packet` (ANALYSIS_COMPLETE). `key()` is the access key, `name()` opens the
 * dialog to name the pin, `pin()` is the pin that was named (`{pinId, name}`), null before. `agreed` is the answer given
 * before, undefined if there is none; `told(agrees)` is called after the server has a new one.
 */
export function feedbackCard(packet, { key, name, pin, agreed, told }) {
  const comment = h("textarea", { id: "comment", rows: 2, maxlength: 1800 });
  const answer = h("p", { role: "status", class: "hint" });
  const verdict = h("select", { id: "right-verdict" }, h("option", { value: "" }, "I cannot say"), h("option", { value: "authentic" }, "It is genuine"), h("option", { value: "counterfeit" }, "It is counterfeit"));
  const price = h("input", { id: "right-price", type: "number", min: "0.01", max: "1000000", step: "0.01", inputmode: "decimal" });
  /** The questions about each wrong part, shown once it is ticked. */
  const asked = {
    verdict: h("div", { hidden: true }, h("label", { for: "right-verdict" }, "What is right"), verdict),
    price: h("div", { hidden: true }, h("label", { for: "right-price" }, "What it sells for, in US dollars (if you know)"), price),
  };
  const boxes = Object.entries(WRONG).map(([value, label]) => {
    const box = h("input", { type: "checkbox", value, onchange: () => value in asked && (asked[value].hidden = !box.checked) });
    return { box, value, element: h("label", { class: "choice" }, box, label) };
  });
  const which = h("fieldset", { hidden: true }, h("legend", {}, "What is wrong?"), h("div", { class: "actions" }, boxes.map(({ element }) => element)),
    h("div", { class: "asked" }, asked.verdict, asked.price),
    h("label", { for: "comment" }, "In your words (if you like)"), comment,
    h("div", { class: "actions" }, h("button", { type: "button", class: "primary", id: "save-wrong", onclick: () => void disagree() }, "Save"),
      h("button", { type: "button", class: "quiet", onclick: name }, "Say which pin it is")));
  const agree = h("button", { type: "button", "data-agreement": "agree", "aria-pressed": "false", onclick: () => {
    which.hidden = true;
    void save(true, "");
  } }, "Yes, I agree");
  const disagreeing = h("button", { type: "button", "data-agreement": "disagree", "aria-pressed": "false", "aria-expanded": "false", onclick: () => {
    which.hidden = !which.hidden;
    disagreeing.setAttribute("aria-expanded", String(!which.hidden));
    if (!which.hidden) boxes[0].box.focus();
  } }, "No, I disagree");

  function disagree() {
    const wrong = boxes.filter(({ box }) => box.checked).map(({ value }) => value);
    if (!price.checkValidity()) {
      price.reportValidity();
      return undefined;
    }
    const corrected = { correctedVerdict: (!asked.verdict.hidden && verdict.value) || undefined, correctedPrice: (!asked.price.hidden && price.valueAsNumber) || undefined };
    return save(false, [wrong.length ? `Wrong: ${wrong.join(", ")}.` : "", comment.value.trim()].filter(Boolean).join(" "),
      corrected, wrong.length ? `${capitalised(listed(wrong))}: noted.` : "");
  }

  async function save(agrees, words, corrected = {}, said = "") {
    answer.textContent = "Saving …";
    try {
      await tell(packet, agrees, words, key, agrees ? corrected : { correctedPinId: pin()?.pinId ?? undefined, ...corrected });
      press(card, agrees);
      told(agrees);
      answer.textContent = `${said} Saved. Thank you; you can change it at any time.`.trim();
    } catch (error) {
      answer.textContent = error instanceof PinactorsError ? error.message : "Not saved: no connection. Please try again.";
    }
  }

  const card = h("section", { class: "card feedback", "aria-labelledby": "feedback-heading" }, h("h2", { id: "feedback-heading" }, "Is this right?"),
    h("p", {}, "Your answer helps to measure how often the analysis is right."), h("div", { class: "actions" }, agree, disagreeing), which, answer);
  if (agreed !== undefined) press(card, agreed);
  return card;
}

/** Shows which answer was given, in the card inside `root`. */
export function press(root, agrees) {
  for (const button of root.querySelectorAll("[data-agreement]")) {
    button.setAttribute("aria-pressed", String((button.dataset.agreement === "agree") === agrees));
  }
}

/** Sends feedback on an analysis; `corrected` has the correct values. */
export function tell(packet, agree, comment, key, corrected = {}) {
  return confirm({ recordNumber: packet.id, pinId: packet.sessionId, agree, comment, ...corrected }, { apiKey: key() });
}
