/**
 * The JavaScript client of pinactors: sends photographs of a pin and yields each result as soon as it exists.
 *
 *     for await (const packet of analyze({ front, back, angled })) show(packet);
 *
 * The iterator ends after ANALYSIS_COMPLETE, or after ERROR, which it yields like any other packet. After a broken
 * connection it resumes at the next packet, so that no packet is lost or repeated. Works in browsers, Node 18+ and
 * React Native (which cannot read a body piece by piece, so that long-poll is used). No dependencies.
 */

/** Silence after which a connection is closed and resumed; the server sends a keep-alive every 5 s. */
const SILENCE_MS = 15_000;
/** The same limit during an upload (cellular links stall for long) and for a long-poll (answered after 5 s without news). */
const LONG_SILENCE_MS = 60_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_LIMIT_MS = 8_000;
/** Time without any progress after which the client gives up. Time in which the system suspended the app is not counted. */
const GIVE_UP_MS = 180_000;
/** How often an upload is sent again if the server lost it, and how often a request to a busy server is repeated. */
const RESTARTS = 2;
const BUSY = 5;
/** Pause before an upload is repeated for which the server had no room: unlike a response, an ERROR names no pause. */
const BUSY_S = 2;
/** Digits of an offset: the number of packets already received, in a fixed width. */
const OFFSET_WIDTH = 16;
/** Size from which an upload is resumable, which costs two short requests more. */
const RESUMABLE_BYTES = 256 * 1024;
/** Most bytes of one request if progress is to be reported and only `fetch`, which reports none, is available. */
const PIECE_BYTES = 256 * 1024;
/**
 * A resumable upload is sent in pieces, each answered before the next is sent, because bytes in transit are lost when
 * a connection breaks. The size of a piece is chosen so that it takes about two seconds, or eight round trips if longer.
 */
const PIECE_MS = 2_000;
const ROUND_TRIPS = 8;
const FIRST_PIECE = 128 * 1024;
const LEAST_PIECE = 16 * 1024;
const MOST_PIECE = 8 * 1024 * 1024;
const GROWTH = 4;
/** The interop version of draft-ietf-httpbis-resumable-upload that this client uses. */
const INTEROP = { "Upload-Draft-Interop-Version": "8" };

const FIELDS = { front: "front_image", back: "back_image", angled: "angled_image" };
const NDJSON = "application/x-ndjson";
/** Messages of ERROR packets after which the upload is sent again: the photographs did not arrive completely. */
const UPLOAD_LOST = new Set(["Upload broken off", "Upload stalled", "Upload interrupted"]);

/** A refusal by the server (`status`, `code` as in the protocol), or no connection for too long (`code` "network"). */
export class PinactorsError extends Error {
  constructor(message, { code = "processing_error", status = 0, detail = message, retryAfter = 0, field, view } = {}) {
    super(message);
    this.name = "PinactorsError";
    Object.assign(this, { code, status, detail, retryAfter, field, view });
  }
}

/** The connection broke; another connection can continue. */
class Broken extends Error {}

/**
 * Uploads photographs and yields the packets of their analysis.
 *
 * @param {import("./pinactors").Photographs} images Blobs, bytes, or React Native's `{ uri, name, type }`
 * @param {import("./pinactors").AnalyzeOptions} [options]
 */
export async function* analyze(images, options = {}) {
  if (!images?.front) {
    throw new PinactorsError("Front image required", {
      code: "missing_image", status: 400, field: "front", view: "front",
    });
  }
  const photographs = checked(images);
  const idempotencyKey = options.idempotencyKey ?? randomKey();
  yield* deliver(options, (session) => upload(photographs, idempotencyKey, session));
}

/** Yields the packets of a session that exists, from packet number `options.from` (0) on. */
export async function* follow(streamId, options = {}) {
  yield* deliver(options, null, { streamId, next: options.from ?? 0 });
}

/** Alias of `follow`, for apps that resume after the system suspended them. */
export const resume = follow;

/** Merges packets into one object, as desktops receive it; fields of packets that have not arrived are missing. */
export function merge(packets) {
  const answer = {};
  for (const { packetType, sequence, ...fields } of packets) Object.assign(answer, fields);
  return answer;
}

