import type { AnalyzeOptions, Answer, Packet, Photographs, PinactorsError, State } from "./pinactors";

export interface PinAnalysis {
  state: "idle" | State | "done" | "failed";
  packets: Packet[];
  /** The packets that have arrived, merged into one object. */
  answer: Answer;
  streamId: string | null;
  progress: { sent: number; total: number | undefined } | null;
  error: PinactorsError | Error | null;
  start(images: Photographs, options?: AnalyzeOptions): Promise<void>;
  /** Resumes an existing session, for example after the system suspended the app. */
  resume(streamId: string): Promise<void>;
  /** Stops, and cancels the session on the server. */
  cancel(): Promise<void>;
}

export function usePinAnalysis(options?: AnalyzeOptions): PinAnalysis;
