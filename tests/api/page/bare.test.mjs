// The JavaScript client without newer APIs, as in React Native and Node 18: no crypto, no DOMException, bodies
// that cannot be read piece by piece, signals without throwIfAborted and reason, photographs as { uri, name, type }.

import assert from "node:assert/strict";
import { test } from "node:test";

for (const name of ["crypto", "DOMException"]) {
  Object.defineProperty(globalThis, name, { value: undefined, configurable: true });
}

const { analyze, cancel, confirm, follow } = await import("../../../api/page/client/pinactors.js");

const PACKETS = ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED", "ANALYSIS_COMPLETE"].map((packetType, sequence) => ({
  packetType, sequence, sessionId: "s", streamId: sequence ? undefined : "stream",
}));
const EXPECTED = JSON.parse(JSON.stringify(PACKETS));

/** React Native's FormData: it keeps the appended values, and reads the file when the form is sent. */
class NativeFormData {
  constructor() {
    this.parts = [];
  }
  append(name, value) {
    this.parts.push([name, value]);
  }
}

/** A signal like that of React Native's AbortController. */
function bareSignal() {
  const listeners = new Set();
  return {
    aborted: false,
    addEventListener: (_, listener) => listeners.add(listener),
    removeEventListener: (_, listener) => listeners.delete(listener),
    abort() {
      this.aborted = true;
      listeners.forEach((listener) => listener());
    },
  };
}

const answer = (status, body, headers = {}) => ({
  ok: status < 300,
  status,
  headers: { get: (name) => headers[name] ?? null },
  json: async () => body,
  text: async () => JSON.stringify(body),
});

/** A fake server for long-polls, which a client must use if it cannot read a body piece by piece. */
function polled(requests, { closes = true } = {}) {
  return async (url, request = {}) => {
    requests.push({ url, ...request });
    if (request.method === "POST") return answer(202, { success: true, streamId: "stream" });
    if (request.method === "DELETE") return answer(204, null);
    if (!closes) return new Promise(() => {});
    return answer(200, PACKETS, { "Stream-Closed": "true" });
  };
}

async function collect(packets) {
  const all = [];
  for await (const packet of packets) all.push(packet);
  return all;
}

test("files named by uri go into React Native's form as they are", async () => {
  const before = globalThis.FormData;
  globalThis.FormData = NativeFormData;
  try {
    const requests = [];
    const images = {
      front: { uri: "file:///front.heic", name: "IMG_1.HEIC", type: "image/heic" },
      back: { uri: "file:///back" },
    };
    const signal = bareSignal();
    const options = { fetch: polled(requests), transport: "long-poll", signal };
    assert.deepEqual(await collect(analyze(images, options)), EXPECTED);
    assert.deepEqual(requests[0].body.parts, [
      ["front_image", images.front],
      ["back_image", { uri: "file:///back", name: "back.jpg", type: "image/jpeg" }],
    ]);
  } finally {
    globalThis.FormData = before;
  }
});

test("what image pickers call name and type counts", async () => {
  const before = globalThis.FormData;
  globalThis.FormData = NativeFormData;
  try {
    const requests = [];
    const front = { uri: "file:///a", fileName: "IMG_2.HEIC", type: "image", mimeType: "image/heic", width: 9 };
    await collect(analyze({ front, back: null }, { fetch: polled(requests), transport: "long-poll" }));
    assert.deepEqual(requests[0].body.parts, [
      ["front_image", { uri: "file:///a", name: "IMG_2.HEIC", type: "image/heic" }],
    ]);
  } finally {
    globalThis.FormData = before;
  }
});

test("a blob is sent although React Native's form takes none", async () => {
  const before = globalThis.FormData;
  globalThis.FormData = class extends NativeFormData {
    getParts() {
      return this.parts;
    }
  };
  try {
    const requests = [];
    await collect(analyze({ front: new Blob(["PHOTO"]) }, { fetch: polled(requests), transport: "long-poll" }));
    const [{ headers, body }] = requests;
    const boundary = headers["Content-Type"].split("boundary=")[1];
    const head = 'Content-Disposition: form-data; name="front_image"; filename="front.jpg"';
    assert.equal(await body.text(), `--${boundary}\r\n${head}\r\n\r\nPHOTO\r\n--${boundary}--\r\n`);
  } finally {
    globalThis.FormData = before;
  }
});

