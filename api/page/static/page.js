/** The page: photographs in, cards out. What a packet looks like is decided in `cards.js`. */

import { Capture } from "./capture.js";
import { Board, summary, verdictInWords } from "./cards.js";
import { money } from "./charts.js";
import { byId, h } from "./dom.js";
import { feedbackCard } from "./feedback.js";
import * as kept from "./history.js";
import { restored, thumbnail } from "./photographs.js";
import { PinactorsError, analyze } from "./pinactors.js";
import { share } from "./share.js";

const KEY = "pinactors.key";
const UNNAMED = "Results";

/** What a refusal means for the person who reads it; `detail` of the server is added where it helps. */
const REFUSALS = {
  unauthorized: "This server needs an access key.",
  overloaded: "The server is busy. Please try again in a moment.",
  too_large: "These photographs are too large for this server.",
  invalid_format: "A photograph could not be read.",
  network: "No connection for a long time. Your photographs are still here: analyse again when you are back online.",
  stream_not_found: "The server no longer has this analysis. Please analyse again.",
  cancelled: "The analysis was stopped.",
};
const EXPLAINED = new Set(["invalid_format", "too_large"]);

let running = null;
/** The analysis on the board: its packets and its front photograph. */
let current = { packets: [], pictures: {} };

/** Catalogue pictures that were asked for, as promises by pin and view. */
const catalogPictures = new Map();

const apiKey = () => {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
};

const capture = new Capture(byId("capture"), controls);
byId("analyze").addEventListener("click", start);
byId("stop").addEventListener("click", () => running?.abort());
byId("fresh").addEventListener("click", fresh);
byId("change").addEventListener("click", () => capture.focus("front"));
byId("share").addEventListener("click", () => void shareResult());
byId("history-clear").addEventListener("click", () => {
  kept.forgetAll();
  showHistory();
});
byId("key-open").addEventListener("click", askKey);

/** Buttons as the moment allows them. */
function controls() {
  const busy = running !== null;
  const shown = !byId("results").hidden;
  byId("analyze").disabled = busy || !capture.ready;
  byId("analyze").textContent = busy ? "Analysing …" : shown ? "Analyse again" : "Analyse this pin";
  byId("analyze").hidden = capture.compact && !busy;
  byId("stop").hidden = !busy;
  byId("fresh").hidden = busy || !shown;
  byId("change").hidden = busy || !capture.compact;
}

async function start() {
  const pictures = capture.each("picture");
  running = new AbortController();
  byId("sending").hidden = false;
  byId("sent").value = 0;
  byId("sent-share").textContent = "";
  const board = openBoard(pictures);
  controls();
  const entry = { at: Date.now(), thumbnails: thumbnails(pictures), packets: [] };
  current = { packets: entry.packets, pictures };
  try {
    for await (const packet of analyze(capture.each("blob"), {
      apiKey: apiKey(),
      signal: running.signal,
      cancelOnAbort: true,
      onUploadProgress: showProgress,
      onState: showState,
    })) {
      entry.packets.push(packet);
      receive(packet, board, entry);
    }
  } catch (error) {
    failed(error, board);
  } finally {
    running = null;
    byId("sending").hidden = true;
    controls();
  }
}

function thumbnails(pictures) {
  return Object.fromEntries(Object.entries(pictures).filter(([, picture]) => picture).map(([view, picture]) => [view, thumbnail(picture)]));
}

function showProgress(bytes, total) {
  byId("sent").value = total ? bytes / total : 0;
  byId("sent-share").textContent = total ? `${kilobytes(bytes)} of ${kilobytes(total)} kB` : `${kilobytes(bytes)} kB`;
  say(total !== undefined && bytes >= total ? "Sent. Waiting for the first result …" : "Sending …");
}

const kilobytes = (bytes) => Math.round(bytes / 1024).toLocaleString();

function showState(state, { retryIn = 0, error } = {}) {
  byId("status").dataset.state = state;
  if (state === "uploading") say("Sending …");
  if (state !== "reconnecting") return;
  if (error?.code === "overloaded") say(`The server is busy. Trying again in ${Math.ceil(retryIn / 1000)} s …`);
  else say(navigator.onLine === false ? "You are offline. It goes on as soon as you are back; nothing is lost." : "Reconnecting … nothing is lost.");
}

function openBoard(pictures, retakes = true) {
  byId("results").hidden = false;
  byId("demonstration").hidden = true;
  byId("share").hidden = true;
  byId("results-heading").textContent = UNNAMED;
  byId("announcement").textContent = "";
  return new Board(byId("cards"), { pictures, catalogPicture, retake: retakes ? (view) => capture.focus(view) : null });
}

function receive(packet, board, entry) {
  byId("sending").hidden = true;
  const said = show(packet, board);
  if (said) byId("announcement").textContent = said;
  const [done, all] = board.progress;
  switch (packet.packetType) {
    case "CONNECTION_ESTABLISHED":
      entry.streamId = packet.streamId;
      capture.compact = true;
      controls();
      say("Connected. Results appear as they are found.");
      break;
    case "ANALYSIS_COMPLETE":
      board.finish("This part could not be had this time.");
      say(summary(packet));
      kept.remember(entry);
      showHistory();
      break;
    case "ERROR":
      capture.compact = false;
      board.finish("No result.");
      complain(packet.errorCode, packet.message, packet.error);
      break;
    default:
      if (said) say(`${done} of ${all} results are in …`);
  }
}