/** Cancels a session: every reader receives a terminal ERROR. */
export async function cancel(streamId, options = {}) {
  const session = new Session(options);
  await answerOf(session, session.streamUrl(streamId), { method: "DELETE" });
}

/** Sends feedback: whether the user agrees with an analysis, and corrections. */
export async function confirm({ recordNumber, pinId, agree, comment, correctedVerdict, correctedPinId, correctedPrice }, options = {}) {
  const session = new Session(options);
  return answerOf(session, session.url("/api/mobile/confirm-pin"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      recordNumber,
      pinId,
      userAgreement: agree ? "agree" : "disagree",
      feedbackComment: comment || undefined,
      correctedVerdict,
      correctedPinId,
      correctedPrice,
    }),
  });
}

/** The JSON value that answers a request which is sent only once. Throws code "network" without an answer. */
async function answerOf(session, url, request) {
  try {
    const response = await session.request(url, request);
    if (!response.ok) throw await refusal(response);
    return response.status === 204 ? undefined : await whole(response);
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    throw new PinactorsError("No answer from the server", { code: "network", detail: error.message });
  }
}

/** State of one analysis that outlives its connections. */
class Session {
  constructor(options, { streamId = null, next = 0 } = {}) {
    this.options = options;
    this.streamId = streamId;
    /** Sequence number of the next packet. */
    this.next = next;
    /** The packets already yielded, by type: after a restart they are not repeated. */
    this.had = new Map();
    this.restarts = 0;
    this.fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    this.longPoll = options.transport ? options.transport === "long-poll" : !readsPiecewise();
  }

  url(path) {
    return `${(this.options.baseUrl ?? "").replace(/\/$/, "")}${path}`;
  }

  streamUrl(streamId) {
    return this.url(`/streams/${encodeURIComponent(streamId)}`);
  }

  headers(extra = {}) {
    return { ...(this.options.apiKey ? { "x-api-key": this.options.apiKey } : {}), ...extra };
  }

  async request(url, { headers, ...rest } = {}) {
    try {
      return await this.fetch(url, { ...rest, headers: this.headers(headers), cache: "no-store" });
    } catch (error) {
      throw new Broken(String(error)); // also an AbortError: systems abort requests of suspended pages and apps
    }
  }

  /** Calls `onState` once for each change of the state, and for each pause with its length and cause. */
  say(state, more) {
    if (state === this.state && !more) return;
    this.state = state;
    this.options.onState?.(state, more);
  }

  /** Makes the next connection send the upload again. */
  forget() {
    this.streamId = null;
    this.next = 0;
  }

  /** Whether a packet is new. Throws if a packet is missing or the upload has to be sent again. */
  takes(packet, canUpload) {
    if (canUpload && packet.streamId && packet.streamId !== this.streamId) {
      this.streamId = packet.streamId; // a new stream, or an earlier one that the upload has joined
      this.next = 0;
    }
    if (packet.sequence < this.next) return false; // received on an earlier connection
    if (packet.sequence !== this.next) throw new Broken("a packet is missing");
    this.next += 1;
    if (packet.packetType === "ERROR" && canUpload && this.restarts < RESTARTS) {
      const busy = packet.errorCode === "overloaded"; // the server's disk is full
      if (busy || UPLOAD_LOST.has(packet.message)) {
        this.restarts += 1;
        this.forget();
        if (!busy) throw new Broken("the upload did not arrive completely");
        throw new PinactorsError(packet.message, { code: packet.errorCode, detail: packet.error, retryAfter: BUSY_S });
      }
    }
    const before = this.had.get(packet.packetType);
    if (before) {
      if (packet.streamId) Object.assign(before, packet); // what was yielded names the stream that goes on
      return false;
    }
    this.had.set(packet.packetType, packet);
    return true;
  }
}

/** Yields a session's packets. `open(session)` starts a session without a stream id; it is null if the session exists. */
async function* deliver(options, open, start) {
  const session = new Session(options, start);
  try {
    yield* connections(session, options, open);
  } catch (error) {
    if (options.signal?.aborted && options.cancelOnAbort && session.streamId) {
      // if this request fails, the session ends by itself
      cancel(session.streamId, { ...options, signal: undefined }).catch(() => {});
    }
    throw error;
  }
}

