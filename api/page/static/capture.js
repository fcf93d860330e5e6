/** The photographs' places: example, preview, camera, warnings, retake of a single view. */

import { byId, h } from "./dom.js";
import { readPhotograph } from "./photographs.js";

const VIEWS = [
  { view: "front", title: "Front", hint: "Fill the frame, straight from above.", required: true },
  { view: "back", title: "Back", hint: "Stamp and pattern sharp: it settles most." },
  { view: "angled", title: "Tilted", hint: "Tilt it so that light runs over the enamel." },
];

/** `changed()` is called after a photograph came or went. */
export class Capture {
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    /** By view, what `readPhotograph` made. */
    this.photographs = {};
    this.slots = Object.fromEntries(VIEWS.map((one) => [one.view, this.slot(one)]));
    byId("slots").append(...Object.values(this.slots).map((slot) => slot.element));
  }

  get ready() {
    return Boolean(this.photographs.front);
  }

  /** A field of every photograph there is, by view. */
  each(field) {
    return Object.fromEntries(Object.entries(this.photographs).map(([view, one]) => [view, one[field]]));
  }

  /** Small pictures only, so that the results have the room; otherwise everything to take them. */
  set compact(on) {
    this.root.classList.toggle("compact", on);
  }

  get compact() {
    return this.root.classList.contains("compact");
  }

  /** Leads to one view's place. */
  focus(view) {
    this.compact = false;
    this.changed();
    const { element } = this.slots[view];
    element.scrollIntoView({ block: "center" });
    element.querySelector(".slot-actions button").focus({ preventScroll: true });
  }

  slot({ view, title, hint, required }) {
    const name = title.toLowerCase();
    const example = h("img", { src: `static/example-${view}.svg`, alt: `Example of a ${name} photograph`, class: "example" });
    const frame = h("div", { class: "frame" }, example);
    const warning = h("p", { class: "warning", role: "status" });
    const camera = h("input", { type: "file", accept: "image/*", capture: "environment", hidden: true, tabindex: -1, "aria-label": `Camera, ${title}` });
    const chooser = h("input", { type: "file", accept: "image/*,.heic,.heif", id: `choose-${view}`, class: "visually-hidden", "aria-label": `Choose a ${name} photograph` });
    for (const input of [camera, chooser]) {
      input.addEventListener("change", () => {
        if (input.files[0]) void this.take(view, input.files[0]);
        input.value = "";
      });
    }
    const shoot = h("button", { type: "button", onclick: () => this.openCamera(view, title, hint, camera), "aria-label": `Take the ${name} photograph` }, "Camera");
    const remove = h("button", { type: "button", class: "remove", hidden: true, "aria-label": `Remove the ${name} photograph`, onclick: () => {
      this.clear(view);
      shoot.focus();
    } }, "×");
    const element = h("figure", { class: "slot", id: `slot-${view}` },
      h("figcaption", {}, h("strong", {}, title), h("span", { class: "need" }, required ? "needed" : "helps"), h("small", {}, hint)),
      frame, remove, warning,
      h("div", { class: "slot-actions" }, shoot, chooser, h("label", { for: `choose-${view}`, class: "button" }, "Choose")),
      camera);
    element.addEventListener("dragover", (event) => event.preventDefault());
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      const file = event.dataTransfer?.files[0];
      if (file) void this.take(view, file);
    });
    return { element, frame, example, warning, remove, shoot };
  }

  async take(view, file) {
    const place = this.slots[view];
    place.warning.textContent = "Reading …";
    const photograph = await readPhotograph(file);
    this.photographs[view] = photograph;
    const shown = photograph.picture ?? h("p", { class: "no-preview" }, "No preview of this format. It is sent as it is.");
    if (photograph.picture) {
      shown.setAttribute("role", "img");
      shown.setAttribute("aria-label", `Your ${view} photograph`);
    }
    place.frame.replaceChildren(shown);
    place.warning.textContent = photograph.problems.join(" ");
    place.element.classList.toggle("warned", photograph.problems.length > 0);
    place.element.classList.add("taken");
    place.shoot.textContent = "Retake";
    place.remove.hidden = false;
    this.changed();
  }

  clear(view) {
    const place = this.slots[view];
    delete this.photographs[view];
    place.frame.replaceChildren(place.example);
    place.warning.textContent = "";
    place.element.classList.remove("warned", "taken");
    place.shoot.textContent = "Camera";
    place.remove.hidden = true;
    this.changed();
  }

  clearAll() {
    for (const { view } of VIEWS) this.clear(view);
  }

  /** Phones have a better camera app than any page; elsewhere the browser's own camera is opened. */
  async openCamera(view, title, hint, input) {
    if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices?.getUserMedia) {
      input.click();
      return;
    }
    const place = this.slots[view];
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 }, facingMode: "environment" } });
    } catch (error) {
      place.warning.textContent = error?.name === "NotAllowedError"
        ? "The camera is not allowed here. Choose a file, or allow it in the browser."
        : "No camera could be opened. Choose a file instead.";
      return;
    }
    const dialog = byId("camera");
    const video = byId("camera-picture");
    const shoot = byId("camera-take");
    byId("camera-heading").textContent = `${title} photograph`;
    byId("camera-hint").textContent = hint;
    shoot.disabled = true; // until there is a picture to take
    video.onplaying = () => {
      shoot.disabled = false;
      shoot.focus();
    };
    video.srcObject = stream;
    shoot.onclick = () => {
      const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob((blob) => blob && void this.take(view, new File([blob], `${view}.jpg`, { type: blob.type })), "image/jpeg", 0.95);
      dialog.close();
    };
    byId("camera-close").onclick = () => dialog.close();
    dialog.onclose = () => {
      stream.getTracks().forEach((track) => track.stop());
      video.srcObject = null;
    };
    dialog.showModal();
  }
}
