import type { AnalyzeOptions, Answer, Packet, Photographs, PinactorsError, State } from "./pinactors";

export interface PinAnalysis {
  state: "idle" | State | "done" | "failed";
  packets: Packet[];
  /** The packets merged into one object, as far as they have come. */
  answer: Answer;
  streamId: string | null;
  progress: { sent: number; total: number | undefined } | null;
  error: PinactorsError | Error | null;
  start(images: Photographs, options?: AnalyzeOptions): Promise<void>;
  /** Goes on with a session that exists: after the app slept, say. */
  resume(streamId: string): Promise<void>;
  /** Ends the session on the server as well. */
  cancel(): Promise<void>;
}

export function usePinAnalysis(options?: AnalyzeOptions): PinAnalysis;