/**
 * Opens a source of lines and yields its packets in order; if it breaks, opens the next source where the last one
 * stopped.
 */
async function* connections(session, options, open) {
  const { signal } = options;
  let failures = 0;
  let uploaded = 0;
  let fruitless = 0; // milliseconds without progress
  while (true) {
    throwIfAborted(signal);
    const connection = linked(signal);
    let since = Date.now();
    try {
      session.say(failures ? "reconnecting" : session.streamId ? "following" : "uploading");
      const lines = session.streamId ? rest(session) : open(session);
      for await (const line of watched(lines(connection.signal), connection, session)) {
        fruitless = 0;
        since = Date.now();
        if (!line.trim()) continue; // a keep-alive
        const packet = parse(line);
        if (!session.takes(packet, open !== null)) continue;
        failures = 0;
        session.say("following");
        yield packet;
        throwIfAborted(signal);
        if (packet.packetType === "ANALYSIS_COMPLETE" || packet.packetType === "ERROR") return;
      }
      throw new Broken("the connection ended early");
    } catch (error) {
      throwIfAborted(signal);
      fruitless += Math.min(Date.now() - since, LONG_SILENCE_MS); // more would be a suspended app's time
      const there = session.partial?.offset ?? 0; // from the server, or counted from accepted pieces
      if (there > uploaded) {
        failures = 0;
        fruitless = 0;
      }
      uploaded = there;
      const retryIn = again(error, session, failures, open !== null);
      if (retryIn === null) throw error;
      if (fruitless > (options.giveUpAfter ?? GIVE_UP_MS)) {
        throw new PinactorsError("No connection to the server", { code: "network", detail: error.message });
      }
      failures += 1;
      fruitless += retryIn;
      session.say("reconnecting", { retryIn, error });
      await pause(retryIn, signal);
    } finally {
      connection.abort();
    }
  }
}

/** Milliseconds until the next attempt, or null if another attempt cannot help. */
function again(error, session, failures, canUpload) {
  const backoff = Math.min(BACKOFF_LIMIT_MS, BACKOFF_FIRST_MS * 2 ** failures) * (0.5 + Math.random() / 2);
  if (error instanceof Broken) return backoff;
  if (!(error instanceof PinactorsError)) return null;
  if (error.code === "overloaded" || error.status === 429 || error.status === 503) {
    return failures < BUSY ? Math.max(error.retryAfter * 1000, backoff) : null;
  }
  const lost = error.code === "stream_not_found" && session.streamId !== null;
  const stalled = error.status === 408 && session.streamId === null;
  if ((lost || stalled) && canUpload && session.restarts < RESTARTS) {
    session.restarts += 1;
    session.forget();
    return backoff;
  }
  return null;
}

/** A function from an abort signal to the lines of the rest of a session. */
function rest(session) {
  return session.longPoll ? (signal) => poll(session, signal) : (signal) => stream(session, signal);
}

async function* stream(session, signal) {
  const query = session.next ? `?offset=${offsetOf(session.next)}` : "";
  const response = await session.request(session.streamUrl(session.streamId) + query, {
    headers: { Accept: NDJSON },
    signal,
  });
  if (!response.ok) throw await refusal(response);
  yield* lines(response, session);
}

/** Long-poll: each answer is an array of packets; an empty one counts as a keep-alive. */
async function* poll(session, signal) {
  let offset = session.next ? offsetOf(session.next) : "-1";
  while (true) {
    const url = `${session.streamUrl(session.streamId)}?offset=${offset}&live=long-poll`;
    const response = await session.request(url, { signal });
    if (!response.ok) throw await refusal(response);
    const packets = response.status === 204 ? [] : await whole(response);
    yield "";
    for (const packet of packets) yield JSON.stringify(packet);
    if (response.headers.get("Stream-Closed") === "true") return;
    offset = response.headers.get("Stream-Next-Offset") ?? offsetOf(session.next);
  }
}

