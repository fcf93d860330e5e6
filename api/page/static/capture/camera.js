/** The guided camera: takes one view after the other, with an outline to fill and advice while aiming. */

import { h, icon } from "../dom.js";
import { pinBox } from "./outline.js";
import { BLURRED, DARK, measured } from "./photographs.js";

/** Side of the outline as a share of the viewfinder's shorter side. */
const OUTLINE = 0.74;
/** Milliseconds between two measurements of the picture. */
const EVERY_MS = 200;
const PROBE = 160;
/** Share of overexposed pixels that is glare. */
const GLARE = 0.05;
/** The pin's length as a share of the outline's: the least, and the largest, that is accepted. */
const SMALL = 0.62;
const LARGE = 1.15;
/** Time limit in milliseconds for a photograph of the camera's full size. */
const PHOTO_MS = 4000;

export const canGuide = () => Boolean(navigator.mediaDevices?.getUserMedia);

/**
 * Opens the camera for `views` ([{view, title, hint}]) and passes each picture to `take(view, file, region)`, where
 * `region` is the outline as [x, y, width, height] in shares of the picture, or null. Resolves when the last view is
 * taken or skipped, or the camera is closed. Rejects if no camera can be opened.
 */
export async function guide(views, take) {
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { width: { ideal: 3840 }, height: { ideal: 2160 }, facingMode: "environment" },
  });
  const camera = new Camera(views, take, stream);
  try {
    await camera.closed;
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}

class Camera {
  constructor(views, take, stream) {
    this.views = views;
    this.take = take;
    this.stream = stream;
    this.step = 0;
    this.video = h("video", { id: "camera-picture", autoplay: true, playsinline: true });
    this.video.muted = true;
    this.heading = h("h2", { id: "camera-heading" });
    this.steps = h("ol", { class: "camera-steps", "aria-hidden": "true" }, views.map(({ title }) => h("li", {}, title)));
    this.advice = h("p", { id: "camera-hint", role: "status", "aria-live": "polite" });
    this.outline = h("div", { class: "outline", "aria-hidden": "true" });
    this.meters = Object.fromEntries(["Size", "Sharpness", "No glare"].map((name) => [name, meter(name)]));
    this.shutter = h("button", { id: "camera-take", class: "shutter", type: "button", disabled: true, "aria-label": "Take the picture", onclick: () => void this.shoot() });
    this.skip = h("button", { id: "camera-skip", type: "button", class: "quiet", onclick: () => this.next() }, "Skip");
    this.element = h("dialog", { id: "camera", class: "camera", "aria-labelledby": "camera-heading", "aria-describedby": "camera-hint" },
      h("header", {}, this.heading, this.steps,
        h("button", { id: "camera-close", type: "button", class: "tool", "aria-label": "Close the camera", onclick: () => this.element.close() }, icon("close"))),
      h("div", { class: "viewfinder" }, this.video, this.outline),
      this.advice,
      h("div", { class: "meters", "aria-hidden": "true" }, Object.values(this.meters).map(({ element }) => element)),
      h("div", { class: "camera-actions" }, h("span", {}), this.shutter, this.skip));
    this.closed = new Promise((resolve) => this.element.addEventListener("close", () => {
      clearTimeout(this.timer);
      this.video.srcObject = null;
      this.element.remove();
      resolve();
    }));
    this.video.onplaying = () => {
      this.shutter.disabled = false; // the video has begun
      this.shutter.focus();
      this.look();
    };
    document.body.append(this.element);
    this.show();
    this.element.showModal();
    this.video.srcObject = stream;
  }

  show() {
    const { view, title, hint } = this.views[this.step];
    this.heading.textContent = `${title} photograph`;
    this.advice.textContent = hint;
    this.element.dataset.shown = view;
    this.skip.hidden = this.views.length === 1 || this.step === 0;
    [...this.steps.children].forEach((one, index) => one.classList.toggle("now", index === this.step));
  }

  next() {
    this.step += 1;
    if (this.step === this.views.length) this.element.close();
    else {
      this.show();
      this.shutter.focus();
    }
  }

  async shoot() {
    const { view } = this.views[this.step];
    this.shutter.disabled = true;
    const [file, region] = await this.photograph(view);
    if (!this.element.open) return; // the user closed it meanwhile
    this.shutter.disabled = false;
    if (file) this.take(view, file, region);
    this.next();
  }

