// How the JavaScript client assembles a session, with a server in this process that fails on purpose.

import assert from "node:assert/strict";
import http from "node:http";
import { test } from "node:test";

import { PinactorsError, analyze, follow, merge } from "../../../api/page/client/pinactors.js";

const TYPES = ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED", "CHARACTER_IDENTIFICATION", "ANALYSIS_COMPLETE"];
const PACKETS = TYPES.map((packetType, sequence) => ({
  packetType, sequence, sessionId: "s", streamId: sequence ? undefined : "stream", characters: "Märlö 🦊 “Fuchs” 狐",
}));
const LINES = PACKETS.map((packet) => `${JSON.stringify(packet)}\n`);
const EXPECTED = LINES.map((line) => JSON.parse(line));
const images = { front: new Blob(["photo"], { type: "image/jpeg" }) };

async function collect(packets) {
  const all = [];
  for await (const packet of packets) all.push(packet);
  return all;
}

/** A server that answers its n-th request with `answers[n]`; the last answer is repeated. */
async function serving(answers, use) {
  const requests = [];
  const queue = [...answers];
  const server = http.createServer((request, response) => {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => {
      requests.push({ method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(pieces) });
      (queue.length > 1 ? queue.shift() : queue[0])(request, response);
    });
    response.on("error", () => {});
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await use(`http://127.0.0.1:${server.address().port}`, requests);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const position = (request) => Number(new URL(request.url, "http://x").searchParams.get("offset") ?? 0);
const opened = (response) => response.writeHead(200, { "Content-Type": "application/x-ndjson" });
const rest = (request, response) => opened(response).end(LINES.slice(position(request)).join(""));
const refused = (status, body, headers = {}) => (_, response) =>
  response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body));

test("a cut after any byte, also inside a character, is mended byte for byte", async () => {
  const whole = Buffer.from(LINES.join(""));
  assert.ok(whole.length > LINES.join("").length, "there are characters of several bytes");
  const [first, second] = LINES.map((line) => Buffer.byteLength(line));
  const cuts = Array.from({ length: second + 2 }, (_, index) => first - 1 + index);
  await Promise.all(cuts.map((bytes) =>
    serving(
      [
        (_, response) => opened(response).write(whole.subarray(0, bytes), () => setTimeout(() => response.destroy(), 5)),
        rest,
      ],
      async (baseUrl) => assert.deepEqual(await collect(follow("stream", { baseUrl })), EXPECTED, `after ${bytes} bytes`),
    )));
});

test("pieces of one byte make the same packets", async () => {
  const dribble = async (_, response) => {
    opened(response);
    for (const byte of Buffer.from(LINES.join(""))) {
      if (!response.write(Buffer.from([byte]))) await new Promise((resolve) => response.once("drain", resolve));
    }
    response.end();
  };
  await serving([dribble], async (baseUrl) => assert.deepEqual(await collect(follow("stream", { baseUrl })), EXPECTED));
});

test("a connection without any sign of life is given up and resumed; one with signs is kept", async () => {
  const stalled = (_, response) => opened(response).write(LINES[0]);
  await serving([stalled, rest], async (baseUrl, requests) => {
    const states = [];
    const packets = await collect(follow("stream", { baseUrl, silence: 200, onState: (state, more) => states.push([state, more?.error.message]) }));
    assert.deepEqual(packets, EXPECTED);
    assert.equal(requests.length, 2);
    assert.ok(states.some(([state, why]) => state === "reconnecting" && /silent/.test(why)));
  });
  const alive = (_, response) => {
    opened(response).write(LINES[0]);
    let beats = 0;
    const timer = setInterval(() => {
      response.write("\n");
      if (++beats < 20) return;
      clearInterval(timer);
      response.end(LINES.slice(1).join(""));
    }, 50);
  };
  await serving([alive], async (baseUrl, requests) => {
    assert.deepEqual(await collect(follow("stream", { baseUrl, silence: 600 })), EXPECTED);
    assert.equal(requests.length, 1);
  });
});

test("a fetch that ignores its signal cannot hold a stalled connection", async () => {
  await serving([(_, response) => opened(response).write(LINES[0]), rest], async (baseUrl) => {
    const deaf = (url, { signal, ...options }) => fetch(url, options);
    assert.deepEqual(await collect(follow("stream", { baseUrl, silence: 200, fetch: deaf })), EXPECTED);
  });
});

test("where the body cannot be read piece by piece, it is asked for by long-poll", async () => {
  const started = (_, response) =>
    response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify({ streamId: "stream" }));
  const polled = (from, to, headers) => (_, response) =>
    response.writeHead(200, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(EXPECTED.slice(from, to)));
  const nothing = (_, response) => response.writeHead(204, { "Stream-Next-Offset": "0000000000000002" }).end();
  const native = async (url, options) => {
    const { ok, status, headers, ...answer } = await fetch(url, options).then(async (response) => ({
      ok: response.ok, status: response.status, headers: response.headers, text: await response.text(),
    }));
    return { ok, status, headers, text: async () => answer.text, json: async () => JSON.parse(answer.text) };
  };
  const answers = [
    rest, started, polled(0, 2, { "Stream-Next-Offset": "0000000000000002" }), nothing,
    polled(2, 4, { "Stream-Closed": "true" }),
  ];
  await serving(answers, async (baseUrl, requests) => {
    assert.deepEqual(await collect(analyze(images, { baseUrl, fetch: native })), EXPECTED);
    assert.deepEqual(requests.slice(2).map(position), [-1, 2, 2]);
    assert.equal(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
  });
});

