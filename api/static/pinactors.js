/**
 * pinactors in JavaScript: send photographs of a pin, get each result the moment it exists.
 *
 *     for await (const packet of analyze({ front, back, angled })) show(packet);
 *
 * The iterator ends after ANALYSIS_COMPLETE, or after ERROR, which it hands out like any other packet. A broken
 * connection is resumed where it broke: no packet is lost, none comes twice. Works in browsers, Node 18+ and
 * React Native (which cannot read a body piece by piece and is served by long-poll). No dependencies.
 */

/** Silence after which a connection is given up and resumed; the server shows a sign of life every 5 s. */
const SILENCE_MS = 15_000;
/** The same while an upload is under way (cellular links stall for long) and for a long-poll (answered within 30 s). */
const PATIENCE_MS = 60_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_LIMIT_MS = 8_000;
/** How long to keep trying without any progress before giving up. */
const GIVE_UP_MS = 180_000;
/** Digits of an offset token: the number of packets already received, in a fixed width. */
const OFFSET_WIDTH = 16;

const FIELDS = { front: "front_image", back: "back_image", angled: "angled_image" };
const NDJSON = "application/x-ndjson";

/** A refusal by the server (`status`, `code` as in the protocol) or a network that stayed away (`code` "network"). */
export class PinactorsError extends Error {
  constructor(message, { code = "processing_error", status = 0, detail = message, retryAfter = 0 } = {}) {
    super(message);
    this.name = "PinactorsError";
    Object.assign(this, { code, status, detail, retryAfter });
  }
}

/** The connection broke; what was missing can be had on another. */
class Broken extends Error {}

/**
 * Uploads photographs and yields the packets of their analysis.
 *
 * @param {{front: Blob, back?: Blob|null, angled?: Blob|null}} images
 * @param {import("./pinactors").AnalyzeOptions} [options]
 */
export async function* analyze(images, options = {}) {
  if (!images?.front) throw new PinactorsError("Front image required", { code: "missing_image", status: 400 });
  const idempotencyKey = options.idempotencyKey ?? randomKey();
  yield* deliver(options, (session) => upload(images, idempotencyKey, session));
}

/** Yields the packets of a session that exists, from packet number `options.from` (0) on. */
export async function* follow(streamId, options = {}) {
  yield* deliver(options, null, { streamId, next: options.from ?? 0 });
}

/** Cancels a session: every reader gets its terminal ERROR. */
export async function cancel(streamId, options = {}) {
  const session = new Session(options);
  const response = await session.request(session.streamUrl(streamId), { method: "DELETE" });
  if (!response.ok) throw await refusal(response);
}

/** Says whether the owner of an analysis agrees with it. */
export async function confirm({ recordNumber, pinId, agree, comment }, options = {}) {
  const session = new Session(options);
  const response = await session.request(session.url("/api/mobile/confirm-pin"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      recordNumber,
      pinId,
      userAgreement: agree ? "agree" : "disagree",
      ...(comment ? { feedbackComment: comment } : {}),
    }),
  });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** What one analysis knows about itself between its connections. */
class Session {
  constructor(options, { streamId = null, next = 0 } = {}) {
    this.options = options;
    this.streamId = streamId;
    /** Sequence number of the packet that is due next. */
    this.next = next;
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
      if (error?.name === "AbortError") throw error;
      throw new Broken(String(error));
    }
  }

  say(state) {
    this.options.onState?.(state);
  }
}

/**
 * The delivery loop: open a source of lines, hand its packets out in order, and on a break open the next source
 * where the last one stopped. `open(session)` starts the session while it has no stream id.
 */
