/** Analyses of all keys: a filtered list, and one analysis with its feedback, whose pictures can be given to a pin. */

import { dialog, h, icon } from "../dom.js";
import { VIEWS, money, verdictInWords } from "../result/words.js";
import { edit } from "./edit.js";
import { counted, field, framed, when } from "./parts.js";
import { get, photographPath } from "./requests.js";

const FILTERS = ["verdict", "agreement", "degraded", "pin", "key", "since", "until"];
const SIDE = 64;

export async function analyses(signal, query) {
  const rows = h("ul", { class: "rows" });
  const told = h("p", { class: "hint", role: "status" });
  const more = h("button", { type: "button", hidden: true }, "Show more");
  const form = h("form", { class: "filters", onsubmit: (event) => event.preventDefault(), onchange: () => {
    const wanted = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    location.hash = `#analyses${wanted.size ? `?${wanted}` : ""}`;
  } },
    field("verdict", "Verdict", { value: query.get("verdict") ?? "", options: [["", "any"], ["authentic", "looks genuine"], ["counterfeit", "looks counterfeit"],
      ["undetermined", "not decided"], ["not_a_pin", "no pin found"], ["error", "failed"]] }),
    field("agreement", "People say", { value: query.get("agreement") ?? "", options: [["", "anything"], ["disagree", "they disagree"], ["agree", "they agree"]] }),
    field("degraded", "Degraded component", { value: query.get("degraded") ?? "", options: [["", "none or any"], ["authenticity", "authenticity"], ["characters", "characters"],
      ["pricing", "pricing"], ["details", "details"], ["display", "display"]] }),
    field("pin", "Pin id", { value: query.get("pin") ?? "" }),
    field("key", "Key", { value: query.get("key") ?? "" }),
    field("since", "From", { type: "date", value: query.get("since") ?? "" }),
    field("until", "Before", { type: "date", value: query.get("until") ?? "" }));

  async function load(before) {
    const wanted = new URLSearchParams([...query].filter(([name]) => FILTERS.includes(name)));
    if (before) wanted.set("before", before);
    const page = await get(`/records?${wanted}`, signal);
    rows.append(...page.records.map(row));
    told.textContent = page.total ? counted(page.total, "analysis", "analyses") : "No analysis matches these filters.";
    more.hidden = page.next === null;
    more.onclick = () => void load(page.next);
  }
  await load();
  const filters = FILTERS.filter((name) => query.get(name)).length;
  return h("div", {}, h("h2", {}, "Analyses"), h("details", { class: "filter", open: innerWidth > 700 }, h("summary", {}, filters ? `Filters (${filters})` : "Filters"), form), told, rows, more);
}

const verdictOf = (one) => (one.errorCode ? `Failed: ${one.errorCode}` : verdictInWords(one));

function row(one) {
  return h("li", {}, h("button", { type: "button", class: "row", onclick: () => void open(one) },
    framed(one.views.includes("front") ? photographPath(one.recordNumber, "front") : null, "", SIDE),
    h("span", { class: "row-words" }, h("strong", {}, one.name ?? "Not identified"),
      h("span", { class: `tone-${one.errorCode ? "counterfeit" : one.verdict}` }, verdictOf(one)),
      one.userAgreement && h("span", { class: one.userAgreement === "disagree" ? "said wrong" : "said" }, one.userAgreement === "disagree" ? "Somebody disagrees" : "Somebody agrees",
        one.comment && `: ${one.comment}`)),
    h("span", { class: "row-more" }, h("span", {}, `No. ${one.recordNumber}`), h("time", { datetime: one.createdAt }, when(one.createdAt)),
      one.key && h("span", {}, one.key), one.degraded.length > 0 && h("span", {}, `degraded: ${one.degraded.join(", ")}`))));
}

async function open(one) {
  const answer = await get(`/records/${one.recordNumber}`).catch(() => ({}));
  const corrected = [one.correctedVerdict && `verdict ${one.correctedVerdict}`, one.correctedPinId && `pin ${one.correctedPinId}`, one.correctedPrice && `price ${money(one.correctedPrice, "USD")}`].filter(Boolean);
  const suggestions = answer.suggestions ?? [];
  const views = Object.keys(VIEWS).filter((view) => one.views.includes(view));
  dialog(`Analysis ${one.recordNumber}`, (close) => [
    h("header", { class: "dialog-head" }, h("h2", {}, `Analysis ${one.recordNumber}`), h("button", { type: "button", class: "tool", "aria-label": "Close", onclick: close }, icon("close"))),
    h("div", { class: "photographs" }, views.map((view) => h("figure", {}, framed(photographPath(one.recordNumber, view), `The ${VIEWS[view]} photograph`, 220), h("figcaption", {}, VIEWS[view])))),
    h("dl", { class: "facts" }, [
      ["Verdict", verdictOf(one)], ["Rating", one.authenticityRating === null ? null : `${one.authenticityRating} of 100`], ["Pin", one.pinId && `${one.name} (${one.pinId})`],
      ["People say", one.userAgreement && (one.userAgreement === "agree" ? "agree" : "disagree")], ["In their words", one.comment],
      ["It should be", corrected.join(", ")], ["Degraded", one.degraded.join(", ")], ["Missing", one.missing.join(", ")], ["Key", one.key], ["When", when(one.createdAt)],
    ].filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    answer.candidates?.length > 0 && h("div", {}, h("h3", {}, "What it was compared with"), h("ul", { class: "plain" }, answer.candidates.map((pin) =>
      h("li", {}, `${pin.name} (${pin.pinId}), ${Math.round(100 * pin.score)} %`)))),
    suggestions.length > 0 && h("div", {}, h("h3", {}, "Suggestions, not verified"), h("ul", { class: "plain" }, suggestions.map((said) => h("li", {}, `${said.text} (${said.kind}, ${said.source})`)))),
    views.length > 0 && h("div", { class: "actions" },
      h("button", { type: "button", class: "primary", onclick: () => { close(); void edit({ analysis: one, views, pin: one.correctedPinId ?? one.pinId }); } }, "Add its picture to a pin"),
      h("button", { type: "button", onclick: () => { close(); void edit({ analysis: one, views, fresh: true, suggestions }); } }, "Make a new pin from it")),
  ], { wide: true });
}
