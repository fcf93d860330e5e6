/** The page's words for results: collectors' terms instead of the protocol's. */

export const VIEWS = { front: "front", back: "back", angled: "tilted" };

const VERDICTS = {
  authentic: ["✓", "Looks genuine", "What can be seen speaks for it."],
  counterfeit: ["✕", "Looks counterfeit", "What can be seen speaks against it."],
  undetermined: ["?", "Not decided", "These photographs do not settle it."],
  not_a_pin: ["–", "No pin found", "So nothing was judged. Is the pin large and sharp in the picture?"],
};

/** By name of a row of evidence, its name on the page and the view it concerns. */
const EVIDENCE = {
  waffle_edge_runoff: ["Back pattern at the edge", "back"],
  waffle_regularity: ["Evenness of the back pattern", "back"],
  waffle_absent: ["Pattern on the back", "back"],
  stamp_match: ["Stamp compared with a genuine one", "back"],
  stamp_crispness: ["Crispness of the stamp", "back"],
  stamp_wording: ["Wording of the stamp", "back"],
  stamp_consistency: ["Year and code on the stamp", "back"],
  edition_number: ["Edition number", "back"],
  front_geometry: ["Shape of the drawing", "front"],
  front_proportions: ["Length to width", "front"],
  front_lines: ["Lines of the drawing", "front"],
  front_line_width: ["Thickness of the lines", "front"],
  front_border: ["Width of the border", "front"],
  colour_regions: ["Colours beside each other", "front"],
  enamel_fill: ["Fill of the enamel", "front"],
  edge_roughness: ["Smoothness of the edge", "front"],
  plating_uniformity: ["Plating", "back"],
  posts: ["Posts on the back", "back"],
};

const COMPONENTS = {
  authenticity: "authenticity", characters: "the name", pricing: "the price", details: "what is stamped", display: "the photographs",
};

const NOTES = {
  "Analysis timed out": "There was no time left to decide.",
  "Basic analysis used due to processing constraints": "Judged from a quick look only: there was no time for more.",
};

export const TIMED_OUT = "Analysis timed out";

/** The log10 likelihood ratio below which a finding means almost nothing. */
export const SLIGHT = 0.1;

export const verdictSign = (packet) => (VERDICTS[packet.verdict] ?? VERDICTS.undetermined)[0];

export const verdictInWords = (packet) => (VERDICTS[packet.verdict] ?? VERDICTS.undetermined)[1];

/** One sentence under the verdict: a note, or advice if the verdict is undetermined. */
export function reading(packet) {
  if (packet.note) return NOTES[packet.note] ?? packet.note;
  if (packet.verdict === "undetermined" && packet.advice?.length) return packet.advice[0];
  return (VERDICTS[packet.verdict] ?? VERDICTS.undetermined)[2];
}

/** Whether the rating means anything: not if nothing was judged. */
export const judged = (packet) => packet.note !== TIMED_OUT && packet.verdict !== "not_a_pin";

export const evidenceName = (row) => EVIDENCE[row.name]?.[0] ?? capitalised(row.name.replaceAll("_", " "));

export const evidenceView = (row) => boxOf(row.region ?? row.box)?.view ?? EVIDENCE[row.name]?.[1] ?? "front";

/** The meaning of a weight (log10 likelihood ratio) in words. */
export function odds(weight) {
  if (Math.abs(weight) < SLIGHT) return "says little either way";
  const times = 10 ** Math.abs(weight);
  return `${Number(times.toFixed(times < 10 ? 1 : 0))} times likelier on a ${weight > 0 ? "genuine pin" : "counterfeit"}`;
}

export const direction = (weight) => (Math.abs(weight) < SLIGHT ? "neutral" : weight > 0 ? "for" : "against");

/** A region, given as list or object, as `{view, x, y, width, height}` in shares; null if invalid. */
export function boxOf(region, view = undefined) {
  if (!region) return null;
  const [x, y, width, height] = Array.isArray(region) ? region : [region.x, region.y, region.width, region.height];
  if (![x, y, width, height].every(Number.isFinite) || width <= 0 || height <= 0) return null;
  return { view: region.view ?? view, x, y, width, height };
}

export function money(value, currency) {
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency }).format(value);
  } catch {
    return `${value.toFixed(2)} ${currency}`; // Intl does not support this currency
  }
}

export const day = (at) => new Date(at).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

export const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;

export function listed(names) {
  try {
    return new Intl.ListFormat(undefined, { type: "conjunction" }).format(names);
  } catch {
    return names.join(", ");
  }
}

/** The message at the end of an analysis. */
export function summary(packet) {
  const list = (names) => listed(names.map((name) => COMPONENTS[name] ?? name));
  const parts = ["Done."];
  if (packet.degraded?.length) parts.push(`Only a quick look at ${list(packet.degraded)}.`);
  if (packet.missing?.length) parts.push(`Without ${list(packet.missing)}.`);
  return parts.join(" ");
}

export const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const found = (packets, type) => packets.find((packet) => packet.packetType === type);

/** The values of an analysis for lists: `{verdict, words, name, pinId, estimate, rating, demonstration}`. */
export function essence(entry) {
  const verdict = found(entry.packets, "AUTHENTICATION_RESULT");
  const characters = found(entry.packets, "CHARACTER_IDENTIFICATION");
  const claimed = characters?.identified ? characters.candidates?.[0] : null;
  return {
    verdict: verdict?.verdict ?? "undetermined",
    words: verdict ? verdictInWords(verdict) : "No verdict",
    rating: verdict && judged(verdict) ? verdict.authenticityRating : null,
    name: entry.pin?.name ?? claimed?.name ?? "Not identified",
    pinId: entry.pin ? entry.pin.pinId ?? null : claimed?.pinId ?? null,
    // the price is the identified pin's: none if the user named another pin
    estimate: entry.pin && entry.pin.pinId !== claimed?.pinId ? null : found(entry.packets, "PRICING_ANALYSIS")?.estimate ?? null,
    demonstration: entry.packets.some((packet) => packet.demonstration === true),
  };
}