/** The upload. Its answer is the stream itself, or for long-poll the stream's id. */
function upload(images, idempotencyKey, session) {
  const url = session.url("/mobile-upload?response=stream");
  const headers = { Accept: NDJSON, "Idempotency-Key": idempotencyKey };
  if (session.longPoll) headers.Prefer = "respond-async";
  return async function* (signal) {
    if (await isLarge(images, session)) {
      session.partial ??= new PartialUpload(await multipartOf(images, session));
      if (await session.partial.locate(session, url, headers, signal)) {
        yield* session.partial.send(session, headers, signal);
        return;
      }
    }
    const onProgress = (sent, total) => session.options.onUploadProgress(sent, total);
    if (typeof FormData.prototype.getParts === "function" && !Object.values(images).every(isFile)) {
      // React Native's forms send texts and files, but no blobs
      const { blob, type } = await multipartOf(images, session);
      yield* sendWhole(session, "POST", url, { ...headers, "Content-Type": type }, blob, signal, onProgress);
      return;
    }
    const body = await formOf(images, session);
    yield* sendWhole(session, "POST", url, headers, body, signal, onProgress);
  };
}

/** Sends a body and yields the packets of the answer. */
async function* sendWhole(session, method, url, headers, body, signal, onProgress) {
  if (!session.longPoll && session.options.onUploadProgress && globalThis.XMLHttpRequest) {
    yield* sendWithProgress(session, method, url, headers, body, signal, onProgress);
    return;
  }
  const response = await session.request(url, { method, headers, body, signal });
  if (response.status === 409 && method === "PATCH") throw new Broken("the upload continues on another connection");
  if (!response.ok) throw await refusal(response);
  if (session.longPoll || response.status === 202) {
    session.streamId = (await whole(response)).streamId;
    yield* poll(session, signal);
  } else {
    yield* lines(response, session);
  }
}

/**
 * One resumable upload: its URL and its offset on the server. It is created by an empty request, so that its URL is
 * known before any byte is sent.
 */
class PartialUpload {
  constructor({ blob, type }) {
    this.blob = blob;
    this.type = type;
    this.url = null;
    this.offset = 0;
    this.unsupported = false;
    this.piece = FIRST_PIECE;
    this.roundTrip = 0;
    this.sending = false;
  }

  /** Creates the upload, or asks for its offset; false if the server does not support resumable uploads. */
  async locate(session, url, headers, signal) {
    if (this.sending) this.piece = Math.max(Math.round(this.piece / 2), LEAST_PIECE); // a piece was lost
    this.sending = true;
    const began = Date.now();
    if (this.url) await this.ask(session, signal);
    if (!this.url && !this.unsupported) await this.create(session, url, headers, signal);
    this.roundTrip = (Date.now() - began) / 2; // includes the opening of the connection
    return this.url !== null;
  }

  async create(session, url, headers, signal) {
    const { blob, type } = this;
    const said = { ...INTEROP, "Content-Type": type, "Upload-Complete": "?0", "Upload-Length": String(blob.size) };
    const response = await session.request(url, { method: "POST", headers: { ...headers, ...said }, signal });
    const location = response.headers.get("Location");
    if (response.status === 201 && location) {
      this.url = /^https?:/.test(location) ? location : session.url(location);
      this.offset = 0;
    } else if (response.status === 400 && !response.headers.get("Upload-Complete")) {
      this.unsupported = true; // an older server parsed the empty body as an upload
    } else if (!response.ok) {
      throw await refusal(response);
    } else {
      this.unsupported = true;
    }
  }

  async ask(session, signal) {
    const response = await session.request(this.url, { method: "HEAD", headers: INTEROP, signal });
    const offset = Number(response.headers.get("Upload-Offset") ?? NaN);
    if (response.ok && offset <= this.blob.size) this.offset = offset;
    else if (response.status === 429 || response.status >= 502) throw new Broken(`the server answered ${response.status}`);
    else this.url = null; // gone or refused: a new upload is created, and a refusal of that is reported
  }

  /** Sets the size of the next piece from the time that the last one took (see `PIECE_MS`). */
  took(size, milliseconds) {
    const wanted = (size / Math.max(milliseconds, 1)) * Math.max(PIECE_MS, ROUND_TRIPS * this.roundTrip);
    this.piece = Math.round(Math.min(Math.max(wanted, LEAST_PIECE), GROWTH * this.piece, MOST_PIECE));
  }

