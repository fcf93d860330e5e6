/** The places for the photographs, with example, preview and warnings; filled by the guided camera or from files. */

import { byId, h, icon } from "../dom.js";
import { canGuide, guide } from "./camera.js";
import { pinBox } from "./outline.js";
import { NotAPhotograph, readPhotograph } from "./photographs.js";

export const VIEWS = [
  { view: "front", title: "Front", hint: "Fill the outline, straight from above.", required: true },
  { view: "back", title: "Back", hint: "Get stamp and pattern sharp: they tell the most." },
  { view: "angled", title: "Tilted", hint: "Tilt the pin until light runs over the enamel." },
];

/**
 * `changed()` is called after a photograph was added or removed, and when reading files began or ended; `say(text, wrong)`
 * shows messages about files.
 */
export class Capture {
  constructor({ changed, say }) {
    this.changed = changed;
    this.say = say;
    /** By view, the result of `readPhotograph`, with `box` (from `pinBox`) and `region` (the camera's outline). */
    this.photographs = {};
    /** The number of calls that are still reading files. */
    this.reading = 0;
    this.slots = Object.fromEntries(VIEWS.map((one) => [one.view, this.slot(one)]));
    byId("slots").append(...Object.values(this.slots).map((slot) => slot.element));
    byId("guide").addEventListener("click", () => void this.guide(VIEWS.map(({ view }) => view)));
    byId("choose-all").addEventListener("change", ({ target }) => {
      const files = [...target.files];
      target.value = "";
      void this.takeAll(files);
    });
  }

  get ready() {
    return Boolean(this.photographs.front);
  }

  /** Whether no photograph was chosen and none is being read. */
  get empty() {
    return !this.reading && !Object.keys(this.photographs).length;
  }

  /** One property of all photographs that have it, by view. */
  each(field) {
    return Object.fromEntries(Object.entries(this.photographs).filter(([, one]) => one[field]).map(([view, one]) => [view, one[field]]));
  }

  /** Scrolls to one view's place and focuses it. */
  focus(view) {
    const { element } = this.slots[view];
    element.scrollIntoView({ block: "center" });
    element.querySelector(".tools button").focus({ preventScroll: true });
  }

  /** Takes `views` with the guided camera; if the page cannot open one, opens the phone's camera for the first view. */
  async guide(views) {
    const [first] = views;
    const taken = [];
    if (!canGuide()) {
      this.slots[first].camera.click();
      return;
    }
    try {
      await guide(VIEWS.filter(({ view }) => views.includes(view)), (view, file, region) => taken.push(this.take(view, file, region)));
    } catch (error) {
      this.slots[first].warning.textContent = error?.name === "NotAllowedError"
        ? "This page may not use the camera. Choose a file, or allow the camera in the browser."
        : "No camera could be opened. Choose a file instead.";
      return;
    }
    await Promise.all(taken);
    if (this.ready) byId("analyze").focus();
  }

  /** Runs `work`, which reads files; until it has ended an analysis would lack their photographs. */
  async during(work) {
    this.reading += 1;
    this.changed();
    try {
      await work();
    } finally {
      this.reading -= 1;
      this.changed();
    }
  }

  slot({ view, title, required }) {
    const name = title.toLowerCase();
    const example = h("img", { src: `/static/icons/${view}.svg`, alt: "", class: "example", width: 120, height: 120 });
    const frame = h("div", { class: "frame" }, example);
    const warning = h("p", { class: "warning", role: "status" });
    const camera = h("input", { type: "file", accept: "image/*", capture: "environment", hidden: true, tabindex: -1, "aria-label": `Camera, ${title}` });
    const chooser = h("input", { type: "file", accept: "image/*,.heic,.heif,.hif,.avif", id: `choose-${view}`, class: "visually-hidden", "aria-label": `Choose a ${name} photograph` });
    for (const input of [camera, chooser]) {
      input.addEventListener("change", () => {
        if (input.files[0]) void this.take(view, input.files[0]);
        input.value = "";
      });
    }
    const shoot = h("button", { type: "button", class: "tool", "aria-label": `Take the ${name} photograph`, title: "Camera",
      onclick: () => void this.guide([view]) }, icon("camera"));
    const remove = h("button", { type: "button", class: "remove", hidden: true, "aria-label": `Remove the ${name} photograph`, onclick: () => {
      this.clear(view);
      shoot.focus();
    } }, icon("close"));
    const element = h("figure", { class: "slot", id: `slot-${view}` },
      frame, remove,
      h("figcaption", {}, h("strong", {}, title), h("span", { class: "need" }, required ? "needed" : "helps")),
      h("div", { class: "tools" }, shoot, chooser, h("label", { for: `choose-${view}`, class: "tool", title: "Choose a file" }, icon("picture"))),
      warning, camera);
    element.addEventListener("dragover", (event) => event.preventDefault());
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      void this.takeAll([...(event.dataTransfer?.files ?? [])], view);
    });
    return { element, frame, example, warning, remove, camera };
  }

  /** Puts files into the place of `first` and then into empty places; more files than empty places replace photographs. */
  async takeAll(files, first = null) {
    const order = VIEWS.map(({ view }) => view);
    const free = order.filter((view) => !this.photographs[view]);
    const places = first ? [first, ...free.filter((view) => view !== first)] : files.length > free.length ? order : free;
    await this.during(async () => {
      for (const [index, file] of files.slice(0, places.length).entries()) await this.read(places[index], file);
    });
    if (files.length > places.length) this.say("Three photographs at most: front, back, tilted. The others were left out.");
  }

  take(view, file, region = null) {
    return this.during(() => this.read(view, file, region));
  }

  async read(view, file, region = null) {
    const place = this.slots[view];
    place.element.classList.add("busy");
    let photograph;
    try {
      photograph = await readPhotograph(file);
    } catch (error) {
      if (!(error instanceof NotAPhotograph)) throw error;
      place.warning.textContent = error.message;
      place.element.classList.add("warned");
      return;
    } finally {
      place.element.classList.remove("busy");
    }
    const { picture } = photograph;
    const [x, y, width, height] = region ?? [];
    photograph.region = region;
    photograph.box = region ? { x, y, width, height } : picture && pinBox(picture);
    this.photographs[view] = photograph;
    const shown = picture ?? h("p", { class: "no-preview" }, "No preview of this format. It is sent unchanged.");
    if (picture) {
      shown.setAttribute("role", "img");
      shown.setAttribute("aria-label", `Your ${view} photograph`);
    }
    place.frame.replaceChildren(shown);
    place.warning.textContent = photograph.problems.join(" ");
    place.element.classList.toggle("warned", photograph.problems.length > 0);
    place.element.classList.add("taken");
    place.remove.hidden = false;
  }

  clear(view) {
    const place = this.slots[view];
    delete this.photographs[view];
    place.frame.replaceChildren(place.example);
    place.warning.textContent = "";
    place.element.classList.remove("warned", "taken");
    place.remove.hidden = true;
    this.changed();
  }

  clearAll() {
    for (const { view } of VIEWS) this.clear(view);
  }
}