async function* deliver(options, open, start) {
  const session = new Session(options, start);
  const { signal } = options;
  let failures = 0;
  let progress = Date.now();
  while (true) {
    signal?.throwIfAborted();
    const connection = linked(signal);
    try {
      session.say(failures ? "reconnecting" : session.streamId ? "following" : "uploading");
      const lines = session.streamId ? resume(session) : open(session);
      const patience = session.streamId && !session.longPoll ? SILENCE_MS : PATIENCE_MS;
      for await (const line of watched(lines(connection.signal), connection, patience, session)) {
        progress = Date.now();
        if (!line.trim()) continue; // a sign of life
        const packet = parse(line);
        if (packet.sequence < session.next) continue; // had it on another connection
        if (packet.sequence > session.next) throw new Broken("a packet is missing");
        session.next += 1;
        failures = 0;
        if (packet.packetType === "CONNECTION_ESTABLISHED") session.streamId = packet.streamId;
        session.say("following");
        yield packet;
        signal?.throwIfAborted();
        if (packet.packetType === "ANALYSIS_COMPLETE" || packet.packetType === "ERROR") return;
      }
      throw new Broken("the connection ended early");
    } catch (error) {
      signal?.throwIfAborted();
      const wait = again(error, session, failures, open !== null);
      if (wait === null) throw error;
      if (Date.now() - progress > (options.giveUpAfter ?? GIVE_UP_MS)) {
        throw new PinactorsError("The network stayed away", { code: "network", detail: error.message });
      }
      failures += 1;
      session.say("reconnecting");
      await pause(wait, signal);
    } finally {
      connection.abort();
    }
  }
}

/** Milliseconds until the next attempt, or null when another attempt cannot help. */
function again(error, session, failures, canUpload) {
  const backoff = Math.min(BACKOFF_LIMIT_MS, BACKOFF_FIRST_MS * 2 ** failures) * (0.5 + Math.random() / 2);
  if (error instanceof Broken) return backoff;
  if (!(error instanceof PinactorsError)) return null;
  if (error.code === "overloaded" && failures < 5) return Math.max(error.retryAfter * 1000, backoff);
  if (error.code === "stream_not_found" && canUpload && session.next <= 2 && failures < 3) {
    session.streamId = null; // nothing was answered yet: the same upload may simply be sent again
    session.next = 0;
    return backoff;
  }
  return null;
}

/** A way to read the rest of a session, as a function from an abort signal to lines. */
function resume(session) {
  return session.longPoll ? (signal) => poll(session, signal) : (signal) => stream(session, signal);
}

async function* stream(session, signal) {
  const query = session.next ? `?offset=${token(session.next)}` : "";
  const response = await session.request(session.streamUrl(session.streamId) + query, {
    headers: { Accept: NDJSON },
    signal,
  });
  if (!response.ok) throw await refusal(response);
  yield* lines(response);
}

/** Long-poll: each answer is an array of packets; an empty one is a sign of life. */
async function* poll(session, signal) {
  let offset = session.next ? token(session.next) : "-1";
  while (true) {
    const url = `${session.streamUrl(session.streamId)}?offset=${offset}&live=long-poll`;
    const response = await session.request(url, { signal });
    if (!response.ok) throw await refusal(response);
    const packets = response.status === 204 ? [] : await whole(response);
    yield "";
    for (const packet of packets) yield JSON.stringify(packet);
    if (response.headers.get("Stream-Closed") === "true") return;
    offset = response.headers.get("Stream-Next-Offset") ?? token(session.next);
  }
}

/** The upload: its answer is the stream itself, or (for long-poll) the name under which to ask for it. */
function upload(images, idempotencyKey, session) {
  const form = new FormData();
  if (session.options.sessionId) form.append("sessionId", session.options.sessionId);
  for (const [view, field] of Object.entries(FIELDS)) {
    if (images[view]) form.append(field, images[view], images[view].name ?? `${view}.jpg`);
  }
  const url = session.url("/mobile-upload?response=stream");
  const headers = { Accept: NDJSON, "Idempotency-Key": idempotencyKey };
  if (session.longPoll) return (signal) => uploadThenPoll(session, url, form, headers, signal);
  if (session.options.onUploadProgress && globalThis.XMLHttpRequest) {
    return (signal) => uploadWithProgress(session, url, form, headers, signal);
  }
  return async function* (signal) {
    const response = await session.request(url, { method: "POST", headers, body: form, signal });
    if (!response.ok) throw await refusal(response);
    yield* lines(response);
  };
}

