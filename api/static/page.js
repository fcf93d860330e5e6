/** The page: photographs in, cards out. What a packet looks like is decided in `cards.js`. */

import { Board, summary, verdictInWords } from "./cards.js";
import { byId, h } from "./dom.js";
import * as kept from "./history.js";
import { readPhotograph, thumbnail } from "./photographs.js";
import { PinactorsError, analyze, confirm } from "./pinactors.js";

const VIEWS = [
  { view: "front", title: "Front", hint: "Fill the frame, straight from above.", required: true },
  { view: "back", title: "Back", hint: "The stamp and the pattern must be sharp." },
  { view: "angled", title: "Tilted", hint: "Tilt it so that light runs over the enamel." },
];
const KEY = "pinactors.key";

const photographs = {};
const slots = {};
let running = null;

const apiKey = () => {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
};

for (const { view, title, hint, required } of VIEWS) slots[view] = slot(view, title, hint, required);
byId("slots").append(...Object.values(slots).map((one) => one.element));
byId("analyze").addEventListener("click", start);
byId("stop").addEventListener("click", () => running?.abort());
byId("fresh").addEventListener("click", fresh);
byId("history-clear").addEventListener("click", () => {
  kept.forgetAll();
  showHistory();
});
byId("key-open").addEventListener("click", askKey);
showHistory();

/** One photograph's place: example, preview, buttons, warnings. */
function slot(view, title, hint, required) {
  const example = h("img", { src: `static/example-${view}.svg`, alt: `Example of a ${title.toLowerCase()} photograph`, class: "example" });
  const frame = h("div", { class: "frame" }, example);
  const warning = h("p", { class: "warning", role: "status" });
  const camera = h("input", { type: "file", accept: "image/*", capture: "environment", hidden: true, tabindex: -1, "aria-label": `Camera, ${title}` });
  const chooser = h("input", { type: "file", accept: "image/*,.heic,.heif", id: `choose-${view}`, class: "visually-hidden", "aria-label": `${title} photograph` });
  for (const input of [camera, chooser]) {
    input.addEventListener("change", () => {
      if (input.files[0]) void take(view, input.files[0]);
      input.value = "";
    });
  }
  const remove = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => clear(view) }, "Remove");
  const element = h("figure", { class: "slot", id: `slot-${view}` },
    h("figcaption", {}, h("strong", {}, title), required ? " (needed)" : " (helps)", h("small", {}, hint)),
    frame, warning,
    h("div", { class: "slot-actions" },
      h("button", { type: "button", onclick: () => openCamera(view, hint, camera), "aria-label": `Take the ${title.toLowerCase()} photograph` }, "Camera"),
      h("label", { for: `choose-${view}`, class: "button" }, "Choose"), remove),
    camera, chooser);
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) void take(view, file);
  });
  return { element, frame, example, warning, remove };
}

async function take(view, file) {
  const place = slots[view];
  place.warning.textContent = "Reading …";
  const photograph = await readPhotograph(file);
  photographs[view] = photograph;
  const shown = photograph.picture ?? h("p", { class: "no-preview" }, "This format cannot be shown here. It is sent as it is.");
  if (photograph.picture) {
    shown.setAttribute("role", "img");
    shown.setAttribute("aria-label", `Your ${view} photograph`);
  }
  place.frame.replaceChildren(shown);
  place.warning.textContent = photograph.problems.join(" ");
  place.element.classList.toggle("warned", photograph.problems.length > 0);
  place.element.classList.add("taken");
  place.remove.hidden = false;
  byId("analyze").disabled = !photographs.front || running !== null;
}

function clear(view) {
  const place = slots[view];
  delete photographs[view];
  place.frame.replaceChildren(place.example);
  place.warning.textContent = "";
  place.element.classList.remove("warned", "taken");
  place.remove.hidden = true;
  byId("analyze").disabled = !photographs.front || running !== null;
}

