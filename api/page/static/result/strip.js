/** The line above the picture: the current state, the clock and the stop button. */

import { h } from "../dom.js";
import { seconds } from "./words.js";

const TICK_MS = 100;

export class Strip {
  constructor(stop) {
    this.status = h("p", { id: "status", class: "status" });
    this.announcement = h("div", { id: "announcement", class: "visually-hidden", role: "log", "aria-live": "polite", "aria-label": "News" });
    this.clock = h("span", { id: "clock", class: "clock", "aria-hidden": "true" });
    this.stop = h("button", { id: "stop", class: "small quiet", type: "button", hidden: true, onclick: stop }, "Stop");
    this.sent = h("progress", { id: "sent", max: 1, value: 0, "aria-label": "Sent", hidden: true });
    this.element = h("div", { class: "strip" }, this.status, this.clock, this.stop, this.sent, this.announcement);
  }

  /** Starts the clock. */
  begin() {
    this.began = performance.now();
    this.stop.hidden = false;
    this.element.classList.add("running");
    this.timer = setInterval(() => {
      if (!this.element.isConnected) return clearInterval(this.timer);
      this.clock.textContent = seconds(performance.now() - this.began);
    }, TICK_MS);
  }

  /** Stops the clock; `milliseconds` is the server's processing time. */
  end(milliseconds = null) {
    clearInterval(this.timer);
    this.stop.hidden = true;
    this.sent.hidden = true;
    this.element.classList.remove("running");
    if (milliseconds !== null) this.clock.textContent = seconds(milliseconds);
    else if (this.began === undefined) this.clock.textContent = "";
  }

  /** Announces a text to screen readers as a new element, so that rapid messages are all read. */
  announce(text) {
    this.announcement.append(h("p", {}, text));
  }

  /** Shows a line; a `quiet` one is not announced. */
  say(text, { wrong = false, state = null, quiet = false } = {}) {
    if (this.status.textContent !== text) {
      this.status.textContent = text;
      if (text && !quiet) this.announce(text);
    }
    this.element.classList.toggle("wrong", wrong);
    if (state) this.status.dataset.state = state;
    this.element.classList.toggle("waiting-for-net", state === "reconnecting");
  }

  /** Shows how much of the photographs was sent; without `bytes` the bar is hidden. */
  progress(bytes, total) {
    this.sent.hidden = bytes === undefined || total === 0;
    if (!this.sent.hidden) this.sent.value = total ? bytes / total : 0;
  }
}