/** A packet on the board, whether it comes from the server or from the history. */
function show(packet, board, live = true) {
  if (packet.demonstration) byId("demonstration").hidden = false;
  const said = board.show(packet, live);
  if (packet.packetType === "CHARACTER_IDENTIFICATION" && packet.identified) {
    byId("results-heading").textContent = packet.candidates[0].name;
  }
  if (packet.packetType === "ANALYSIS_COMPLETE") {
    byId("cards").append(feedbackCard(packet, apiKey));
    byId("share").hidden = false;
  }
  return said;
}

function failed(error, board) {
  if (error?.name === "AbortError") {
    board.finish("Stopped.");
    capture.compact = false;
    say("Stopped.");
    return;
  }
  board.finish("No result.");
  capture.compact = false;
  if (board.progress[0] === board.progress[1] && !current.packets.length) byId("results").hidden = true;
  if (error instanceof PinactorsError) {
    complain(error.code, error.message, error.detail);
    if (error.code === "unauthorized") askKey();
    return;
  }
  say("Something went wrong on this page. Please try again.", true);
  throw error;
}

function complain(code, message, detail) {
  const plain = REFUSALS[code] ?? message;
  const more = (EXPLAINED.has(code) || !REFUSALS[code]) && detail && detail !== message ? ` ${detail}` : "";
  say(`${plain}${more}`, true);
}

/** A catalogue picture as an object URL (fetched, since an `img` cannot send a key); null where there is none. */
function catalogPicture(pinId, view) {
  const name = `${pinId}/${view}`;
  if (!catalogPictures.has(name)) {
    const headers = apiKey() ? { "x-api-key": apiKey() } : {};
    const picture = fetch(`catalog/${encodeURIComponent(pinId)}/${view}`, { headers })
      .then(async (response) => (response.ok ? URL.createObjectURL(await response.blob()) : null))
      .catch(() => null);
    catalogPictures.set(name, picture);
  }
  return catalogPictures.get(name);
}

function found(packets, type) {
  return packets.find((packet) => packet.packetType === type);
}

async function shareResult() {
  const verdict = found(current.packets, "AUTHENTICATION_RESULT");
  const price = found(current.packets, "PRICING_ANALYSIS")?.estimate;
  const judged = verdict && verdict.verdict !== "not_a_pin" && verdict.authenticityRating > 0;
  try {
    await share({
      picture: current.pictures.front,
      verdict: verdict?.verdict,
      words: verdict ? verdictInWords(verdict) : "Not decided",
      rating: judged ? verdict.authenticityRating : null,
      title: byId("results-heading").textContent === UNNAMED ? "Not identified" : byId("results-heading").textContent,
      price: price ? `${money(price.low, price.currency)} to ${money(price.high, price.currency)} if genuine` : "",
    });
  } catch (error) {
    if (error?.name !== "AbortError") say("The picture could not be shared.", true);
  }
}

function showHistory() {
  const entries = kept.all();
  byId("history").hidden = !entries.length;
  byId("history-list").replaceChildren(...entries.map((entry) => {
    const verdict = found(entry.packets, "AUTHENTICATION_RESULT");
    const characters = found(entry.packets, "CHARACTER_IDENTIFICATION");
    const picture = entry.thumbnails?.front;
    const image = h("img", { alt: "", width: 56, height: 56, hidden: true });
    if (/^data:image\/jpeg;base64,/.test(picture ?? "")) Object.assign(image, { src: picture, hidden: false });
    const name = characters?.identified ? characters.candidates[0].name : characters?.characters;
    return h("li", {}, h("button", { type: "button", class: "history-entry", onclick: () => void reopen(entry) },
      image,
      h("span", {}, h("strong", {}, name || "Not identified"),
        h("small", { class: `tone-${verdict?.verdict}` }, verdict ? verdictInWords(verdict) : "No verdict")),
      h("time", { datetime: new Date(entry.at).toISOString() }, when(entry.at))));
  }));
}

function when(at) {
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

async function reopen(entry) {
  if (running) return;
  const pictures = {};
  for (const [view, url] of Object.entries(entry.thumbnails ?? {})) {
    const picture = await restored(url);
    if (picture) pictures[view] = picture;
  }
  const board = openBoard(pictures, false);
  current = { packets: entry.packets, pictures };
  for (const packet of entry.packets) show(packet, board, false);
  board.finish("This part was not had at the time.");
  say(`From ${when(entry.at)}.`);
  controls();
  byId("results-heading").focus();
  byId("results").scrollIntoView({ block: "start" });
}

function fresh() {
  capture.clearAll();
  byId("results").hidden = true;
  say("");
  capture.focus("front");
}

function say(text, wrong = false) {
  const status = byId("status");
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

function askKey() {
  const dialog = byId("key");
  byId("key-value").value = apiKey();
  dialog.onclose = () => {
    if (dialog.returnValue !== "save") return;
    const key = byId("key-value").value.trim();
    try {
      if (key) localStorage.setItem(KEY, key);
      else localStorage.removeItem(KEY);
    } catch {
      say("This browser keeps nothing, so the key could not be saved.", true);
      return;
    }
    say(key ? "Key saved on this device. Please analyse again." : "Key removed.");
  };
  dialog.returnValue = "";
  dialog.showModal();
}

controls();
showHistory();
