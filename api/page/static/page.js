/** The collectors' page: sends photographs and shows results, each at its own URL. `result/` displays the packets. */

import { pinBox } from "./capture/outline.js";
import { preview, restored } from "./capture/photographs.js";
import { Capture } from "./capture/slots.js";
import { askWhichPin } from "./collection/lookup.js";
import { Collection } from "./collection/collection.js";
import * as store from "./collection/store.js";
import { byId, trusted } from "./dom.js";
import { apiKey, askKey } from "./key.js";
import { PinactorsError, analyze, follow } from "./pinactors.js";
import { Board } from "./result/board.js";
import { feedbackCard, press, tell } from "./result/feedback.js";
import { cropped } from "./result/hero.js";
import { share } from "./result/share.js";
import { essence, money, summary } from "./result/words.js";
import * as server from "./server.js";

/** Explanations of error codes for the user; the server's `detail` is added if it helps. */
const REFUSALS = {
  unauthorized: "This server needs an access key.",
  overloaded: "The server is busy. Please try again in a moment.",
  too_large: "These photographs are too large for this server.",
  invalid_format: "A photograph could not be read.",
  network: "No connection for a long time. Your photographs are kept: continue when you are back online.",
  stream_not_found: "The server no longer has this analysis.",
  cancelled: "The analysis was stopped.",
};
/** The explanation of an error code; undefined for a code that only the server explains. */
const refusal = (code) => (code === "unauthorized" && apiKey() ? "The server does not accept this access key." : REFUSALS[code]);
const RUNNING = "An analysis is running. Please wait until it has ended.";
const EXPLAINED = new Set(["invalid_format", "too_large"]);
/** Views other than the front: if one cannot be read, the analysis continues without it. */
const OPTIONAL = new Set(["back", "angled"]);
/** Error codes after which the same analysis can be continued later: its photographs are kept. */
const CONTINUABLE = new Set(["network", "overloaded", "unauthorized"]);

/** The running analysis, `{entry, board, controller}`; null if there is none. */
let running = null;
/** Whether an analysis is being prepared. */
let beginning = false;
/** The unfinished analysis that the page offers to continue. */
let offered = null;
/** The result shown: its entry, its board, the pictures by view. */
let shown = null;
/** The path of the current view; a change of the URL's fragment does not change it. */
let path = null;
/** Group of the analyses of one pin; "New pin" begins another group. */
let group = null;

const capture = new Capture({ changed: controls, say: notice });
const collection = new Collection(byId("collection"), (entry) => void open(entry, true));

byId("analyze").addEventListener("click", () => void alone(start));
byId("example").addEventListener("click", () => void alone(example));
byId("fresh").addEventListener("click", fresh);
byId("key-open").addEventListener("click", () => askKey(notice));
byId("continue").addEventListener("click", () => void alone(() => resume(offered)));
byId("discard").addEventListener("click", () => void discard());
byId("to-collection").addEventListener("click", toCollection);
addEventListener("popstate", () => location.pathname !== path && void route());
addEventListener("offline", offline);
addEventListener("online", () => notice(""));

/** Shows the start view or a result. */
function view(name) {
  document.body.dataset.view = name;
  byId("results").hidden = name !== "result";
  controls();
}

/** Shows, hides, enables and disables the buttons by the current state. */
function controls() {
  byId("analyze").hidden = !capture.ready;
  const busy = beginning || running !== null;
  byId("analyze").disabled = busy || capture.reading > 0;
  byId("example").disabled = byId("continue").disabled = busy;
  byId("example").hidden = !capture.empty; // its photographs would replace the chosen ones
  byId("guide").hidden = capture.ready; // both have the same place, so that nothing moves
  byId("fresh").hidden = document.body.dataset.view !== "result" && !capture.ready;
}

/** Shows a message about the photographs or the page, above the buttons. */
function notice(text, wrong = false) {
  byId("notice").textContent = text;
  byId("notice").classList.toggle("wrong", wrong);
}

/** Runs `work`, which begins an analysis, unless one is being prepared or runs. */
async function alone(work) {
  if (beginning || running) return;
  beginning = true;
  controls();
  try {
    await work();
  } finally {
    beginning = false;
    controls();
  }
}

async function start() {
  const pictures = capture.each("picture");
  const entry = { at: Date.now(), group: (group ??= server.randomName()), key: server.randomName(), packets: [],
    photographs: capture.each("blob"), regions: capture.each("region"), previews: {} };
  const board = openBoard(entry, pictures, capture.each("box"));
  for (const [name, picture] of Object.entries(pictures)) entry.previews[name] = await preview(picture);
  await run(entry, board);
}

