/** "Is this right?": agreement or disagreement with an analysis, and what is wrong, saved on the server. */

import { h } from "../dom.js";
import { PinactorsError, confirm } from "../pinactors.js";
import { capitalised, listed } from "./words.js";

const WRONG = { pin: "The pin", price: "The price", verdict: "The verdict" };

/** A card for the analysis that `packet` (ANALYSIS_COMPLETE) ended; `key()` is the access key, `name()` leads to naming the pin. */
export function feedbackCard(packet, { key, name }) {
  const comment = h("textarea", { id: "comment", rows: 2, maxlength: 1800 });
  const answer = h("p", { role: "status", class: "hint" });
  const boxes = Object.entries(WRONG).map(([value, label]) => {
    const box = h("input", { type: "checkbox", value });
    return { box, value, element: h("label", { class: "choice" }, box, label) };
  });
  const which = h("fieldset", { hidden: true }, h("legend", {}, "What is wrong?"), h("div", { class: "actions" }, boxes.map(({ element }) => element)),
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
    return save(false, [wrong.length ? `Wrong: ${wrong.join(", ")}.` : "", comment.value.trim()].filter(Boolean).join(" "),
      wrong.length ? `${capitalised(listed(wrong))}: noted.` : "");
  }

  async function save(agrees, words, said = "") {
    answer.textContent = "Saving …";
    try {
      await tell(packet, agrees, words, key);
      agree.setAttribute("aria-pressed", String(agrees));
      disagreeing.setAttribute("aria-pressed", String(!agrees));
      answer.textContent = `${said} Saved. Thank you; you can change it at any time.`.trim();
    } catch (error) {
      answer.textContent = error instanceof PinactorsError ? error.message : "Not saved: no connection. Please try again.";
    }
  }

  return h("section", { class: "card feedback", "aria-labelledby": "feedback-heading" }, h("h2", { id: "feedback-heading" }, "Is this right?"),
    h("p", {}, "Your word helps to measure how often it is."), h("div", { class: "actions" }, agree, disagreeing), which, answer);
}

/** Saves what a person says of an analysis. */
export function tell(packet, agree, comment, key) {
  return confirm({ recordNumber: packet.id, pinId: packet.sessionId, agree, comment }, { apiKey: key() });
}
