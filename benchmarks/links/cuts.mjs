// A phone in Node: `node cuts.mjs URL '{"front": PATH, ...}'` prints the type of each packet when it arrives.
import { openAsBlob } from "node:fs";

import { analyze } from "../../api/page/client/pinactors.js";

const [baseUrl, named] = process.argv.slice(2);
const images = {};
for (const [view, path] of Object.entries(JSON.parse(named))) images[view] = await openAsBlob(path);
for await (const packet of analyze(images, { baseUrl })) {
  console.log(packet.packetType);
  if (packet.packetType === "ERROR") console.error(packet);
}
