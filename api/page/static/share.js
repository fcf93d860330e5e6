/** The result as one picture to show to others. */

import { h } from "./dom.js";

const WIDTH = 1080;
const HEIGHT = 1350;
const PHOTO = 760;
const MARGIN = 64;
const COLOURS = { authentic: "#1c7a43", counterfeit: "#b3261e", undetermined: "#8a5a00", not_a_pin: "#8a5a00" };

/** Draws `{picture, verdict, words, rating, title, price}` (rating null: none) and hands it to the system, or saves it. */
export async function share(result) {
  const blob = await new Promise((resolve) => draw(result).toBlob(resolve, "image/jpeg", 0.9));
  const file = new File([blob], "pin.jpg", { type: "image/jpeg" });
  if (navigator.canShare?.({ files: [file] })) {
    await navigator.share({ files: [file], title: result.title });
    return;
  }
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function draw({ picture, verdict, words, rating, title, price }) {
  const canvas = h("canvas", { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  const colour = COLOURS[verdict] ?? COLOURS.undetermined;
  const text = (string, y, size, { weight = 400, fill = "#1c2425", width = WIDTH - 2 * MARGIN } = {}) => {
    context.font = `${weight} ${size}px system-ui, sans-serif`;
    context.fillStyle = fill;
    context.fillText(fitted(context, string, width), MARGIN, y);
  };
  context.fillStyle = "#f6f3ec";
  context.fillRect(0, 0, WIDTH, HEIGHT);
  if (picture) {
    const scale = Math.max(WIDTH / picture.width, PHOTO / picture.height);
    const [width, height] = [WIDTH / scale, PHOTO / scale];
    context.drawImage(picture, (picture.width - width) / 2, (picture.height - height) / 2, width, height, 0, 0, WIDTH, PHOTO);
  }
  context.fillStyle = colour;
  context.fillRect(0, PHOTO, WIDTH, 12);
  text(words, PHOTO + 118, 76, { weight: 700, fill: colour, width: rating === null ? undefined : WIDTH - 2 * MARGIN - 230 });
  if (rating !== null) {
    context.textAlign = "right";
    context.font = "700 96px system-ui, sans-serif";
    context.fillText(String(rating), WIDTH - MARGIN, PHOTO + 122);
    context.font = "400 28px system-ui, sans-serif";
    context.fillStyle = "#566062";
    context.fillText("of 100", WIDTH - MARGIN, PHOTO + 166);
    context.textAlign = "left";
    context.fillStyle = "#dcd8cd";
    context.fillRect(MARGIN, PHOTO + 200, WIDTH - 2 * MARGIN, 14);
    context.fillStyle = colour;
    context.fillRect(MARGIN, PHOTO + 200, ((WIDTH - 2 * MARGIN) * rating) / 100, 14);
  }
  text(title, PHOTO + 300, 48, { weight: 600 });
  if (price) text(price, PHOTO + 370, 40, { fill: "#566062" });
  text("An estimate from photographs, not a certificate.", HEIGHT - 112, 32, { fill: "#566062" });
  text("pinactors", HEIGHT - 56, 34, { weight: 700, fill: "#12595c" });
  return canvas;
}

/** As much of a text as fits. */
function fitted(context, string, width) {
  if (context.measureText(string).width <= width) return string;
  let short = string;
  while (short && context.measureText(`${short}…`).width > width) short = short.slice(0, -1);
  return `${short.trimEnd()}…`;
}
