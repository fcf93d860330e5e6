/** Estimates from pixels where the pin is, precisely enough to crop a picture for display and to advise "closer". */

import { probed } from "./photographs.js";

const SIDE = 72;
/** Width of the border that is taken as background, as a share of the picture. */
const BORDER = 0.09;
/** Standard deviations from the background's colour from which a pixel counts as foreground. */
const DIFFERENT = 2.6;
/** Least and largest share of foreground pixels for which the estimate is used. */
const LEAST = 0.02;
const MOST = 0.85;
/** The box if there is no estimate: most of the middle. */
const MIDDLE = { x: 0.08, y: 0.08, width: 0.84, height: 0.84 };

/** The box as `{x, y, width, height, sure}` in shares of the picture; `sure` is false if it is only `MIDDLE`. */
export function pinBox(picture, width = picture.width, height = picture.height) {
  const probe = probed(picture, width, height, SIDE);
  const [w, h] = [probe.width, probe.height];
  const pixels = probe.getContext("2d").getImageData(0, 0, w, h).data;
  const rim = Math.max(1, Math.round(Math.min(w, h) * BORDER));
  const background = [0, 1, 2].map((channel) => {
    const values = [];
    for (let y = 0; y < h; y += 1) {
      for (let x = 0; x < w; x += 1) {
        if (x < rim || y < rim || x >= w - rim || y >= h - rim) values.push(pixels[4 * (y * w + x) + channel]);
      }
    }
    values.sort((a, b) => a - b);
    const middle = values[values.length >> 1];
    const spread = values[Math.floor(values.length * 0.84)] - values[Math.floor(values.length * 0.16)];
    return { middle, spread: Math.max(8, spread / 2) };
  });
  const different = new Uint8Array(w * h);
  for (let at = 0; at < w * h; at += 1) {
    const away = background.reduce((sum, { middle, spread }, channel) => sum + ((pixels[4 * at + channel] - middle) / spread) ** 2, 0);
    different[at] = Math.sqrt(away) > DIFFERENT ? 1 : 0;
  }
  const found = largest(different, w, h);
  if (found.count < LEAST * w * h || found.count > MOST * w * h) return { ...MIDDLE, sure: false };
  const margin = 0.06 * Math.max(found.right - found.left, found.bottom - found.top);
  const left = Math.max(0, found.left - margin) / w;
  const top = Math.max(0, found.top - margin) / h;
  return {
    x: left, y: top, sure: true,
    width: Math.min(1, (found.right + 1 + margin) / w) - left,
    height: Math.min(1, (found.bottom + 1 + margin) / h) - top,
  };
}

/** Pixel count and bounds of the largest connected component; components that touch the middle count double. */
function largest(mask, w, h) {
  let best = { count: 0, weight: 0, left: 0, top: 0, right: 0, bottom: 0 };
  const open = [];
  for (let start = 0; start < w * h; start += 1) {
    if (mask[start] !== 1) continue;
    const part = { count: 0, weight: 0, left: w, top: h, right: 0, bottom: 0 };
    mask[start] = 2;
    open.push(start);
    while (open.length) {
      const at = open.pop();
      const [x, y] = [at % w, Math.floor(at / w)];
      part.count += 1;
      part.weight += Math.abs(x / w - 0.5) < 0.25 && Math.abs(y / h - 0.5) < 0.25 ? 2 : 1;
      part.left = Math.min(part.left, x);
      part.right = Math.max(part.right, x);
      part.top = Math.min(part.top, y);
      part.bottom = Math.max(part.bottom, y);
      for (const [next, inside] of [[at - 1, x > 0], [at + 1, x < w - 1], [at - w, y > 0], [at + w, y < h - 1]]) {
        if (inside && mask[next] === 1) {
          mask[next] = 2;
          open.push(next);
        }
      }
    }
    if (part.weight > best.weight) best = part;
  }
  return best;
}
