/** One photograph on its way to the server: scaled to what the analysis needs and judged before it is sent. */

/** Longest side in pixels: the analysis works at this size. */
const LONGEST = 1600;
const QUALITY = 0.9;
const PROBE = 320;

/**
 * Reads a picture file. Resolves to `{blob, picture, width, height, problems}`; `picture` is a canvas, or null for a
 * format this browser cannot show (HEIC outside Safari), which is sent as it is.
 */
export async function readPhotograph(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return { blob: file, picture: null, problems: [] };
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const picture = draw(bitmap, Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  bitmap.close();
  const blob = await new Promise((resolve) => picture.toBlob(resolve, "image/jpeg", QUALITY));
  const smaller = blob && (scale < 1 || blob.size < file.size) ? blob : file;
  return { blob: smaller, picture, width: picture.width, height: picture.height, problems: judge(picture) };
}

/** A region of a photograph (fractions, with some margin) as a small canvas. */
export function cut(picture, box, side = 96) {
  const margin = 0.15 * Math.max(box.width, box.height);
  const x = Math.max(0, box.x - margin) * picture.width;
  const y = Math.max(0, box.y - margin) * picture.height;
  const width = Math.max(2, Math.min(picture.width - x, (box.width + 2 * margin) * picture.width));
  const height = Math.max(2, Math.min(picture.height - y, (box.height + 2 * margin) * picture.height));
  const scale = side / Math.max(width, height);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(picture, x, y, width, height, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** A copy of a picture, no longer than `side`. */
export function scaled(picture, side) {
  const scale = Math.min(1, side / Math.max(picture.width, picture.height));
  return draw(picture, Math.round(picture.width * scale), Math.round(picture.height * scale));
}

/** A small picture for the history, as a data URL. */
export function thumbnail(picture, side = 320) {
  return scaled(picture, side).toDataURL("image/jpeg", 0.7);
}

/** The canvas of a data URL that `thumbnail` made; null for anything else. */
export async function restored(url) {
  if (!/^data:image\/jpeg;base64,/.test(url ?? "")) return null;
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    return null;
  }
  return scaled(image, Math.max(image.width, image.height));
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
 * What a person should know before sending. Brightness is the mean of the middle of the picture; blur the strongest
 * one percent of second differences there: a sharp edge anywhere on the pin makes them large (in the dark and in
 * glare they are small in any case, so blur is not judged there).
 */
function judge(picture) {
  const scale = PROBE / Math.min(picture.width, picture.height);
  const probe = draw(picture, picture.width * Math.min(1, scale), picture.height * Math.min(1, scale));
  const { width, height } = probe;
  const pixels = probe.getContext("2d").getImageData(0, 0, width, height).data;
  const light = (x, y) => {
    const at = 4 * (y * width + x);
    return 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
  };
  let sum = 0;
  let count = 0;
  const edges = [];
  for (let y = Math.floor(height * 0.15) + 1; y < height * 0.85 - 1; y += 1) {
    for (let x = Math.floor(width * 0.15) + 1; x < width * 0.85 - 1; x += 1) {
      sum += light(x, y);
      count += 1;
      edges.push(Math.abs(4 * light(x, y) - light(x - 1, y) - light(x + 1, y) - light(x, y - 1) - light(x, y + 1)));
    }
  }
  const mean = sum / count;
  const strongest = edges.sort((a, b) => b - a)[Math.floor(edges.length * 0.01)] ?? 0;
  const problems = [];
  if (mean < 45) problems.push("Very dark: more light would help.");
  else if (mean > 235) problems.push("Overexposed: less light would help.");
  else if (strongest < 18) problems.push("Looks blurred: hold still and tap the pin to focus.");
  if (Math.min(picture.width, picture.height) < 400) problems.push("Small: move closer, or use the original.");
  return problems;
}
