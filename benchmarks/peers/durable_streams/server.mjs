// The public Durable Streams server, with files in the named folder or in memory; prints its port.
import { DurableStreamTestServer } from "@durable-streams/server";

for (const level of ["info", "log", "debug"]) console[level] = console.error; // standard output is the port's
const server = new DurableStreamTestServer({ port: 0, host: "127.0.0.1", dataDir: process.argv[2] });
process.stdout.write(`${new URL(await server.start()).port}\n`);
