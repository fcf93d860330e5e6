// tus-js-client with a real server: uploads in three pieces each, by tus 1.0 and by the IETF drafts it supports.
import * as tus from "tus-js-client";

const base = `http://127.0.0.1:${process.env.PINACTORS_TEST_PORT}`;
const NDJSON = { Accept: "application/x-ndjson" };

/** Uploads `content`; resolves to the body of the last response and the stream that a response named. */
function upload(content, options) {
  return new Promise((resolve, reject) => {
    let stream = null;
    new tus.Upload(Buffer.from(content), {
      chunkSize: 100_000,
      retryDelays: null,
      ...options,
      onAfterResponse: (_, response) => (stream = response.getHeader("Stream-Location") ?? stream),
      onError: reject,
      onSuccess: (done) => resolve({ stream, body: done?.lastResponse?.getBody?.() ?? "" }),
    }).start();
  });
}

const last = (body) => JSON.parse(body.trim().split("\n").at(-1)).packetType;

const photograph = (text) => text.padEnd(250_000, ".");
const endpoint = `${base}/uploads/`;
await upload(photograph("PHOTO front"), { endpoint, metadata: { sessionId: "js", view: "front" } });
const metadata = { sessionId: "js", view: "back", complete: "true" };
const { stream } = await upload(photograph("PHOTO back"), { endpoint, metadata });
console.log("tus-v1", last(await (await fetch(base + stream, { headers: NDJSON })).text()));

for (const protocol of ["ietf-draft-03", "ietf-draft-05"]) {
  const part = (name, value) => `--b\r\nContent-Disposition: form-data; name="${name}"${value}\r\n`;
  const body = [
    part("sessionId", `\r\n\r\n${protocol}`),
    part("front_image", `; filename="f"\r\n\r\n${photograph(`PHOTO ${protocol}`)}`),
    "--b--\r\n",
  ].join("");
  const headers = { "Content-Type": "multipart/form-data; boundary=b", ...NDJSON };
  const answer = await upload(body, { endpoint: `${base}/mobile-upload`, protocol, headers });
  console.log(protocol, last(answer.body));
}