test("bytes are a photograph, text is none", async () => {
  const requests = [];
  const images = { front: Buffer.from("PHOTO"), back: new TextEncoder().encode("BACK").buffer };
  await collect(analyze(images, { fetch: polled(requests), transport: "long-poll" }));
  assert.equal(await requests[0].body.get("front_image").text(), "PHOTO");
  assert.equal(await requests[0].body.get("back_image").text(), "BACK");
  const text = analyze({ front: new Blob(["x"]), back: "/9j/4AAQ" }, { fetch: polled([]) });
  await assert.rejects(text.next(), { name: "PinactorsError", code: "invalid_format", field: "back", view: "back" });
});

test("bytes are refused by their view where blobs cannot be made of bytes", async () => {
  const before = globalThis.Blob;
  globalThis.Blob = class {
    constructor() {
      throw new Error("Creating blobs from 'ArrayBuffer' and 'ArrayBufferView' are not supported"); // React Native
    }
  };
  try {
    const requests = [];
    const images = { front: { uri: "file:///a" }, back: new Uint8Array(9) };
    const refused = { name: "PinactorsError", code: "invalid_format", field: "back", view: "back" };
    await assert.rejects(analyze(images, { fetch: polled(requests) }).next(), refused);
    assert.deepEqual(requests, []);
  } finally {
    globalThis.Blob = before;
  }
});

test("a request that the system aborts is repeated", async () => {
  const aborted = Object.assign(new Error("Fetch is aborted"), { name: "AbortError" });
  const requests = [];
  const server = polled(requests);
  let first = true;
  const fetch = async (...request) => {
    if (!first) return server(...request);
    first = false;
    throw aborted;
  };
  assert.deepEqual(await collect(follow("stream", { fetch, transport: "long-poll" })), EXPECTED);
});

test("without a connection feedback and cancelling say so by their code", async () => {
  const fetch = async () => {
    throw new TypeError("Network request failed");
  };
  await assert.rejects(cancel("stream", { fetch }), { name: "PinactorsError", code: "network" });
  const feedback = { recordNumber: 1, pinId: "s", agree: true };
  await assert.rejects(confirm(feedback, { fetch }), { name: "PinactorsError", code: "network" });
});

test("elsewhere a file named by uri is read", async () => {
  const requests = [];
  const server = polled(requests);
  const fetch = async (url, request) => (String(url).startsWith("data:") ? globalThis.fetch(url) : server(url, request));
  const images = { front: { uri: "data:image/jpeg;base64,UEhPVE8=", name: "a.jpg", type: "image/jpeg" } };
  assert.deepEqual(await collect(analyze(images, { fetch, transport: "long-poll" })), EXPECTED);
  const sent = requests[0].body.get("front_image");
  assert.equal(sent.name, "a.jpg");
  assert.equal(await sent.text(), "PHOTO");
});

test("every upload has a key of its own without crypto", async () => {
  const keys = new Set();
  for (let count = 0; count < 20; count += 1) {
    const requests = [];
    await collect(analyze({ front: new Blob(["x"]) }, { fetch: polled(requests), transport: "long-poll" }));
    keys.add(requests[0].headers["Idempotency-Key"]);
  }
  assert.equal(keys.size, 20);
  for (const key of keys) assert.match(key, /^[\x21-\x7e]{16,255}$/);
});

test("a signal without throwIfAborted and reason ends the iteration", async () => {
  for (const early of [true, false]) {
    const requests = [];
    const signal = bareSignal();
    if (early) signal.abort();
    const packets = follow("stream", { fetch: polled(requests, { closes: false }), transport: "long-poll", signal });
    const next = packets.next();
    if (!early) setTimeout(() => signal.abort(), 20);
    await assert.rejects(next, { name: "AbortError" });
  }
});

test("a signal that is only looked at is enough", async () => {
  const signal = { aborted: false };
  const packets = follow("stream", { fetch: polled([]), transport: "long-poll", signal });
  assert.equal((await packets.next()).value.packetType, "CONNECTION_ESTABLISHED");
  signal.aborted = true;
  await assert.rejects(packets.next(), { name: "AbortError" });
});

test("a reason is kept where there is one", async () => {
  const signal = { aborted: true, reason: new Error("enough") };
  await assert.rejects(follow("stream", { fetch: polled([]), signal }).next(), /enough/);
});

test("cancelling works, too", async () => {
  const requests = [];
  await cancel("stream", { fetch: polled(requests), signal: bareSignal() });
  assert.equal(requests[0].method, "DELETE");
});
