/** Requests other than analyses: catalogue pictures and names, finished results, the example. */

import { scaled } from "./capture/photographs.js";
import { keyHeaders } from "./key.js";

const LONGEST = 1600;

/** Requested catalogue pictures, as promises of a Blob or null (the catalogue has none), by pin and view. */
const pictures = new Map();
const urls = new Map();

async function asked(path, signal) {
  return fetch(path, { headers: keyHeaders(), signal });
}

function catalogBlob(pinId, view) {
  const name = `${encodeURIComponent(pinId)}/${view}`;
  if (!pictures.has(name)) {
    const picture = download(`/catalog/${name}`);
    pictures.set(name, picture);
    // forget failures, so that the next call requests the picture again
    void picture.catch(() => null).then((blob) => blob ?? pictures.delete(name));
  }
  return pictures.get(name);
}

async function download(path) {
  const response = await asked(path);
  if (response.status === 404) return null;
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response.blob();
}

/**
 * A catalogue picture as an object URL (fetched, because an `img` cannot send a key); null if the catalogue has none.
 * Rejects if it cannot be loaded.
 */
export async function catalogPicture(pinId, view) {
  const blob = await catalogBlob(pinId, view);
  if (blob && !urls.has(blob)) urls.set(blob, URL.createObjectURL(blob));
  return blob && urls.get(blob);
}

/** As `catalogPicture`, but a canvas. */
export async function catalogCanvas(pinId, view) {
  const blob = await catalogBlob(pinId, view);
  return blob && picture(blob);
}

async function picture(blob) {
  const bitmap = await createImageBitmap(blob);
  const canvas = scaled(bitmap, LONGEST);
  bitmap.close();
  return canvas;
}

/** Pins of the catalogue whose name, characters, series or code contain `text`. */
export async function searchCatalog(text, signal) {
  const response = await asked(`/catalog?search=${encodeURIComponent(text)}`, signal);
  if (!response.ok) throw new Error(`the catalogue answered ${response.status}`);
  return (await response.json()).pins;
}

/**
 * A finished analysis by its stream id, as an entry of the collection; null if the server has none for this key. Throws if
 * the server cannot be reached, is busy or needs a key, with the `status` of its answer if there is one.
 */
export async function result(id) {
  const response = await asked(`/results/${id}/packets`);
  if ([400, 404, 410].includes(response.status)) return null;
  if (!response.ok) throw Object.assign(new Error(`the server answered ${response.status}`), { status: response.status });
  const packets = await response.json();
  const display = packets.find((packet) => packet.packetType === "HTML_DISPLAY_DATA") ?? {};
  const views = ["front", "back", "angled"].filter((view) => view === "front" || display[`${view}Html`]);
  const previews = {};
  for (const view of views) {
    const photograph = await asked(`/results/${id}/${view}`).then((answer) => (answer.ok ? answer.blob() : null)).catch(() => null);
    if (photograph) previews[view] = photograph;
  }
  return { id, at: Date.parse(packets[0]?.timestamp) || 0, previews, packets };
}

/** Fetches three photographs of a demonstration pin. */
export async function examplePhotographs() {
  return Promise.all(["front", "back", "angled"].map(async (view) => {
    const response = await fetch(`/example/${view}`);
    if (!response.ok) throw new Error(`the example answered ${response.status}`);
    return new File([await response.blob()], `${view}.jpg`, { type: "image/jpeg" });
  }));
}

export function randomName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
