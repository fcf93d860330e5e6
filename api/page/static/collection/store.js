/**
 * Stores finished and unfinished analyses in IndexedDB. If the store is full or forbidden, only history is lost:
 * every function here resolves, if necessary to an empty result, so that analyses continue.
 *
 * An entry is `{id, at, group, previews: {view: Blob}, packets, pin, agrees}`; its `id` is the stream id. Analyses of the
 * same pin have the same `group`; `pin` is the pin that the user named, `agrees` their answer to "Is this right?". An
 * unfinished entry also has `photographs`, `regions` and `key`, so that it can be sent again; it is stored under its `key`.
 */

const NAME = "pinactors";
const MOST = 200;
/** Most unfinished analyses, which have photographs of full size. */
const MOST_UNFINISHED = 5;
/** Key under which earlier versions of the page stored their entries. */
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

/** Makes the next call open the database again: iOS drops the connections of pages in the background. */
function reopen() {
  opening?.then((database) => database.close(), () => {});
  opening = null;
}

/** Runs `work(objectStore)` in a transaction; resolves to the result of its request, or `otherwise` on failure. */
async function within(store, mode, work, otherwise) {
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      const database = await open();
      return await new Promise((resolve, reject) => {
        const transaction = database.transaction(store, mode);
        const request = work(transaction.objectStore(store));
        transaction.oncomplete = () => resolve(request?.result ?? otherwise);
        transaction.onerror = transaction.onabort = () => reject(transaction.error);
      });
    } catch {
      reopen();
    }
  }
  return otherwise;
}

const newestFirst = (entries) => entries.sort((a, b) => b.at - a.at);

/** All finished analyses, newest first; null if they cannot be read. */
export async function all() {
  const entries = await within("analyses", "readonly", (store) => store.getAll(), null);
  return entries && newestFirst(entries);
}

export const find = (id) => within("analyses", "readonly", (store) => store.get(id), null);

/** Stores a finished analysis. Replaces one with the same id; removes the oldest ones beyond `MOST`. */
export async function remember(entry) {
  await within("analyses", "readwrite", (store) => store.put(entry), null);
  for (const old of (await all())?.slice(MOST) ?? []) await forget(old.id);
}

export const forget = (id) => within("analyses", "readwrite", (store) => store.delete(id), null);

export const forgetAll = () => within("analyses", "readwrite", (store) => store.clear(), null);

/**
 * Stores a running analysis, so that a reload or an empty battery does not lose it. It replaces earlier ones of the same
 * pin; the oldest ones beyond `MOST_UNFINISHED` are removed.
 */
export const keepUnfinished = (entry) => within("unfinished", "readwrite", (store) => {
  store.put(entry, entry.key);
  const request = store.getAll(); // in the same transaction: of two calls, the later one stays
  request.onsuccess = () => {
    const others = newestFirst(request.result).filter(({ key }) => key !== entry.key);
    const ofThisPin = ({ group }) => group === entry.group;
    const old = [...others.filter(ofThisPin), ...others.filter((one) => !ofThisPin(one)).slice(MOST_UNFINISHED - 1)];
    for (const { key } of old) store.delete(key);
  };
}, null);

const allUnfinished = async () => newestFirst(await within("unfinished", "readonly", (store) => store.getAll(), []));

/** The newest unfinished analysis, or the one with that stream id; null if there is none. */
export const unfinished = async (id = null) => (await allUnfinished()).find((one) => id === null || one.id === id) ?? null;

export const forgetUnfinished = ({ key }) => within("unfinished", "readwrite", (store) => store.delete(key), null);

/** Moves entries of an earlier version of the page into the store. */
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