/** Resumes an analysis that a reload, a closed tab or an empty battery has interrupted. */
async function resume(left) {
  const pictures = await canvases(left.photographs);
  const board = openBoard({ ...left, packets: [] }, pictures, {});
  await run(shown.entry, board);
}

async function discard() {
  await store.forgetUnfinished(offered);
  await offer();
}

/** Offers to continue the newest analysis that was interrupted, if none runs. */
async function offer() {
  const left = await store.unfinished();
  offered = left?.photographs?.front && !running ? left : null;
  byId("unfinished").hidden = !offered;
  if (!offered) return;
  const from = new Date(left.at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  byId("unfinished-when").textContent = `Its photographs are from ${from}.`;
}

/** Runs an analysis to its end: follows it if the server has it, otherwise sends the photographs. */
async function run(entry, board) {
  const controller = new AbortController();
  running = { entry, board, controller };
  beginning = false;
  byId("unfinished").hidden = true;
  controls();
  void store.keepUnfinished(entry);
  board.strip.begin();
  const options = {
    apiKey: apiKey(), signal: controller.signal, cancelOnAbort: true, idempotencyKey: entry.key, regions: entry.regions,
    onUploadProgress: (bytes, total) => progress(board, bytes, total), onState: (state, more) => tellState(board, state, more),
  };
  try {
    const source = entry.id ? follow(entry.id, options) : analyze(entry.photographs, options);
    for await (const packet of source) {
      entry.packets.push(packet);
      receive(packet, board, entry);
      if (packet.packetType === "ANALYSIS_COMPLETE") await keep(entry);
    }
  } catch (error) {
    if (error?.code === "stream_not_found" && entry.id && entry.photographs?.front && !entry.packets.length) {
      delete entry.id; // expired on the server: send the photographs again
      return await run(entry, board);
    }
    failed(error, board, entry);
  } finally {
    running = running?.entry === entry ? null : running;
    if (byId("notice").textContent === RUNNING) notice("");
    controls();
    void offer();
  }
}

function progress(board, bytes, total) {
  board.strip.progress(bytes, total);
  board.strip.say(total && bytes >= total ? "Sent. Waiting for the first result …"
    : `Sending ${kilobytes(bytes)}${total ? ` of ${kilobytes(total)}` : ""} kB …`, { quiet: true });
}

const kilobytes = (bytes) => Math.round(bytes / 1024).toLocaleString();

function tellState(board, state, { retryIn = 0, error } = {}) {
  if (state === "uploading") board.strip.say("Sending …", { state });
  else if (state === "reconnecting" && error?.code === "overloaded") board.strip.say(`The server is busy. Trying again in ${Math.ceil(retryIn / 1000)} s …`, { state });
  else if (state === "reconnecting") {
    board.strip.say(navigator.onLine === false ? "You are offline. The analysis continues when you are back online; nothing is lost." : "Reconnecting … nothing is lost.", { state });
  } else board.strip.say(board.strip.status.textContent, { state });
}

/** Makes a new board for an entry and focuses the heading, which will show the pin's name. */
function openBoard(entry, pictures, boxes, retakes = true) {
  for (const [name, picture] of Object.entries(pictures)) boxes[name] ??= pinBox(picture);
  const board = new Board(byId("results"), {
    pictures, boxes, catalogPicture: server.catalogPicture, catalogCanvas: server.catalogCanvas,
    retake: retakes ? (name) => retake(name) : null,
    actions: { share: () => void shareResult(), name: () => namePin(), photographs: () => retake("front"), stop: () => running?.controller.abort() },
  });
  shown = { entry, board, pictures, boxes };
  notice("");
  view("result");
  scrollTo(0, 0);
  byId("results-heading").focus({ preventScroll: true });
  return board;
}

function receive(packet, board, entry) {
  board.strip.progress();
  const { streamId } = entry.packets[0];
  if (streamId && streamId !== entry.id) {
    const sentAgain = Boolean(entry.id); // the upload had not arrived completely: the first stream ended
    entry.id = streamId;
    void store.keepUnfinished(entry);
    if (shown?.entry === entry) address(`/results/${encodeURIComponent(streamId)}`, sentAgain);
  }
  const said = show(packet, board, entry);
  const [done, all] = board.progress;
  switch (packet.packetType) {
    case "CONNECTION_ESTABLISHED":
      board.strip.say("Sent. Looking at the pin …");
      break;
    case "PROCESSING_STARTED": {
      const [, others] = packet.message.split("; "); // present if the server is busy
      if (others) board.strip.say(`Sent. ${others} …`);
      break;
    }
    case "ANALYSIS_COMPLETE":
      board.finish("This part is missing this time.", true);
      board.strip.end(packet.processingTime);
      board.strip.say(summary(packet));
      break;
    case "ERROR":
      ended(packet.errorCode, packet.message, packet.error, board, entry, packet.view);
      break;
    default:
      if (!said) break;
      board.strip.announce(said);
      board.strip.say(`${done} of ${all} results have arrived …`, { quiet: true });
  }
}

/** Shows a packet of the server or the collection on the board. */
function show(packet, board, entry) {
  if (packet.demonstration) document.body.dataset.demonstration = "";
  let said;
  try {
    said = board.show(packet);
  } catch (error) {
    console.error(error); // a result that cannot be drawn does not end the analysis
  }
  if (packet.packetType === "CHARACTER_IDENTIFICATION" && entry.pin) board.hero.rename(entry.pin);
  if (packet.packetType === "ANALYSIS_COMPLETE") {
    const told = (agrees) => void keepAnswer(entry, agrees);
    board.feedback.replaceChildren(feedbackCard(packet, { key: apiKey, name: namePin, pin: () => entry.pin ?? null, agreed: entry.agrees, told }));
  }
  return said;
}

/** Stores a finished analysis, without the photographs as they were sent. */
async function keep({ id, at, group: pins, key, previews, packets, pin, agrees }) {
  await store.remember({ id, at, group: pins, previews, packets, pin, agrees });
  if (key) await store.forgetUnfinished({ key });
  await collection.refresh();
}

/** Stores whether the user agreed with an analysis, if it is in the collection. */
async function keepAnswer(entry, agrees) {
  entry.agrees = agrees;
  if (await store.find(entry.id)) await keep(entry);
}

function failed(error, board, entry) {
  if (error?.name === "AbortError") {
    ended("cancelled", "", "", board, entry);
    return;
  }
  if (!(error instanceof PinactorsError)) {
    board.finish("No result.", false);
    board.strip.say("Something went wrong on this page. Please try again.", { wrong: true });
    throw error;
  }
  ended(error.code, error.message, error.detail, board, entry, error.view);
  if (error.code === "unauthorized") askKey(notice);
}

/** Handles an analysis that ended without a result: repeats it without an unreadable view, or shows the error. */
function ended(code, message, detail, board, entry, bad) {
  if (OPTIONAL.has(bad) && entry.photographs?.[bad]) {
    void without(bad, message, entry);
    return;
  }
  if (running?.entry === entry) running = null;
  if (!CONTINUABLE.has(code)) void store.forgetUnfinished(entry);
  else if (code === "overloaded" && entry.id) {
    delete entry.id; // its stream has ended: to continue is to send the photographs again
    void store.keepUnfinished(entry);
  }
  const plain = refusal(code) ?? message;
  const more = (EXPLAINED.has(code) || !REFUSALS[code]) && detail && detail !== message ? ` ${detail}` : "";
  const wrong = code !== "cancelled";
  board.finish(wrong ? "No result." : "Stopped.", false);
  board.strip.say(`${plain}${more}`, { wrong });
  if (board.progress[0]) return; // some results are shown: keep this view
  address("/");
  view("start");
  notice(`${plain}${more}`, wrong);
  if (capture.ready) byId("analyze").focus();
}

/** Repeats the analysis without a view that could not be read. */
async function without(bad, message, entry) {
  capture.clear(bad);
  capture.slots[bad].warning.textContent = `${message}. Please take it again.`;
  const { [bad]: _, ...photographs } = entry.photographs;
  const { [bad]: __, ...previews } = entry.previews ?? {};
  const pictures = { ...shown.pictures };
  delete pictures[bad];
  const again = { ...entry, id: undefined, key: server.randomName(), packets: [], photographs, previews };
  delete again.id;
  const board = openBoard(again, pictures, shown.boxes);
  await run(again, board);
  if (!running) board.strip.say(`${message}: judged without it.`, { wrong: true });
}

function retake(name) {
  address("/");
  view("start");
  capture.focus(name);
}

async function shareResult() {
  const { entry, pictures, boxes } = shown;
  const { verdict, words, rating, name, estimate, demonstration } = essence(entry);
  const label = verdict === "counterfeit" ? "for a genuine one" : "if genuine";
  await share({
    picture: pictures.front && cropped(pictures.front, boxes.front),
    verdict, words, rating, demonstration, title: name,
    price: estimate ? `${money(estimate.low, estimate.currency)} to ${money(estimate.high, estimate.currency)} ${label}` : "",
    link: entry.id ? `${location.origin}/results/${encodeURIComponent(entry.id)}` : null,
  });
}

function namePin() {
  const { entry, board } = shown;
  const packet = entry.packets.find((one) => one.packetType === "CHARACTER_IDENTIFICATION");
  const candidates = packet?.candidates ?? [];
  const others = (packet?.alsoSeen ?? []).filter((one) => !candidates.some(({ pinId }) => pinId === one.pinId));
  askWhichPin({
    candidates: [...candidates, ...others], suggestions: packet?.suggestions ?? [], search: server.searchCatalog, catalogPicture: server.catalogPicture,
    chosen: async (pin) => {
      if (!entry.pin && packet?.identified && pin.pinId === candidates[0].pinId) return; // the identified pin: nothing is wrong
      entry.pin = pin;
      board.hero.rename(pin);
      if (await store.find(entry.id)) await keep(entry);
      const complete = entry.packets.find((one) => one.packetType === "ANALYSIS_COMPLETE");
      const comment = `Wrong: pin. It is ${pin.pinId ? `${pin.pinId} (${pin.name})` : pin.name}.`;
      const corrected = { correctedPinId: pin.pinId ?? undefined };
      if (!complete) return;
      try {
        await tell(complete, false, comment, apiKey, corrected);
      } catch {
        board.strip.say("Saved on this device; the server could not be reached.");
        return;
      }
      press(board.feedback, false);
      await keepAnswer(entry, false);
    },
  });
}

/** Shows a finished analysis of the collection or the server. */
async function open(entry, push = false) {
  if (running) {
    notice(RUNNING);
    return;
  }
  const pictures = await canvases(entry.previews ?? {});
  if (push) address(`/results/${encodeURIComponent(entry.id)}`);
  const board = openBoard(entry, pictures, {}, false);
  for (const packet of entry.packets) show(packet, board, entry);
  const complete = entry.packets.find((packet) => packet.packetType === "ANALYSIS_COMPLETE");
  board.finish("This part was missing at the time.", Boolean(complete));
  board.strip.say(new Date(entry.at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }));
  if (complete) board.strip.end(complete.processingTime);
}

