/** Shares a result as one picture or as a link. */

import { dialog, h, icon } from "../dom.js";

const WIDTH = 1080;
const HEIGHT = 1350;
const PHOTO = 720;
const MARGIN = 64;
const COLOURS = { authentic: "#1c7a43", counterfeit: "#b3261e", undetermined: "#8a5a00", not_a_pin: "#8a5a00" };
const [INK, SOFT, GROUND, LINE] = ["#1c2425", "#566062", "#f6f3ec", "#dcd8cd"];
const FONT = "Figtree, system-ui, sans-serif";

/**
 * Asks how to share `{picture, verdict, words, rating, title, price, demonstration, link}`. `rating` is null if there is
 * none, `link` if the result cannot be opened elsewhere.
 */
export async function share(result) {
  await document.fonts?.ready;
  const canvas = draw(result);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
  const file = new File([blob], "pin.jpg", { type: "image/jpeg" });
  const sends = navigator.canShare?.({ files: [file] });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${result.words}: ${result.title}`);
  const said = h("p", { class: "hint", role: "status" });
  dialog("Share", (close) => [
    h("header", { class: "dialog-head" }, h("h2", {}, "Share"), h("button", { type: "button", class: "tool", "aria-label": "Close", onclick: close }, icon("close"))),
    h("div", { class: "share-picture" }, canvas),
    h("div", { class: "actions" },
      sends && h("button", { type: "button", class: "primary", onclick: () => send(file, result).then(close, () => {}) }, icon("share"), "Share picture"),
      h("button", { id: "save-picture", type: "button", class: sends ? null : "primary", onclick: () => save(file) }, icon("picture"), "Save picture"),
      result.link && h("button", { id: "copy-link", type: "button", onclick: () => void copy(result.link, said) }, icon("link"), "Copy link")),
    said,
  ]);
}

const send = (file, { title, link }) => navigator.share({ files: [file], title, ...(link ? { url: link } : {}) });

function save(file) {
  const url = URL.createObjectURL(file);
  h("a", { href: url, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function copy(link, said) {
  try {
    await navigator.clipboard.writeText(link);
    said.textContent = "The link is copied.";
  } catch {
    said.textContent = link; // the clipboard needs HTTPS: show the link to copy by hand
  }
}

export function draw({ picture, verdict, words, rating, title, price, demonstration }) {
  const canvas = h("canvas", { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  const colour = COLOURS[verdict] ?? COLOURS.undetermined;
  const text = (string, y, size, { weight = 400, fill = INK, x = MARGIN, align = "left" } = {}) => {
    context.font = `${weight} ${size}px ${FONT}`;
    context.fillStyle = fill;
    context.textAlign = align;
    context.fillText(string, x, y);
  };
  context.fillStyle = GROUND;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  if (picture) cover(context, picture);
  context.fillStyle = colour;
  context.fillRect(0, PHOTO, WIDTH, 10);
  const judged = rating !== null;
  const room = WIDTH - 2 * MARGIN - (judged ? 240 : 0);
  let y = PHOTO + 106;
  for (const [line, size] of fitted(context, words, room, [68, 56, 46], 700)) {
    text(line, y, size, { weight: 700, fill: colour });
    y += size * 1.1;
  }
  if (judged) {
    text(String(rating), PHOTO + 116, 96, { weight: 700, fill: colour, x: WIDTH - MARGIN, align: "right" });
    text("of 100", PHOTO + 158, 28, { fill: SOFT, x: WIDTH - MARGIN, align: "right" });
    context.fillStyle = LINE;
    context.fillRect(MARGIN, PHOTO + 188, WIDTH - 2 * MARGIN, 12);
    context.fillStyle = colour;
    context.fillRect(MARGIN, PHOTO + 188, ((WIDTH - 2 * MARGIN) * rating) / 100, 12);
  }
  y = PHOTO + 272;
  for (const [line, size] of fitted(context, title, WIDTH - 2 * MARGIN, [48, 42, 36], 650)) {
    text(line, y, size, { weight: 650 });
    y += size * 1.2;
  }
  if (price) text(price, y + 6, 38, { fill: SOFT });
  const small = ["An estimate from photographs, not a certificate.", demonstration && "Demonstration: pin, sales and price are made up."].filter(Boolean);
  small.forEach((line, index) => text(line, HEIGHT - 112 - 40 * (small.length - 1 - index), 30, { fill: SOFT }));
  text("pinactors", HEIGHT - 56, 34, { weight: 700, fill: "#12595c" });
  return canvas;
}

function cover(context, picture) {
  const scale = Math.max(WIDTH / picture.width, PHOTO / picture.height);
  const [width, height] = [WIDTH / scale, PHOTO / scale];
  context.drawImage(picture, (picture.width - width) / 2, (picture.height - height) / 2, width, height, 0, 0, WIDTH, PHOTO);
}

/** A text as [line, size], in the largest of `sizes` in which it fits into two lines; shortened if it fits in none. */
function fitted(context, string, width, sizes, weight) {
  let lines = [];
  for (const size of sizes) {
    context.font = `${weight} ${size}px ${FONT}`;
    lines = wrapped(context, string, width).map((line) => [line, size]);
    if (lines.length <= 2) return lines;
  }
  const [first, second] = lines;
  return [first, [`${second[0]}…`, second[1]]];
}

function wrapped(context, string, width) {
  const lines = [];
  let line = "";
  const put = (word) => {
    const longer = line ? `${line} ${word}` : word;
    if (context.measureText(longer).width <= width) line = longer;
    else {
      if (line) lines.push(line);
      line = "";
      for (const character of word) {
        if (context.measureText(line + character).width > width) {
          lines.push(line);
          line = "";
        }
        line += character;
      }
    }
  };
  string.split(/\s+/).forEach(put);
  return line ? [...lines, line] : lines;
}