async function* uploadThenPoll(session, url, form, headers, signal) {
  const request = { method: "POST", headers: { ...headers, Prefer: "respond-async" }, body: form, signal };
  const response = await session.request(url, request);
  if (!response.ok) throw await refusal(response);
  session.streamId = (await whole(response)).streamId;
  yield* poll(session, signal);
}

/** `fetch` cannot tell how much has been sent; XMLHttpRequest can, and shows its text as it grows. */
async function* uploadWithProgress(session, url, form, headers, signal) {
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
  xhr.open("POST", url);
  for (const [name, value] of Object.entries(session.headers(headers))) xhr.setRequestHeader(name, value);
  xhr.upload.onprogress = (event) => {
    session.options.onUploadProgress(event.loaded, event.lengthComputable ? event.total : undefined);
    arrive({ text: "\n" }); // bytes that leave are a sign of life too
  };
  xhr.onprogress = grown;
  xhr.onload = () => {
    grown();
    arrive({ end: true });
  };
  xhr.onerror = xhr.ontimeout = () => arrive({ error: new Broken("the connection broke") });
  xhr.onabort = () => arrive({ error: new DOMException("Aborted", "AbortError") });
  signal.addEventListener("abort", () => xhr.abort(), { once: true });
  xhr.send(form);

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
  if (xhr.status !== 200) {
    throw refused(xhr.status, xhr.responseText, xhr.getResponseHeader("Retry-After"));
  }
}

/** The lines of a body as they arrive; a last line without its newline was cut off and is not handed out. */
async function* lines(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    while (true) {
      let chunk;
      try {
        chunk = await reader.read();
      } catch (error) {
        if (error?.name === "AbortError") throw error;
        throw new Broken(String(error));
      }
      if (chunk.done) return;
      const pieces = (rest + decoder.decode(chunk.value, { stream: true })).split("\n");
      rest = pieces.pop();
      yield* pieces;
    }
  } finally {
    reader.cancel().catch(() => {}); // the connection may be gone already
  }
}

/**
 * Passes lines on; `patience` milliseconds without one break the connection. An upload without progress events
 * cannot be told from a stalled one: it is bounded by the server's floor on progress alone.
 */
async function* watched(source, connection, patience, session) {
  let timer;
  let silent = false;
  const blind = !session.streamId && !session.options.onUploadProgress;
  const arm = (limit) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      silent = true;
      connection.abort();
    }, limit);
  };
  try {
    arm(blind ? GIVE_UP_MS * 10 : patience);
    for await (const line of source) {
      clearTimeout(timer);
      yield line;
      arm(session.streamId && !session.longPoll ? SILENCE_MS : patience);
    }
  } catch (error) {
    throw silent ? new Broken("the connection fell silent") : error;
  } finally {
    clearTimeout(timer);
  }
}

/** A body that is one JSON value. */
async function whole(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error?.name === "AbortError") throw error;
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
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    if (status >= 500) return new Broken(`the server answered ${status}`);
  }
  return new PinactorsError(body.message ?? `The server answered ${status}`, {
    code: body.errorCode,
    detail: body.error,
    retryAfter: Number(retryAfter) || 0,
    status,
  });
}

/** A controller of its own that also follows `signal`. */
function linked(signal) {
  const controller = new AbortController();
  const pass = () => controller.abort(signal.reason);
  signal?.addEventListener("abort", pass, { once: true });
  return {
    signal: controller.signal,
    abort() {
      signal?.removeEventListener("abort", pass);
      controller.abort();
    },
  };
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

function readsPiecewise() {
  return typeof ReadableStream !== "undefined" && typeof Response !== "undefined" && "body" in Response.prototype;
}

const token = (position) => String(position).padStart(OFFSET_WIDTH, "0");

function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
