/** Prepares a photograph for the upload: checks that it is one, scales it down if it is large, judges its quality. */

/** Photographs of at most this many bytes are sent unchanged. */
const ORIGINAL_BYTES = 1_500_000;
/** Longest side in pixels and JPEG quality of a larger photograph: the letters of a stamp stay readable. */
const LONGEST = 2560;
const QUALITY = 0.92;
/** Longest side of the picture that the page shows. */
const SHOWN = 1600;
const PROBE = 320;
/** Brightness and sharpness below which a photograph is dark or blurred. */
export const DARK = 45;
export const BLURRED = 18;

/** Formats that the server reads, found from the first bytes; `HEIC` and `AVIF` are sent even without a preview. */
const SENT_AS_IT_IS = new Set(["JPEG", "PNG", "WebP", "HEIC", "AVIF"]);

export class NotAPhotograph extends Error {}

/**
 * Reads a picture file. Resolves to `{blob, picture, problems}`; `picture` is a canvas, or null for a format that this
 * browser cannot show (HEIC outside Safari), which is sent as it is. Throws `NotAPhotograph`.
 */
export async function readPhotograph(file) {
  if (!file.size) throw new NotAPhotograph(`“${file.name ?? "This file"}” is empty.`);
  const format = await formatOf(file);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    if (format === "HEIC" || format === "AVIF") return { blob: file, picture: null, problems: [] };
    throw new NotAPhotograph(format
      ? `“${file.name ?? "This file"}” is damaged or incomplete.`
      : `“${file.name ?? "This file"}” is not a photograph in JPEG, PNG, WebP, HEIC or AVIF.`);
  }
  const longest = Math.max(bitmap.width, bitmap.height);
  const picture = resized(bitmap, longest, SHOWN);
  let blob = file;
  if (file.size > ORIGINAL_BYTES || !SENT_AS_IT_IS.has(format)) {
    const large = resized(bitmap, longest, LONGEST);
    const smaller = await new Promise((resolve) => large.toBlob(resolve, "image/jpeg", QUALITY));
    if (smaller && (smaller.size < file.size || !SENT_AS_IT_IS.has(format))) blob = smaller;
  }
  const size = Math.min(bitmap.width, bitmap.height);
  bitmap.close();
  return { blob, picture, problems: judge(picture, size) };
}

async function formatOf(file) {
  const bytes = new Uint8Array(await file.slice(0, 32).arrayBuffer());
  const text = String.fromCharCode(...bytes);
  if (text.startsWith("\xff\xd8\xff")) return "JPEG";
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return "PNG";
  if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return "WebP";
  if (text.slice(4, 8) !== "ftyp") return null;
  if (/avi[fs]/.test(text.slice(8))) return "AVIF";
  return /hei[cxms]|hev[cx]|mif1|msf1/.test(text.slice(8)) ? "HEIC" : null;
}

function resized(bitmap, longest, limit) {
  const scale = Math.min(1, limit / longest);
  return draw(bitmap, Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
}

/** A canvas with a region of a picture, `{x, y, width, height}` in shares, and a `margin` (share of its longer side). */
export function cut(picture, box, { side = 320, margin = 0.15 } = {}) {
  const more = margin * Math.max(box.width * picture.width, box.height * picture.height);
  const x = Math.max(0, box.x * picture.width - more);
  const y = Math.max(0, box.y * picture.height - more);
  const width = Math.max(2, Math.min(picture.width - x, (box.x + box.width) * picture.width + more - x));
  const height = Math.max(2, Math.min(picture.height - y, (box.y + box.height) * picture.height + more - y));
  const scale = Math.min(2, side / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, x, y, width, height, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** A copy of a picture, with a longer side of at most `side`. */
export function scaled(picture, side) {
  const scale = Math.min(1, side / Math.max(picture.width, picture.height));
  return draw(picture, Math.round(picture.width * scale), Math.round(picture.height * scale));
}

/** A JPEG of a picture for the collection. */
export function preview(picture) {
  return new Promise((resolve) => scaled(picture, 1000).toBlob(resolve, "image/jpeg", 0.8));
}

/** The canvas of a stored picture; null if it cannot be decoded. */
export async function restored(blob) {
  try {
    const bitmap = await createImageBitmap(blob);
    const picture = scaled(bitmap, SHOWN);
    bitmap.close();
    return picture;
  } catch {
    return null;
  }
}

/** A picture scaled down to a few pixels, for measurements. */
export function probed(picture, width, height, side) {
  const scale = Math.min(1, side / Math.max(width, height));
  return draw(picture, Math.round(width * scale), Math.round(height * scale));
}

function draw(source, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, width);
  canvas.height = Math.max(1, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/**
 * Brightness, sharpness and glare of the middle of a small canvas. `light` is the mean (0 to 255); `edge` the
 * strongest one percent of second differences, which a sharp edge anywhere on the pin makes large; `glare` the share
 * of overexposed pixels.
 */
export function measured(probe) {
  const { width, height } = probe;
  const pixels = probe.getContext("2d").getImageData(0, 0, width, height).data;
  const light = (x, y) => {
    const at = 4 * (y * width + x);
    return 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
  };
  let sum = 0;
  let burnt = 0;
  const edges = [];
  for (let y = Math.floor(height * 0.15) + 1; y < height * 0.85 - 1; y += 1) {
    for (let x = Math.floor(width * 0.15) + 1; x < width * 0.85 - 1; x += 1) {
      const here = light(x, y);
      sum += here;
      if (here > 250) burnt += 1;
      edges.push(Math.abs(4 * here - light(x - 1, y) - light(x + 1, y) - light(x, y - 1) - light(x, y + 1)));
    }
  }
  const edge = edges.length ? edges.sort((a, b) => b - a)[Math.floor(edges.length * 0.01)] : 0;
  return { light: edges.length ? sum / edges.length : 0, edge, glare: edges.length ? burnt / edges.length : 0 };
}

/** Problems to show before sending. Blur is not judged in dark or overexposed pictures, where edges are weak anyway. */
function judge(picture, size) {
  const scale = PROBE / Math.min(picture.width, picture.height);
  const { light, edge } = measured(draw(picture, picture.width * Math.min(1, scale), picture.height * Math.min(1, scale)));
  const problems = [];
  if (light < DARK) problems.push("Very dark: more light would help.");
  else if (light > 235) problems.push("Overexposed: less light would help.");
  else if (edge < BLURRED) problems.push("Looks blurred: hold still and tap the pin to focus.");
  if (size < 400) problems.push("Small: move closer.");
  return problems;
}
