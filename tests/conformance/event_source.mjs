// @microsoft/fetch-event-source with a real server: the events of an upload, cut once and continued by
// Last-Event-ID. Besides `fetch` it needs only a page, which is always visible here.
import net from "node:net";

globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
globalThis.window = globalThis;
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

const port = Number(process.env.PINACTORS_TEST_PORT);

/** A relay to the server whose first connection is cut after 2,000 bytes of the answer. */
const relay = net.createServer((phone) => {
  const upstream = net.connect(port, "127.0.0.1");
  let left = relay.first === undefined ? (relay.first = 2_000) : Infinity;
  phone.on("error", () => {}).on("close", () => upstream.destroy());
  upstream.on("error", () => {}).on("close", () => phone.destroy());
  phone.pipe(upstream);
  upstream.on("data", (data) => {
    phone.write(data.subarray(0, left));
    left -= data.length;
    if (left <= 0) phone.end(() => phone.destroy());
  });
});
await new Promise((resolve) => relay.listen(0, "127.0.0.1", resolve));
const base = `http://127.0.0.1:${relay.address().port}`;

const body = JSON.stringify({ sessionId: "events", frontImageData: btoa("PHOTO events") });
const headers = { "Content-Type": "application/json", Accept: "text/event-stream", Prefer: "respond-async" };
const { streamUrl } = await (await fetch(`${base}/mobile-upload`, { method: "POST", headers, body })).json();

const packets = [];
const done = new AbortController();
relay.first = undefined; // the next connection is cut
await fetchEventSource(base + streamUrl, {
  headers: { Accept: "text/event-stream" },
  signal: done.signal,
  openWhenHidden: true,
  async onopen(response) {
    if (response.status !== 200) done.abort();
  },
  onmessage(event) {
    const packet = JSON.parse(event.data);
    packets.push(packet);
    if (packet.packetType === "ANALYSIS_COMPLETE") done.abort();
  },
  onclose() {
    if (packets.at(-1)?.packetType !== "ANALYSIS_COMPLETE") throw new Error("cut");
  },
  onerror: () => 50,
});
relay.close();
console.log(packets.map((packet) => packet.sequence).join(), packets.at(-1).packetType);
process.exit(0);
