// Peer: Express on Node, with the same analysis functions in Python worker processes; packets are streamed
// as lines. `node server.js PYTHON '{"data": …, "workers": 2}'` prints its port.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import readline from "node:readline";
import express from "express";
import multer from "multer";

const python = process.argv[2];
const plan = JSON.parse(process.argv[3]);
const VIEWS = ["front", "back", "angled"];
const FILLER = "x".repeat(1000);
let sessions = 0;

/** A worker takes one job at a time; `done` answers it. */
class Worker {
  constructor() {
    this.process = spawn(python, ["-m", "benchmarks.peers.worker", JSON.stringify(plan)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.lines = readline.createInterface({ input: this.process.stdout });
    this.done = null;
  }

  async ready() {
    const [first] = await once(this.lines, "line");
    this.lines.on("line", (line) => {
      const done = this.done;
      this.done = null;
      idle.push(this);
      next();
      done(JSON.parse(line));
    });
    idle.push(this);
    return JSON.parse(first);
  }
}

const idle = [];
const queue = [];

function next() {
  while (idle.length && queue.length) {
    const worker = idle.pop();
    const [job, done] = queue.shift();
    worker.done = done;
    worker.process.stdin.write(JSON.stringify(job) + "\n");
  }
}

async function work(job) {
  const answer = await new Promise((done) => {
    queue.push([job, done]);
    next();
  });
  if (answer.error) throw new Error(answer.error);
  return answer;
}

/** One session's findings, each computed once. */
class Session {
  constructor(images, folder) {
    this.values = images;
    this.folder = folder;
  }

  value(name) {
    this.values[name] ??= this.find(name);
    return this.values[name];
  }

  async find(name) {
    if (!(name in graph.findings)) return null; // a photograph that was not sent
    const [needs, decidedBy] = graph.findings[name];
    if (decidedBy) {
      const first = await this.value(decidedBy);
      if (first?.decided) return first;
    }
    const values = await Promise.all(needs.map((need) => this.value(need)));
    if (values.every((value) => value === null)) return null;
    return (await work({ name, folder: this.folder, values })).handle;
  }

  async packet(name) {
    const [needs] = graph.components[name];
    const values = await Promise.all(needs.map((need) => this.value(need)));
    return (await work({ name, values })).packet;
  }
}

const AT_ONCE = {
  authenticity: {
    packetType: "AUTHENTICATION_RESULT",
    authentic: true,
    authenticityRating: 90,
    confidence: 0.9,
    verdict: "authentic",
    evidence: [],
  },
  characters: { packetType: "CHARACTER_IDENTIFICATION", characters: "", candidates: [] },
  pricing: { packetType: "PRICING_ANALYSIS", estimate: null },
  details: { packetType: "DETAILED_ANALYSIS", details: {} },
  display: { packetType: "HTML_DISPLAY_DATA" },
};

async function atOnce(name) {
  return { ...AT_ONCE[name], note: `@${process.hrtime.bigint()}@${FILLER}` };
}

const app = express();
app.disable("x-powered-by");
const storage = plan.null ? multer.memoryStorage() : multer.diskStorage({ destination: plan.data });
const received = multer({ storage, limits: { fileSize: 50 << 20 } });

app.post("/mobile-upload", received.fields(VIEWS.map((view) => ({ name: `${view}_image` }))), async (req, res) => {
  const number = ++sessions;
  const began = performance.now();
  const sessionId = req.body.sessionId ?? "";
  let sequence = 0;
  let sent = "";
  const send = (packet) => {
    if (res.writableEnded) return;
    const stamped = { ...packet, sessionId, timestamp: new Date().toISOString(), sequence: sequence++ };
    const line = JSON.stringify(stamped) + "\n";
    sent += line;
    res.write(line);
  };
  res.set({ "Content-Type": "application/json", "Cache-Control": "no-cache" });
  send({ packetType: "CONNECTION_ESTABLISHED", message: "Connected", deadlineMs: 90000 });
  send({ packetType: "PROCESSING_STARTED", message: "Analysis started" });
  const images = {};
  for (const view of VIEWS) {
    const file = req.files[`${view}_image`]?.[0];
    if (file?.path) images[`${view}_image`] = { image: file.path, size: file.size };
  }
  const folder = plan.null ? "" : await mkdtemp(path.join(plan.data, "session-"));
  const session = new Session(images, folder);
  const missing = [];
  const one = async (name) => {
    try {
      send(plan.null ? await atOnce(name) : await session.packet(name));
    } catch (error) {
      if (graph.components[name][1]) throw error;
      missing.push(name);
    }
  };
  try {
    await Promise.all(Object.keys(graph.components).map(one));
    const id = plan.record ? (await work({ record: sent })).id : number;
    const processingTime = Math.round(performance.now() - began);
    const last = { success: true, complete: true, id, message: "Analysis complete", processingTime };
    send({ packetType: "ANALYSIS_COMPLETE", ...last, degraded: [], missing });
  } catch (error) {
    const failed = { success: false, message: "Analysis failed", error: String(error) };
    send({ packetType: "ERROR", ...failed, errorCode: "processing_error" });
  }
  res.end();
  if (folder) await rm(folder, { recursive: true, force: true });
});

app.get("/stats", (req, res) => res.json({ sessions }));

const workers = Array.from({ length: plan.workers }, () => new Worker());
const [graph] = await Promise.all(workers.map((worker) => worker.ready()));
const server = app.listen(0, "127.0.0.1", 1024, () => console.log(server.address().port));