  /** Sends the missing rest in pieces; in small ones if progress is to be reported and nothing else reports it. */
  async *send(session, headers, signal) {
    const { blob } = this;
    const total = blob.size;
    const told = session.options.onUploadProgress;
    const fields = (complete) => ({
      ...headers,
      ...INTEROP,
      "Content-Type": "application/partial-upload",
      "Upload-Offset": String(this.offset),
      "Upload-Complete": complete ? "?1" : "?0",
    });
    const most = told && !globalThis.XMLHttpRequest ? PIECE_BYTES : MOST_PIECE;
    for (let size; total - this.offset > (size = Math.min(this.piece, most)); ) {
      const began = Date.now();
      const body = blob.slice(this.offset, this.offset + size);
      const response = await session.request(this.url, { method: "PATCH", headers: fields(false), body, signal });
      if (response.status === 409) throw new Broken("the upload continues on another connection");
      if (!response.ok) throw await refusal(response);
      this.offset += size;
      this.took(size, Date.now() - began);
      told?.(this.offset, total);
      yield ""; // counts as a keep-alive
    }
    const from = this.offset;
    const onProgress = (sent) => told(from + sent, total);
    const body = blob.slice(from, total);
    for await (const line of sendWhole(session, "PATCH", this.url, fields(true), body, signal, onProgress)) {
      if (told && !globalThis.XMLHttpRequest && this.offset < total) {
        this.offset = total;
        told(total, total);
      }
      yield line;
    }
  }
}

async function isLarge(images, session) {
  const least = session.options.resumableBytes ?? RESUMABLE_BYTES;
  if (session.partial) return true;
  const size = Object.values(images).reduce((sum, photograph) => sum + photograph.size, 0);
  return size >= least && canJoin();
}

/**
 * The photographs by view, in the order of `FIELDS`: bytes as blobs, a file given by its URI as `{ uri, name, type, size }`
 * (size 0 if the caller names none). Throws for a value that is no photograph.
 */
function checked(images) {
  const photographs = {};
  for (const view of Object.keys(FIELDS)) {
    const photograph = images[view];
    if (!photograph) continue;
    if (isFile(photograph)) {
      // Image pickers have other names for the name, the size and the media type, which may also be in `type`.
      const { uri, name, fileName, type, mimeType, size, fileSize } = photograph;
      photographs[view] = {
        uri,
        name: name ?? fileName ?? `${view}.jpg`,
        type: [mimeType, type].find((kind) => kind?.includes("/")) ?? "image/jpeg",
        size: size ?? fileSize ?? 0,
      };
    } else if (typeof photograph.size === "number" && typeof photograph.slice === "function") {
      photographs[view] = photograph;
    } else if (ArrayBuffer.isView(photograph) || Object.prototype.toString.call(photograph) === "[object ArrayBuffer]") {
      try {
        photographs[view] = new Blob([photograph]);
      } catch (error) {
        throw unreadable(view, `${error}: write the bytes to a file and pass { uri, name, type }`); // React Native
      }
    } else {
      throw unreadable(view, `${view} must be a Blob, bytes or { uri, name, type }`);
    }
  }
  return photographs;
}

function unreadable(view, detail) {
  return new PinactorsError(`The ${view} photograph cannot be read`, { code: "invalid_format", detail, field: view, view });
}

/** Whether a photograph is a file given by its URI. */
const isFile = (photograph) => typeof photograph.uri === "string";

/** Whether blobs can be joined and sliced in this environment. */
function canJoin() {
  try {
    return typeof new Blob(["a"]).slice === "function";
  } catch {
    return false;
  }
}

/** Names and values of the fields that are sent before the photographs. */
function textsOf(images, { options }) {
  const regions = Object.entries(options.regions ?? {}).filter(([view, region]) => images[view] && region);
  return [
    ["sessionId", options.sessionId],
    ["webhook", options.webhook],
    ...regions.map(([view, region]) => [`${view}Region`, JSON.stringify(region)]),
  ].filter(([, value]) => value);
}

