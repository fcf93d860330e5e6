// The suite's own command finds no tests with recent versions of vitest, but importing the suite works.
import { runConformanceTests } from "@durable-streams/server-conformance-tests"
runConformanceTests({ baseUrl: process.env.CONFORMANCE_URL })
