/** "Is this right?": agreement or disagreement with an analysis, saved on the server. */

import { h } from "./dom.js";
import { PinactorsError, confirm } from "./pinactors.js";

/** A card for the analysis that `packet` (ANALYSIS_COMPLETE) ended; `key()` is the access key. */
export function feedbackCard(packet, key) {
  const comment = h("textarea", { id: "comment", rows: 2, maxlength: 2000 });
  const answer = h("p", { role: "status", class: "hint" });
  const buttons = [["agree", "Yes, I agree"], ["disagree", "No, I disagree"]].map(([agreement, label]) =>
    h("button", { type: "button", "data-agreement": agreement, "aria-pressed": "false", onclick: (event) => save(event.currentTarget) }, label));
  async function save(button) {
    answer.textContent = "Saving …";
    try {
      await confirm(
        { recordNumber: packet.id, pinId: packet.sessionId, agree: button.dataset.agreement === "agree", comment: comment.value.trim() },
        { apiKey: key() },
      );
      buttons.forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
      answer.textContent = "Saved. Thank you. You can change it at any time.";
    } catch (error) {
      answer.textContent = error instanceof PinactorsError ? error.message : "Not saved: no connection. Please try again.";
    }
  }
  return h("article", { class: "card feedback" }, h("header", {}, h("h3", {}, "Is this right?")),
    h("div", { class: "card-body" }, h("p", {}, "Your word helps to measure and to fit the weights."),
      h("label", { for: "comment" }, "Comment (if you like)"), comment,
      h("div", { class: "actions" }, ...buttons), answer));
}
