/** The overview: uploads per minute, degraded components, the state of the catalogue. */

import { h, s } from "../dom.js";
import { listed } from "../result/words.js";
import { counted } from "./parts.js";
import { get } from "./requests.js";

const LOOK_MS = 10_000;
const HIGH = 96;

export async function overview(signal) {
  const root = h("div", { class: "cards" });
  root.replaceChildren(...cards(await get("/overview", signal)));
  void follow(root, signal);
  return root;
}

async function follow(root, signal) {
  while (!signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    if (signal.aborted || document.hidden) continue;
    const told = await get("/overview", signal).catch(() => null);
    if (told && !signal.aborted) root.replaceChildren(...cards(told));
  }
}

function cards(told) {
  const uploads = told.uploads.reduce((sum, one) => sum + one, 0);
  const { catalogue } = told;
  return [
    h("section", { class: "card wide" }, h("h2", {}, "Uploads a minute"), chart(told.uploads, uploads),
      h("p", { class: "hint" }, `${counted(uploads, "upload")} in the last hour, ${told.uploads.at(-1)} in this minute.`)),
    h("section", { class: "card" }, h("h2", {}, "Now"), facts([
      ["Analyses under way", told.sessions], ["Jobs waiting", told.queued], ["Workers", told.workers],
      ["Failed in the last hour", told.failed, told.failed > 0]])),
    h("section", { class: "card" }, h("h2", {}, "Components"), components(told)),
    h("section", { class: "card" }, h("h2", {}, "Catalogue"), ...(catalogue.available ? [
      facts([["Pins", (catalogue.pins ?? 0).toLocaleString()], ["Version", catalogue.version || "none yet"]]),
      catalogue.outdated && h("p", { class: "warning" }, "It was made by another version of this program, so no pin is found in it. On the server, ",
        h("code", {}, "pinactors catalog rebuild"), " brings it up to date."),
      catalogue.demonstration && h("p", { class: "hint" }, "This is the demonstration catalogue: its pins and prices are made up."),
      !told.editable && h("p", { class: "hint" }, "This server uses a fixed published version, which cannot be edited here."),
    ] : [h("p", { class: "warning" }, "The catalogue cannot be read. The server's log has the reason.")])),
    h("section", { class: "card" }, h("h2", {}, "What people say"), h("p", {}, told.disagreements
      ? h("a", { href: "#analyses?agreement=disagree" }, `${counted(told.disagreements, "disagreement")} to look at`) : "Nobody disagrees.")),
  ];
}

function facts(rows) {
  return h("dl", { class: "facts" }, rows.map(([name, value, bad]) => [h("dt", {}, name), h("dd", { class: bad ? "bad" : null }, value)]).flat());
}

function components({ degraded, missing, breakers }) {
  const names = [...new Set([...Object.keys(breakers), ...Object.keys(missing), ...Object.keys(degraded)])].sort();
  if (!names.length) return h("p", {}, "All components worked fully in the last hour.");
  return h("ul", { class: "plain" }, names.map((name) => {
    const said = [breakers[name] && "paused after failures", missing[name] && `missing ${missing[name]} times`, degraded[name] && `degraded ${degraded[name]} times`];
    return h("li", {}, h("a", { href: `#analyses?degraded=${encodeURIComponent(name)}` }, name), `: ${listed(said.filter(Boolean))}`);
  }));
}

/** A bar chart of the last hour: one bar per minute, oldest first. */
function chart(minutes, total) {
  const top = Math.max(4, ...minutes);
  const bars = minutes.map((count, at) => count > 0 && s("rect", {
    x: at * 10 + 1, width: 8, y: HIGH - (HIGH * count) / top, height: (HIGH * count) / top, rx: 1.5, class: at === minutes.length - 1 ? "now" : null }));
  return h("div", { class: "minutes" },
    s("svg", { viewBox: `0 0 ${minutes.length * 10} ${HIGH + 1}`, preserveAspectRatio: "none", role: "img", "aria-label": `Uploads of the last hour by minute: ${total} in all, at most ${Math.max(...minutes)} in one` },
      s("line", { x1: 0, x2: minutes.length * 10, y1: HIGH + 0.5, y2: HIGH + 0.5 }), ...bars),
    h("div", { class: "scale", "aria-hidden": "true" }, h("span", {}, "an hour ago"), h("span", {}, `most: ${Math.max(...minutes)}`), h("span", {}, "now")));
}