/** The multipart body as one blob, the same for every attempt. */
async function multipartOf(images, session) {
  const boundary = `pinactors${randomKey()}`;
  const head = (name, file = "") => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n`;
  const parts = [];
  for (const [name, value] of textsOf(images, session)) parts.push(head(name), value, "\r\n");
  for (const [view, photograph] of Object.entries(images)) {
    const content = isFile(photograph) ? await contentOf(photograph.uri, session, view) : photograph;
    parts.push(head(FIELDS[view], `; filename="${view}.jpg"`), content, "\r\n");
  }
  parts.push(`--${boundary}--\r\n`);
  return { blob: new Blob(parts), type: `multipart/form-data; boundary=${boundary}` };
}

/** The multipart body; made for each attempt, because some environments can send a body only once. */
async function formOf(images, session) {
  const form = new FormData();
  for (const [name, value] of textsOf(images, session)) form.append(name, value);
  for (const [view, photograph] of Object.entries(images)) {
    const field = FIELDS[view];
    if (!isFile(photograph)) {
      form.append(field, photograph, photograph.name ?? `${view}.jpg`);
      continue;
    }
    const { uri, name, type } = photograph;
    form.append(field, { uri, name, type }); // React Native reads the file itself
    if (typeof form.get === "function" && form.get(field) === "[object Object]") {
      form.delete(field); // this environment converted it to text: read the file here
      form.append(field, await contentOf(uri, session, view), name);
    }
  }
  return form;
}

/** A file's content. The environment's own `fetch` reads local files: others, such as Expo's, do not. */
async function contentOf(uri, session, view) {
  try {
    return await (await (/^https?:/i.test(uri) ? session.fetch : globalThis.fetch)(uri)).blob();
  } catch (error) {
    throw unreadable(view, `${uri}: ${error}`);
  }
}

/** Sends with XMLHttpRequest, which, unlike `fetch`, reports upload progress; reads the answer while it arrives. */
async function* sendWithProgress(session, method, url, headers, body, signal, onProgress) {
  throwIfAborted(signal);
  const xhr = new XMLHttpRequest();
  const arrivals = [];
  let wake = () => {};
  const arrive = (arrival) => {
    arrivals.push(arrival);
    wake();
  };
  let seen = 0;
  const grown = () => {
    if (xhr.status !== 200) return;
    const text = xhr.responseText.slice(seen);
    seen += text.length;
    if (text) arrive({ text });
  };
  xhr.open(method, url);
  for (const [name, value] of Object.entries(session.headers(headers))) xhr.setRequestHeader(name, value);
  xhr.upload.onprogress = (event) => {
    onProgress(event.loaded, event.lengthComputable ? event.total : undefined);
    arrive({ text: "\n" }); // sent bytes count as a keep-alive too
  };
  xhr.onprogress = grown;
  xhr.onload = () => {
    grown();
    arrive({ end: true });
  };
  xhr.onerror = xhr.ontimeout = xhr.onabort = () => arrive({ error: new Broken("the connection broke") });
  signal.addEventListener("abort", () => xhr.abort(), { once: true });
  xhr.send(body);

  let rest = "";
  while (true) {
    if (!arrivals.length) await new Promise((resolve) => (wake = resolve));
    const { text, end, error } = arrivals.shift();
    if (error) throw error;
    if (end) break;
    const pieces = (rest + text).split("\n");
    rest = pieces.pop();
    yield* pieces;
  }
  if (xhr.status === 409 && method === "PATCH") throw new Broken("the upload continues on another connection");
  if (xhr.status !== 200) {
    throw refused(xhr.status, xhr.responseText, xhr.getResponseHeader("Retry-After"));
  }
}

/** The lines of a body as they arrive; a last line without a newline is incomplete and not yielded. */
async function* lines(response, session) {
  if (!response.body?.getReader || typeof TextDecoder !== "function") {
    session.longPoll = true; // this environment cannot, although its classes look as if it could
    throw new Broken("the body cannot be read piecewise");
  }
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    while (true) {
      let chunk;
      try {
        chunk = await reader.read();
      } catch (error) {
        throw new Broken(String(error));
      }
      if (chunk.done) return;
      const pieces = (rest + decoder.decode(chunk.value, { stream: true })).split("\n");
      rest = pieces.pop();
      yield* pieces;
    }
  } finally {
    reader.cancel().catch(() => {}); // the connection may be closed already
  }
}

/** How long a connection may be silent. Without progress events a slow upload cannot be distinguished from a stalled
 * one: the server's minimum rate limits it, and this value. */
function longestSilence(session) {
  if (!session.streamId && !session.options.onUploadProgress) return GIVE_UP_MS * 10;
  return session.streamId && !session.longPoll ? (session.options.silence ?? SILENCE_MS) : LONG_SILENCE_MS;
}

/**
 * Yields lines until the connection is silent for longer than `longestSilence`. Does not rely on an abort to end the source:
 * some implementations of fetch ignore the signal.
 */
async function* watched(source, connection, session) {
  while (true) {
    let timer;
    const silence = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Broken("the connection fell silent")), longestSilence(session));
    });
    try {
      const next = source.next();
      next.catch(() => {}); // it may fail after the race is over
      const { done, value } = await Promise.race([next, silence, connection.aborted]);
      if (done) return;
      yield value;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The JSON value of a whole body. */
async function whole(response) {
  try {
    return await response.json();
  } catch (error) {
    throw new Broken(String(error));
  }
}

function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    throw new Broken("a packet was garbled");
  }
}

async function refusal(response) {
  return refused(response.status, await response.text().catch(() => ""), response.headers.get("Retry-After"));
}

function refused(status, text, retryAfter) {
  if (status === 0) return new Broken("no answer");
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // not from a pinactors server
  }
  body ??= {};
  if (status >= 500 && !body.errorCode) return new Broken(`the server answered ${status}`); // a gateway in between
  return new PinactorsError(body.message ?? `The server answered ${status}`, {
    code: body.errorCode,
    detail: body.error,
    field: body.field,
    view: body.view,
    retryAfter: Number(retryAfter) || 0,
    status,
  });
}

/** An abort controller that also follows `signal`; `aborted` rejects if `signal` is aborted. */
function linked(signal) {
  const controller = new AbortController();
  let pass;
  const aborted = new Promise((_, reject) => {
    pass = () => {
      controller.abort(reasonOf(signal));
      reject(reasonOf(signal));
    };
  });
  aborted.catch(() => {}); // avoids an unhandled rejection
  signal?.addEventListener?.("abort", pass, { once: true });
  return {
    aborted,
    signal: controller.signal,
    abort() {
      signal?.removeEventListener?.("abort", pass);
      controller.abort();
    },
  };
}

/** Waits for `milliseconds`, or until the device comes back online. */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    throwIfAborted(signal);
    const events = typeof addEventListener === "function" ? globalThis : null;
    const end = (settle) => () => {
      clearTimeout(timer);
      signal?.removeEventListener?.("abort", stop);
      events?.removeEventListener("online", go);
      settle();
    };
    const go = end(resolve);
    const stop = end(() => reject(reasonOf(signal)));
    const timer = setTimeout(go, milliseconds);
    signal?.addEventListener?.("abort", stop, { once: true });
    events?.addEventListener("online", go, { once: true });
  });
}

function readsPiecewise() {
  try {
    return typeof TextDecoder === "function" && typeof new Response("").body?.getReader === "function";
  } catch {
    return false;
  }
}

const offsetOf = (position) => String(position).padStart(OFFSET_WIDTH, "0");

/** As `signal.throwIfAborted()`, which some environments lack, as they do `signal.reason`. */
function throwIfAborted(signal) {
  if (signal?.aborted) throw reasonOf(signal);
}

const reasonOf = (signal) => signal.reason ?? abortError();

function abortError() {
  return Object.assign(new Error("Aborted"), { name: "AbortError" });
}

/** A unique key, which need not be secret: without `crypto` (React Native, Node 18) the clock and Math.random
 * are sufficient. */
function randomKey() {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto?.getRandomValues) globalThis.crypto.getRandomValues(bytes);
  else bytes.forEach((_, index) => (bytes[index] = Math.random() * 256));
  return Date.now().toString(36) + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
