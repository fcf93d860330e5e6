// Large uploads of the JavaScript client over connections that are cut, against a real server.

import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";

import { analyze, merge, resume } from "../../../api/page/client/pinactors.js";

const PORT = Number(process.env.PINACTORS_TEST_PORT);
const SIZE = 3_000_000;
/** The start of a JPEG without anything to remove, so that the server keeps all bytes. */
const SCAN = Uint8Array.of(0xff, 0xd8, 0xff, 0xda, 0, 2);
const photograph = (text) => new Blob([SCAN, text.padEnd(SIZE - SCAN.length, ".")], { type: "image/jpeg" });

/** A relay to the server that resets each of the first `cuts` connections after more than `most` bytes of request. */
async function cutting(cuts, most, use) {
  const seen = { connections: 0, carried: 0 };
  const relay = net.createServer((client) => {
    const number = seen.connections++;
    const server = net.connect(PORT, "127.0.0.1");
    const end = () => {
      client.resetAndDestroy();
      server.resetAndDestroy();
    };
    let carried = 0;
    client.on("data", (data) => {
      carried += data.length;
      seen.carried += data.length;
      server.write(data);
      if (number < cuts && carried > most) end();
    });
    server.on("data", (data) => client.write(data));
    client.on("error", end).on("close", () => server.destroy());
    server.on("error", end).on("close", () => client.destroy());
  });
  await new Promise((resolve) => relay.listen(0, "127.0.0.1", resolve));
  try {
    return await use(`http://127.0.0.1:${relay.address().port}`, seen);
  } finally {
    relay.close();
  }
}

for (const transport of ["stream", "long-poll"]) {
  test(`a cut upload goes on where it was (${transport})`, async () => {
    await cutting(5, 1_000_000, async (baseUrl, seen) => {
      const packets = [];
      const images = { front: photograph(`PHOTO ${transport}`) };
      const states = [];
      const onState = (state, more) => states.push(more ? "pause" : state);
      for await (const packet of analyze(images, { baseUrl, transport, onState })) packets.push(packet);
      const answer = merge(packets);
      assert.equal(answer.success, true);
      assert.equal(answer.details.bytes.front, SIZE);
      assert.ok(seen.connections > 2);
      assert.ok(seen.carried < 2 * SIZE, `${seen.carried} bytes for ${SIZE}`);
      const told = states.filter((state) => state !== "pause");
      assert.ok(told.every((state, index) => state !== told[index - 1]), `${states}`);
      const again = [];
      for await (const packet of resume(answer.streamId, { baseUrl: `http://127.0.0.1:${PORT}` })) again.push(packet);
      assert.deepEqual(again, packets);
    });
  });
}

test("progress is told in Node", async () => {
  const told = [];
  const options = {
    baseUrl: `http://127.0.0.1:${PORT}`,
    onUploadProgress: (sent, total) => told.push([sent, total]),
  };
  const packets = [];
  for await (const packet of analyze({ front: photograph("PHOTO progress") }, options)) packets.push(packet);
  assert.equal(packets.at(-1).packetType, "ANALYSIS_COMPLETE");
  assert.ok(told.length > 5);
  assert.ok(told.every(([sent], index) => !index || sent > told[index - 1][0]));
  assert.equal(told.at(-1)[0], told.at(-1)[1]);
});

test("what is said beside the photographs comes with them", async () => {
  const options = { baseUrl: `http://127.0.0.1:${PORT}`, regions: { front: { x: 2 } } };
  await assert.rejects(
    async () => {
      for await (const _ of analyze({ front: photograph("PHOTO region") }, options));
    },
    (error) => error.field === "frontRegion",
  );
  await assert.rejects(
    async () => {
      const said = { baseUrl: options.baseUrl, webhook: "http://example.com/" };
      for await (const _ of analyze({ front: photograph("PHOTO webhook") }, said));
    },
    (error) => error.field === "webhook",
  );
});

test("a photograph that cannot be read is named by its view", async () => {
  const images = { front: photograph("PHOTO uri"), back: { uri: "file:///gone.jpg" } };
  await assert.rejects(
    async () => {
      for await (const _ of analyze(images, { baseUrl: `http://127.0.0.1:${PORT}` }));
    },
    (error) => error.view === "back" && error.field === "back",
  );
});
