// The suite's own command finds no tests under recent vitest; importing it works.
import { runConformanceTests } from "@durable-streams/server-conformance-tests"
runConformanceTests({ baseUrl: process.env.CONFORMANCE_URL })