/** Phones have a better camera app than any page; elsewhere the browser's own camera is opened. */
async function openCamera(view, hint, input) {
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices?.getUserMedia) {
    input.click();
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 }, facingMode: "environment" } });
  } catch {
    slots[view].warning.textContent = "No camera could be opened. Choose a file instead.";
    return;
  }
  const dialog = byId("camera");
  const video = byId("camera-picture");
  byId("camera-hint").textContent = hint;
  video.srcObject = stream;
  byId("camera-take").onclick = () => {
    const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => blob && void take(view, new File([blob], `${view}.jpg`, { type: blob.type })), "image/jpeg", 0.95);
    dialog.close();
  };
  byId("camera-close").onclick = () => dialog.close();
  dialog.onclose = () => stream.getTracks().forEach((track) => track.stop());
  dialog.showModal();
}

async function start() {
  const pictures = Object.fromEntries(Object.entries(photographs).map(([view, one]) => [view, one.picture]));
  const images = Object.fromEntries(Object.entries(photographs).map(([view, one]) => [view, one.blob]));
  running = new AbortController();
  busy(true);
  let sent = false;
  const board = openBoard(pictures);
  const entry = { at: Date.now(), thumbnail: pictures.front ? thumbnail(pictures.front) : null, packets: [] };
  try {
    for await (const packet of analyze(images, {
      apiKey: apiKey(),
      signal: running.signal,
      onUploadProgress: (bytes, total) => {
        byId("sent").value = total ? bytes / total : 0;
        sent = total !== undefined && bytes >= total;
        say(sent ? "Sent. Waiting for the first result …" : "Sending …");
      },
      onState: (state) => {
        if (state === "uploading") say("Sending …");
        byId("status").dataset.state = state;
        if (state === "reconnecting") say("Reconnecting … nothing is lost.");
      },
    })) {
      entry.packets.push(packet);
      receive(packet, board, entry);
    }
  } catch (error) {
    failed(error, board);
  } finally {
    running = null;
    busy(false);
  }
}

function receive(packet, board, entry) {
  byId("sending").hidden = true;
  if (packet.demonstration) byId("demonstration").hidden = false;
  board.show(packet);
  switch (packet.packetType) {
    case "CONNECTION_ESTABLISHED":
      entry.streamId = packet.streamId;
      say("Connected. The analysis is under way; results appear as they are found.");
      break;
    case "ANALYSIS_COMPLETE":
      board.finish("This part could not be had this time.");
      say(summary(packet));
      byId("cards").append(feedbackCard(packet));
      kept.remember(entry);
      showHistory();
      break;
    case "ERROR":
      board.finish("No result.");
      say(packet.error && packet.error !== packet.message ? `${packet.message}: ${packet.error}` : packet.message, true);
      break;
    default:
      say("More results are on the way …");
  }
}

function failed(error, board) {
  byId("sending").hidden = true;
  if (error?.name === "AbortError") {
    board.finish("Stopped.");
    say("Stopped.");
    return;
  }
  board.finish("No result.");
  if (error instanceof PinactorsError) {
    say(error.detail && error.detail !== error.message ? `${error.message}: ${error.detail}` : error.message, true);
    if (error.code === "unauthorized") askKey();
    return;
  }
  say("Something went wrong on this page. Please try again.", true);
  throw error;
}

function openBoard(pictures) {
  byId("results").hidden = false;
  byId("demonstration").hidden = true;
  return new Board(byId("cards"), { pictures, catalogPicture, highlight });
}

