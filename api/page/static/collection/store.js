/**
 * What is kept on this device: finished analyses and the one under way, in IndexedDB. A full or forbidden store
 * loses history, never an analysis: every function here resolves, to nothing where nothing can be kept.
 *
 * An entry is `{id, at, group, previews: {view: Blob}, packets, pin}`; its `id` is the stream id. `group` joins
 * analyses of the same pin; `pin` is what its owner says it is. The unfinished one also has `photographs`, `regions`
 * and `key`, with which it can be sent again.
 */

const NAME = "pinactors";
const MOST = 200;
const UNFINISHED = "unfinished";
/** Where earlier versions of the page kept their entries. */
const EARLIER = "pinactors.history";

let opening = null;

function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("analyses", { keyPath: "id" });
      request.result.createObjectStore("unfinished");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}

/** Runs `work(objectStore)` in a transaction; the result of the request it returns, `otherwise` on any failure. */
async function within(store, mode, work, otherwise) {
  try {
    const database = await open();
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(store, mode);
      const request = work(transaction.objectStore(store));
      transaction.oncomplete = () => resolve(request?.result ?? otherwise);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } catch {
    return otherwise;
  }
}

/** All finished analyses, newest first. */
export async function all() {
  const entries = await within("analyses", "readonly", (store) => store.getAll(), []);
  return entries.sort((a, b) => b.at - a.at);
}

export const find = (id) => within("analyses", "readonly", (store) => store.get(id), null);

/** Keeps a finished analysis; one with the same id is replaced, the oldest gives way. */
export async function remember(entry) {
  await within("analyses", "readwrite", (store) => store.put(entry), null);
  for (const old of (await all()).slice(MOST)) await forget(old.id);
}

export const forget = (id) => within("analyses", "readwrite", (store) => store.delete(id), null);

export const forgetAll = () => within("analyses", "readwrite", (store) => store.clear(), null);

/** The analysis under way, so that a reload or a dead battery does not lose it. */
export const keepUnfinished = (entry) => within("unfinished", "readwrite", (store) => store.put(entry, UNFINISHED), null);

export const unfinished = () => within("unfinished", "readonly", (store) => store.get(UNFINISHED), null);

export const forgetUnfinished = () => within("unfinished", "readwrite", (store) => store.delete(UNFINISHED), null);

/** Takes over what an earlier version of the page kept elsewhere. */
export async function takeOver() {
  let entries;
  try {
    entries = JSON.parse(localStorage.getItem(EARLIER) ?? "[]");
    localStorage.removeItem(EARLIER);
  } catch {
    return;
  }
  if (!Array.isArray(entries)) return;
  for (const entry of entries) {
    if (!Array.isArray(entry?.packets)) continue;
    const previews = {};
    for (const [view, url] of Object.entries(entry.thumbnails ?? {})) {
      const picture = decoded(url);
      if (picture) previews[view] = picture;
    }
    await remember({ id: String(entry.streamId), at: Number(entry.at) || 0, previews, packets: entry.packets });
  }
}

function decoded(url) {
  const [, base64] = /^data:image\/jpeg;base64,(.+)$/.exec(url ?? "") ?? [];
  if (!base64) return null;
  try {
    return new Blob([Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))], { type: "image/jpeg" });
  } catch {
    return null;
  }
}
