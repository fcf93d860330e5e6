/** The verdict: the photograph with what was found marked on it, the gauge, the evidence, and what would help. */

import { gauge } from "./charts.js";
import { h } from "./dom.js";
import { cut, scaled } from "./photographs.js";

export const VIEWS = { front: "front", back: "back", angled: "tilted" };

const VERDICTS = {
  authentic: ["✓", "Looks genuine", "What could be assessed speaks for it."],
  counterfeit: ["✕", "Looks counterfeit", "What could be assessed speaks against it."],
  undetermined: ["?", "Not decided", "These photographs do not settle it either way."],
  not_a_pin: ["–", "This does not look like a pin", "So nothing on it was judged."],
};

const EVIDENCE = {
  waffle_edge_runoff: "Back pattern at the edge",
  waffle_regularity: "Evenness of the back pattern",
  waffle_absent: "Back pattern there at all",
  stamp_match: "Stamp beside the catalogue's",
  stamp_crispness: "Crispness of the stamp",
  stamp_wording: "Wording of the stamp",
  stamp_consistency: "Year and code on the stamp",
  edition_number: "Edition number",
  front_geometry: "Shape of the drawing",
  front_proportions: "Length against width",
  front_lines: "Lines of the drawing",
  colour_regions: "Colours beside each other",
  enamel_fill: "Fill of the enamel",
  edge_roughness: "Smoothness of the edge",
  plating_uniformity: "Plating",
  posts: "Posts on the back",
};

/** A log10 likelihood ratio below which a finding says next to nothing. */
const SLIGHT = 0.1;
/** The one at which a bar is full. */
const FULL = 0.8;
/** Reasons why something could not be assessed, up to which all are shown at once. */
const FEW = 3;

export function verdictInWords(packet) {
  return (VERDICTS[packet.verdict] ?? VERDICTS.undetermined)[1];
}

/**
 * The photographs with numbered regions. `boxes`: [{box, number}]. `element` is null where there are no photographs;
 * `point(number)` brings one region into view and makes it stand out (null: none).
 */
export function stage(pictures, boxes = []) {
  const views = Object.keys(VIEWS).filter((view) => pictures[view]);
  if (!views.length) return { element: null, point() {} };
  const screen = h("div", { class: "stage-screen" });
  const tabs = views.map((view) =>
    h("button", { type: "button", class: "tab", onclick: () => show(view) }, capitalised(VIEWS[view]), marked(view)));
  function marked(view) {
    const count = boxes.filter(({ box }) => box.view === view).length;
    return count > 0 && h("b", { title: "Marked regions" }, String(count));
  }
  function show(view, active = null) {
    const picture = scaled(pictures[view], 900);
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", `Your ${VIEWS[view]} photograph`);
    const marks = boxes.filter(({ box }) => box.view === view).map(({ box, number }) => {
      const mark = h("span", { class: number === active ? "mark active" : "mark", "aria-hidden": "true" }, h("b", {}, String(number)));
      for (const [side, share] of Object.entries({ left: box.x, top: box.y, width: box.width, height: box.height })) {
        mark.style[side] = `${100 * share}%`;
      }
      return mark;
    });
    screen.replaceChildren(h("div", { class: "stage-photo" }, picture, marks));
    tabs.forEach((tab, index) => tab.setAttribute("aria-pressed", String(views[index] === view)));
  }
  show(views[0]);
  const element = h("div", { class: "stage" }, screen,
    views.length > 1 && h("div", { class: "tabs", role: "group", "aria-label": "Photograph shown" }, tabs));
  return {
    element,
    point(number) {
      const found = boxes.find((one) => one.number === number);
      if (found) show(found.box.view, number);
    },
  };
}