  /** A full-size photograph if the camera provides one, otherwise a frame of the video; and the outline in it. */
  async photograph(view) {
    const region = this.region();
    const own = await fullSize(this.stream.getVideoTracks()[0]);
    if (own) {
      const bitmap = await createImageBitmap(own).catch(() => null);
      const alike = bitmap && Math.abs(bitmap.width / bitmap.height - this.video.videoWidth / this.video.videoHeight) < 0.02;
      bitmap?.close();
      if (bitmap) return [new File([own], `${view}.jpg`, { type: own.type }), alike ? region : null];
    }
    const canvas = h("canvas", { width: this.video.videoWidth, height: this.video.videoHeight });
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
    return [blob && new File([blob], `${view}.jpg`, { type: blob.type }), region];
  }

  /** The outline in shares of the video's frame, of which the viewfinder shows the middle. */
  region() {
    const { clientWidth: width, clientHeight: height } = this.video;
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.max(width / videoWidth, height / videoHeight); // object-fit: cover
    const side = (OUTLINE * Math.min(width, height)) / scale;
    const share = (length, whole) => Number(Math.min(1, length / whole).toFixed(4));
    const [w, h2] = [share(side, videoWidth), share(side, videoHeight)];
    return [Number(((1 - w) / 2).toFixed(4)), Number(((1 - h2) / 2).toFixed(4)), w, h2];
  }

  /** Measures the picture repeatedly and shows advice. */
  look() {
    clearTimeout(this.timer);
    if (!this.element.open) return;
    if (this.video.videoWidth) this.judge(this.seen());
    this.timer = setTimeout(() => this.look(), EVERY_MS);
  }

  /** The part of the frame in and around the outline, scaled down. */
  seen() {
    const [x, y, width, height] = this.region();
    const rim = 0.2;
    const [left, top] = [Math.max(0, x - rim * width), Math.max(0, y - rim * height)];
    const [w, h2] = [Math.min(1 - left, width * (1 + 2 * rim)), Math.min(1 - top, height * (1 + 2 * rim))];
    const canvas = h("canvas", { width: PROBE, height: Math.max(1, Math.round((PROBE * h2 * this.video.videoHeight) / (w * this.video.videoWidth))) });
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(this.video,
      left * this.video.videoWidth, top * this.video.videoHeight, w * this.video.videoWidth, h2 * this.video.videoHeight,
      0, 0, canvas.width, canvas.height);
    return { canvas, outline: width / w };
  }

  judge({ canvas, outline }) {
    const { light, edge, glare } = measured(canvas);
    const box = pinBox(canvas);
    const size = box.sure ? Math.max(box.width, box.height) / outline : null;
    const tilted = this.views[this.step].view === "angled"; // in this view reflections are wanted
    this.meters.Size.set(size === null ? null : Math.min(1, size), size !== null && size >= SMALL && size <= LARGE);
    this.meters.Sharpness.set(Math.min(1, edge / (3 * BLURRED)), edge >= BLURRED);
    this.meters["No glare"].set(1 - Math.min(1, glare / (3 * GLARE)), glare <= GLARE || tilted);
    const advice = light < DARK ? "More light"
      : size !== null && size < SMALL ? "Closer"
      : size !== null && size > LARGE ? "A little further away"
      : edge < BLURRED ? "Hold still until it is sharp"
      : glare > GLARE && !tilted ? "Glare: turn the pin or the lamp a little"
      : size !== null ? "Good. Take it" : this.views[this.step].hint;
    this.element.classList.toggle("good", advice.startsWith("Good"));
    if (this.advice.textContent !== advice) this.advice.textContent = advice;
  }
}

function meter(name) {
  const fill = h("span", { class: "meter-fill" });
  const element = h("div", { class: "meter" }, h("span", {}, name), h("span", { class: "meter-track" }, fill));
  return {
    element,
    set(share, good) {
      fill.style.width = `${Math.round(100 * (share ?? 0))}%`;
      element.classList.toggle("good", good);
    },
  };
}

/** A photograph of the camera's full size; null if browser or camera do not support it. */
async function fullSize(track) {
  if (!globalThis.ImageCapture || !track) return null;
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, PHOTO_MS, null)));
  try {
    return await Promise.race([new ImageCapture(track).takePhoto(), late]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}
