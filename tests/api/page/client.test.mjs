// The JavaScript client against a real server whose address is in PINACTORS_TEST_PORT.

import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";

import { PinactorsError, analyze, cancel, confirm, follow } from "../../../api/page/client/pinactors.js";

const PORT = Number(process.env.PINACTORS_TEST_PORT);
const DIRECT = `http://127.0.0.1:${PORT}`;
const MIDDLE = ["AUTHENTICATION_RESULT", "CHARACTER_IDENTIFICATION", "DETAILED_ANALYSIS", "HTML_DISPLAY_DATA", "PRICING_ANALYSIS"];

const photo = (text) => new Blob([text], { type: "image/jpeg" });
let count = 0;
const images = (front) => ({ front: photo(front ?? `PHOTO ${process.pid} ${count++}`), back: photo("PHOTO back") });

async function collect(packets) {
  const all = [];
  for await (const packet of packets) all.push(packet);
  return all;
}

function assertWhole(packets) {
  assert.deepEqual(packets.map((packet) => packet.sequence), packets.map((_, index) => index));
  assert.equal(packets[0].packetType, "CONNECTION_ESTABLISHED");
  assert.equal(packets.at(-1).packetType, "ANALYSIS_COMPLETE");
  assert.deepEqual(packets.map((packet) => packet.packetType).filter((type) => MIDDLE.includes(type)).sort(), MIDDLE);
}

/** A relay that closes the n-th connection after `limits[n]` bytes of the answer; the last limit is repeated. */
async function cutting(limits) {
  const queue = [...limits];
  const sockets = new Set();
  const server = net.createServer((phone) => {
    let left = queue.length > 1 ? queue.shift() : queue[0];
    const upstream = net.connect(PORT, "127.0.0.1");
    for (const socket of [phone, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => (phone.destroy(), upstream.destroy(), sockets.delete(socket)));
    }
    phone.pipe(upstream);
    upstream.on("data", (data) => {
      phone.write(data.subarray(0, left));
      left -= data.length;
      if (left <= 0) phone.end(() => phone.destroy());
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((resolve) => (sockets.forEach((socket) => socket.destroy()), server.close(resolve))),
  };
}

for (const transport of ["stream", "long-poll"]) {
  test(`every packet once, in order, by ${transport}`, async () => {
    assertWhole(await collect(analyze(images(), { baseUrl: DIRECT, transport })));
  });

  test(`connections that break are resumed by ${transport}`, async () => {
    const relay = await cutting([300, 700, 1200, 4000, Infinity]);
    const states = [];
    try {
      const packets = await collect(analyze(images(), { baseUrl: relay.url, transport, onState: (state) => states.push(state) }));
      assertWhole(packets);
      const again = await collect(follow(packets[0].streamId, { baseUrl: DIRECT }));
      assert.deepEqual(packets, again);
    } finally {
      await relay.close();
    }
    assert.ok(states.includes("reconnecting"));
  });
}

test("a refusal is an error with its code", async () => {
  await assert.rejects(collect(analyze({}, { baseUrl: DIRECT })), (error) => error instanceof PinactorsError && error.code === "missing_image");
  await assert.rejects(collect(follow("nobody", { baseUrl: DIRECT })), (error) => error.code === "stream_not_found" && error.status === 404);
});

test("an abort stops at once and leaves the session to others", async () => {
  const controller = new AbortController();
  const packets = [];
  await assert.rejects(
    (async () => {
      for await (const packet of analyze(images(`SLEEP 1 ${process.pid}`), { baseUrl: DIRECT, signal: controller.signal })) {
        packets.push(packet);
        controller.abort();
      }
    })(),
    { name: "AbortError" },
  );
  assert.equal(packets.length, 1);
  assertWhole(packets.concat(await collect(follow(packets[0].streamId, { baseUrl: DIRECT, from: 1 }))));
});

test("a cancelled session ends in one ERROR for its reader", async () => {
  const packets = [];
  for await (const packet of analyze(images(`SLEEP 30 ${process.pid}`), { baseUrl: DIRECT })) {
    packets.push(packet);
    if (packet.sequence === 0) await cancel(packet.streamId, { baseUrl: DIRECT });
  }
  assert.equal(packets.at(-1).packetType, "ERROR");
  assert.equal(packets.at(-1).errorCode, "cancelled");
});

test("agreement is saved", async () => {
  const packets = await collect(analyze(images(), { baseUrl: DIRECT }));
  const last = packets.at(-1);
  const saved = await confirm({ recordNumber: last.id, pinId: last.sessionId, agree: false, comment: "no" }, { baseUrl: DIRECT });
  assert.equal(saved.userAgreement, "disagree");
  assert.equal(saved.feedbackComment, "no");
});

test("a network that stays away is given up", async () => {
  const relay = await cutting([0]);
  try {
    await assert.rejects(
      collect(analyze(images(), { baseUrl: relay.url, giveUpAfter: 1500 })),
      (error) => error instanceof PinactorsError && error.code === "network",
    );
  } finally {
    await relay.close();
  }
});