/** Marks a region on the photograph it came from; `scroll` brings that photograph into sight. */
function highlight(box, scroll = false) {
  document.querySelectorAll(".mark").forEach((mark) => mark.remove());
  if (!box) return;
  const { frame } = slots[box.view];
  const picture = frame.querySelector("canvas");
  if (!picture) return;
  const mark = h("span", { class: "mark", "aria-hidden": "true" });
  const [area, inside] = [frame.getBoundingClientRect(), picture.getBoundingClientRect()];
  mark.style.left = `${inside.left - area.left + box.x * inside.width}px`;
  mark.style.top = `${inside.top - area.top + box.y * inside.height}px`;
  mark.style.width = `${box.width * inside.width}px`;
  mark.style.height = `${box.height * inside.height}px`;
  frame.append(mark);
  if (scroll) frame.scrollIntoView({ block: "center", behavior: "smooth" });
}

const catalogPictures = new Map();

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

function feedbackCard(packet) {
  const comment = h("textarea", { id: "comment", rows: 2, maxlength: 2000 });
  const answer = h("p", { role: "status" });
  const buttons = [["agree", "I agree"], ["disagree", "I disagree"]].map(([agreement, label]) =>
    h("button", { type: "button", "data-agreement": agreement, "aria-pressed": "false", onclick: (event) => save(event.currentTarget) }, label));
  async function save(button) {
    answer.textContent = "Saving …";
    try {
      await confirm(
        { recordNumber: packet.id, pinId: packet.sessionId, agree: button.dataset.agreement === "agree", comment: comment.value.trim() },
        { apiKey: apiKey() },
      );
      buttons.forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
      answer.textContent = "Saved. Thank you.";
    } catch (error) {
      answer.textContent = error instanceof PinactorsError ? error.message : "Not saved: no connection. Please try again.";
    }
  }
  return h("article", { class: "card feedback" }, h("header", {}, h("h3", {}, "Is this right?")),
    h("div", { class: "card-body" }, h("label", { for: "comment" }, "Comment (if you like)"), comment,
      h("div", { class: "actions" }, ...buttons), answer,
      h("p", { class: "hint" }, "A better photograph of one view? Replace it above and analyse again.")));
}

function showHistory() {
  const entries = kept.all();
  byId("history").hidden = !entries.length;
  byId("history-list").replaceChildren(...entries.map((entry) => {
    const verdict = entry.packets.find((packet) => packet.packetType === "AUTHENTICATION_RESULT");
    const characters = entry.packets.find((packet) => packet.packetType === "CHARACTER_IDENTIFICATION");
    const picture = /^data:image\/jpeg;base64,/.test(entry.thumbnail ?? "") ? entry.thumbnail : null;
    return h("li", {}, h("button", { type: "button", class: "history-entry", onclick: () => reopen(entry) },
      picture && h("img", { src: picture, alt: "", width: 48, height: 48 }),
      h("span", {}, h("strong", {}, characters?.characters || "Not identified"), h("small", {}, verdict ? verdictInWords(verdict) : "No verdict")),
      h("time", { datetime: new Date(entry.at).toISOString() }, new Date(entry.at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }))));
  }));
}

function reopen(entry) {
  if (running) return;
  const board = openBoard({});
  for (const packet of entry.packets) {
    board.show(packet, false);
    if (packet.demonstration) byId("demonstration").hidden = false;
    if (packet.packetType === "ANALYSIS_COMPLETE") byId("cards").append(feedbackCard(packet));
  }
  board.finish("This part was not had at the time.");
  say(`From ${new Date(entry.at).toLocaleString()}.`);
  byId("results-heading").focus();
}

function fresh() {
  for (const { view } of VIEWS) clear(view);
  byId("results").hidden = true;
  byId("fresh").hidden = true;
  say("");
  byId("slot-front").querySelector("button").focus();
}

function busy(on) {
  byId("analyze").disabled = on || !photographs.front;
  byId("analyze").textContent = on ? "Analysing …" : "Analyse this pin";
  byId("stop").hidden = !on;
  byId("fresh").hidden = on;
  byId("sending").hidden = !on;
  byId("sent").value = 0;
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
    say(key ? "Key saved on this device." : "Key removed.");
  };
  dialog.showModal();
}
