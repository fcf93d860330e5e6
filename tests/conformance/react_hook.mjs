// usePinAnalysis in React, with a real server: what a component shows during an analysis, and when it is resumed.
import assert from "node:assert/strict";

import { createElement } from "react";
import { act, create } from "react-test-renderer";
import { usePinAnalysis } from "pinactors/react";

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const baseUrl = `http://127.0.0.1:${process.env.PINACTORS_TEST_PORT}`;
const seen = [];
let hook;

function Pin() {
  hook = usePinAnalysis({ baseUrl });
  seen.push(hook.state);
  return createElement("p", null, hook.answer.verdict ?? hook.state);
}

const photograph = (text) => new Blob([text], { type: "image/jpeg" });
let page;
await act(async () => {
  page = create(createElement(Pin));
});
assert.equal(page.root.findByType("p").children[0], "idle");
await act(() => hook.start({ front: photograph("PHOTO hook"), back: photograph("PHOTO back") }));
assert.equal(hook.state, "done");
assert.equal(hook.answer.success, true);
assert.equal(page.root.findByType("p").children[0], hook.answer.verdict);
assert.ok(["idle", "uploading", "following", "done"].every((state) => seen.includes(state)), `${seen}`);
const { streamId, packets } = hook;

await act(() => hook.resume(streamId));
assert.deepEqual(hook.packets, packets);
await act(() => hook.start({ back: photograph("PHOTO back") }));
assert.deepEqual([hook.state, hook.error.code, hook.error.view], ["failed", "missing_image", "front"]);
await act(() => hook.cancel());
assert.equal(hook.state, "idle");
await act(async () => page.unmount());
console.log("usePinAnalysis", packets.at(-1).packetType);
