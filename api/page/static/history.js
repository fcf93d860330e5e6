/** Analyses kept on this device, newest first. A full or forbidden store loses history, never an analysis. */

const NAME = "pinactors.history";
const MOST = 20;

export function all() {
  try {
    const entries = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return Array.isArray(entries) ? entries : [];
  } catch {
    return [];
  }
}

/** `entry`: {streamId, at, thumbnail, packets}. An entry with the same stream id is replaced. */
export function remember(entry) {
  let entries = [entry, ...all().filter((old) => old.streamId !== entry.streamId)].slice(0, MOST);
  while (entries.length) {
    try {
      localStorage.setItem(NAME, JSON.stringify(entries));
      return;
    } catch {
      entries = entries.slice(0, -1); // no room: the oldest goes
    }
  }
}

export function forgetAll() {
  try {
    localStorage.removeItem(NAME);
  } catch {
    // storage is forbidden, so nothing was kept
  }
}
