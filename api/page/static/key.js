/** The access key, stored on this device. */

import { byId } from "./dom.js";

const KEY = "pinactors.key";

export function apiKey() {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

/** The header with the key; none if there is no key. */
export const keyHeaders = () => (apiKey() ? { "x-api-key": apiKey() } : {});

/** Asks for the key; `say(text, wrong)` shows the result. */
export function askKey(say) {
  const dialog = byId("key");
  byId("key-value").value = apiKey();
  dialog.onclose = () => {
    if (dialog.returnValue !== "save") return;
    const key = byId("key-value").value.trim();
    try {
      if (key) localStorage.setItem(KEY, key);
      else localStorage.removeItem(KEY);
    } catch {
      say("This browser stores no data, so the key could not be saved.", true);
      return;
    }
    say(key ? "Key saved on this device. Please analyse again." : "Key removed.");
  };
  dialog.returnValue = "";
  dialog.showModal();
}