test("an upload that did not arrive whole is sent again, and nothing is handed out twice", async () => {
  const lost = { packetType: "ERROR", sequence: 2, message: "Upload broken off", error: "…", errorCode: "cancelled" };
  const broken = (_, response) => opened(response).end(`${LINES[0]}${LINES[1]}${JSON.stringify(lost)}\n`);
  await serving([broken, rest], async (baseUrl, requests) => {
    assert.deepEqual(await collect(analyze(images, { baseUrl })), EXPECTED);
    assert.deepEqual(requests.map((one) => one.method), ["POST", "POST"]);
  });
});

test("an upload that was sent again is told with the stream that goes on", async () => {
  const lost = { packetType: "ERROR", sequence: 1, message: "Upload broken off", error: "…", errorCode: "cancelled" };
  const first = JSON.stringify({ ...PACKETS[0], streamId: "gone" });
  const broken = (_, response) => opened(response).end(`${first}\n${JSON.stringify(lost)}\n`);
  await serving([broken, rest], async (baseUrl) => {
    const packets = await collect(analyze(images, { baseUrl }));
    assert.deepEqual(packets, EXPECTED);
    assert.equal(merge(packets).streamId, "stream");
  });
});

test("time in which the system suspended the app is not counted as time without progress", async () => {
  const now = Date.now;
  const cutAfterAnHour = (_, response) => {
    opened(response).write(LINES[0], () => setTimeout(() => {
      Date.now = () => now() + 3_600_000;
      response.destroy();
    }, 5));
  };
  try {
    await serving([cutAfterAnHour, rest], async (baseUrl) => {
      assert.deepEqual(await collect(analyze(images, { baseUrl })), EXPECTED);
    });
  } finally {
    Date.now = now;
  }
});

test("an upload that a full disk ended is sent again after a while, and nothing is handed out twice", async () => {
  const full = { packetType: "ERROR", sequence: 2, message: "Storage unavailable", error: "…", errorCode: "overloaded" };
  const broken = (_, response) => opened(response).end(`${LINES[0]}${LINES[1]}${JSON.stringify(full)}\n`);
  await serving([broken, rest], async (baseUrl, requests) => {
    const pauses = [];
    const onState = (_, more) => more && pauses.push(more.retryIn);
    assert.deepEqual(await collect(analyze(images, { baseUrl, onState })), EXPECTED);
    assert.deepEqual(requests.map((one) => one.method), ["POST", "POST"]);
    assert.deepEqual(pauses, [2000]);
  });
});

test("a busy server is asked again no sooner than it wishes, and not for ever", async () => {
  const busy = refused(503, { message: "Server busy", errorCode: "overloaded" }, { "Retry-After": "1" });
  await serving([busy, rest], async (baseUrl, requests) => {
    const pauses = [];
    const onState = (_, more) => more && pauses.push([more.retryIn, more.error.code]);
    assert.deepEqual(await collect(analyze(images, { baseUrl, onState })), EXPECTED);
    assert.equal(requests.length, 2);
    assert.deepEqual(pauses, [[1000, "overloaded"]]);
  });
});

test("an error of a gateway in between is repeated, whatever its body says", async () => {
  for (const body of ["<html>", "null", '"no"', '{"message":"Internal server error"}']) {
    const failed = (_, response) => response.writeHead(502, { "Content-Type": "application/json" }).end(body);
    await serving([failed, rest], async (baseUrl, requests) => {
      assert.deepEqual(await collect(analyze(images, { baseUrl })), EXPECTED);
      assert.deepEqual(requests.map((one) => one.method), ["POST", "POST"]);
    });
  }
});

test("refusals that another try cannot mend are told at once, with what the server said", async () => {
  for (const [status, errorCode] of [[401, "unauthorized"], [413, "too_large"], [400, "invalid_format"], [422, "session_conflict"]]) {
    await serving([refused(status, { message: "No", error: "why", errorCode })], async (baseUrl, requests) => {
      await assert.rejects(collect(analyze(images, { baseUrl, apiKey: "k" })), (error) => {
        assert.ok(error instanceof PinactorsError);
        assert.deepEqual([error.code, error.status, error.message, error.detail], [errorCode, status, "No", "why"]);
        return true;
      });
      assert.deepEqual(requests.map((one) => one.headers["x-api-key"]), ["k"]);
    });
  }
});

test("an abort during a pause ends it, and cancels the session where that is wanted", async () => {
  const cut = (_, response) => opened(response).write(LINES[0], () => setTimeout(() => response.destroy(), 5));
  const gone = (_, response) => response.writeHead(204).end();
  for (const cancelOnAbort of [true, false]) {
    await serving([cut, gone], async (baseUrl, requests) => {
      const controller = new AbortController();
      const onState = (state) => state === "reconnecting" && controller.abort();
      const ended = collect(analyze(images, { baseUrl, onState, cancelOnAbort, signal: controller.signal }));
      await assert.rejects(ended, { name: "AbortError" });
      while (cancelOnAbort && requests.length < 2) await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(requests.map((one) => one.method), cancelOnAbort ? ["POST", "DELETE"] : ["POST"]);
    });
  }
});