export function verdictCard(packet, context) {
  const [sign, , reading] = VERDICTS[packet.verdict] ?? VERDICTS.undetermined;
  const weighed = packet.evidence.filter((row) => row.assessed).sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
  const open = packet.evidence.filter((row) => !row.assessed);
  const telling = weighed.filter((row) => Math.abs(row.weight) >= SLIGHT);
  const slight = weighed.filter((row) => Math.abs(row.weight) < SLIGHT);
  const boxes = [...telling, ...slight].filter((row) => row.region && context.pictures[row.region.view])
    .map((row, index) => ({ row, box: row.region, number: index + 1 }));
  const photographs = stage(context.pictures, boxes);
  const rows = (evidence) => evidence.map((row) => evidenceRow(row, boxes.find((one) => one.row === row), context, photographs));
  const decided = packet.note !== "Analysis timed out" && packet.verdict !== "not_a_pin";
  return [
    h("div", { class: "verdict-head" },
      photographs.element,
      h("div", { class: "verdict-words" },
        h("p", { class: `verdict verdict-${packet.verdict}` }, h("span", { class: "sign", "aria-hidden": "true" }, sign),
          verdictInWords(packet)),
        h("p", { class: "reading" }, packet.note === "Analysis timed out" ? "There was no time left to decide." : reading),
        decided && gauge(packet.authenticityRating, packet.confidence, packet.verdict),
        decided && h("p", { class: "hint" }, `Confidence ${Math.round(packet.confidence * 100)} %: how much of the evidence these photographs show.`),
        packet.note && h("p", { class: "note" }, packet.note))),
    h("div", { class: "verdict-why" },
      h("div", {},
        h("h4", {}, "What was found"),
        telling.length > 0 && h("ul", { class: "evidence" }, rows(telling)),
        !telling.length && h("p", { class: "missing" }, weighed.length ? "No finding weighs much." : "No finding could be weighed."),
        slight.length > 0 &&
          h("details", {}, h("summary", {}, `Of little weight (${slight.length})`), h("ul", { class: "evidence" }, rows(slight))),
        telling.length > 0 &&
          h("p", { class: "hint" }, "×2 for: such a finding is twice as likely on a genuine pin as on a counterfeit.")),
      h("div", { class: "verdict-open" },
        h("div", { class: "help" }, context.help),
        open.length > 0 && unassessed(open))),
  ];
}

/** What could not be assessed, said once for all kinds of evidence that share the reason. */
function unassessed(rows) {
  const reasons = new Map();
  for (const row of rows) reasons.set(row.finding, [...(reasons.get(row.finding) ?? []), evidenceName(row.name)]);
  return h("details", { open: reasons.size <= FEW }, h("summary", {}, `Could not be assessed (${rows.length})`),
    h("ul", { class: "unassessed" }, [...reasons].map(([reason, names]) =>
      h("li", {}, h("strong", {}, capitalised(reason)), h("span", {}, names.join(", "))))));
}

function evidenceRow(row, place, { pictures }, photographs) {
  const direction = row.weight > 0 ? "for" : row.weight < 0 ? "against" : "neutral";
  const fill = h("span", { class: "bar-fill" });
  fill.style.width = `${Math.min(50, (Math.abs(row.weight) / FULL) * 50)}%`;
  const times = 10 ** Math.abs(row.weight);
  const weight = direction === "neutral" ? "no weight" : `×${times.toFixed(times < 10 ? 1 : 0)} ${direction}`;
  let region = null;
  if (place) {
    const image = cut(pictures[row.region.view], row.region);
    image.setAttribute("aria-hidden", "true");
    const point = () => photographs.point(place.number);
    region = h("button", { class: "region", type: "button", "aria-label": `Show region ${place.number} on the ${VIEWS[row.region.view]} photograph`,
      onfocus: point, onmouseenter: point,
      onclick: () => (point(), photographs.element.scrollIntoView({ block: "nearest", behavior: motion() })) },
      image, h("b", { "aria-hidden": "true" }, String(place.number)));
  }
  return h("li", { class: `evidence-row ${direction}${region ? " located" : ""}` },
    region,
    h("div", { class: "evidence-words" }, h("strong", {}, evidenceName(row.name)), h("p", {}, row.finding)),
    h("div", { class: "weighing" }, h("span", { class: "bar", "aria-hidden": "true" }, fill), h("span", { class: "weight" }, weight)));
}

/**
 * Which photograph would help: the server's advice, and for each view the problems it found, with a way to mend
 * them. `problems`: {view: [text]}; `retake(view)` leads to that photograph.
 */
export function helpList(advice, problems, sent, retake) {
  const views = Object.keys(VIEWS).filter((view) => problems[view]?.length || (sent.length > 0 && !sent.includes(view) && view !== "front"));
  const said = views.flatMap((view) => problems[view] ?? []);
  const rest = advice.filter((text) => !said.some((problem) => text.includes(problem)));
  if (!views.length && !rest.length) return [];
  return [
    h("h4", {}, "Which photograph would help"),
    rest.length > 0 && h("ul", {}, rest.map((text) => h("li", {}, text))),
    ...views.map((view) => h("div", { class: "help-view" },
      h("div", {}, h("strong", {}, capitalised(VIEWS[view])),
        ...(problems[view] ?? ["There is no photograph of it yet."]).map((text) => h("p", {}, text))),
      retake && h("button", { type: "button", "data-retake": view, onclick: () => retake(view),
        "aria-label": `${problems[view] ? "Retake" : "Add"} the ${VIEWS[view]} photograph` }, problems[view] ? "Retake" : "Add"))),
  ].filter(Boolean);
}

export const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const evidenceName = (name) => EVIDENCE[name] ?? capitalised(name.replaceAll("_", " "));

export const motion = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");