async function canvases(blobs) {
  const pictures = {};
  for (const [name, blob] of Object.entries(blobs ?? {})) {
    const picture = await restored(blob);
    if (picture) pictures[name] = picture;
  }
  return pictures;
}

async function example() {
  notice("Loading the example …");
  try {
    await capture.takeAll(await server.examplePhotographs());
  } catch {
    notice("The example could not be loaded. Please try again.", true);
    return;
  }
  await start();
}

function fresh() {
  capture.clearAll();
  group = null;
  address("/");
  view("start");
  notice("");
  byId("guide").focus({ preventScroll: true });
}

function toCollection(event) {
  event.preventDefault();
  address("/");
  view("start");
  byId("collection").scrollIntoView({ block: "start" });
  byId("collection-heading").focus();
}

function offline() {
  notice("You are offline. You can open your collection; photographs can be analysed when you are back online.");
}

function address(wanted, replace = false) {
  if (location.pathname !== wanted) history[replace ? "replaceState" : "pushState"](null, "", wanted);
  path = wanted;
}

/** Shows what the URL names: the start view, or a result from this device or the server. */
async function route() {
  path = location.pathname;
  const [, id] = /^\/results\/([^/]+)$/.exec(location.pathname) ?? [];
  if (!id) {
    view("start");
    return;
  }
  if (running?.entry.id === id) {
    if (shown?.entry === running.entry) view("result");
    return;
  }
  const left = await store.unfinished(id);
  if (left && (running || beginning)) {
    view("start");
    notice(RUNNING);
    return;
  }
  if (left) return alone(() => resume(left));
  const kept = await store.find(decodeURIComponent(id));
  if (kept) return open(kept);
  let found;
  try {
    found = await server.result(id);
  } catch (error) {
    view("start");
    notice(error.status === 401 ? refusal("unauthorized") : "This result could not be loaded. Reload the page to try again.", true);
    if (error.status === 401) askKey((text, wrong) => (wrong ? notice(text, true) : void route()));
    return;
  }
  if (found) return open(found);
  address("/");
  view("start");
  notice("This result is not on this device, and the server has no such result for you.", true);
}

async function begin() {
  controls();
  await store.takeOver();
  await collection.refresh();
  await route();
  await offer();
  if (navigator.onLine === false) offline();
  navigator.serviceWorker?.register(trusted.createScriptURL("/worker.js")).catch(() => {}); // without it, the page only works online
}

void begin();
