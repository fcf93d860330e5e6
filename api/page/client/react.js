/**
 * The React hook of pinactors: runs one analysis at a time.
 *
 *     const { start, state, packets, answer, error } = usePinAnalysis({ baseUrl: "https://pins.example" });
 */
import { useCallback, useEffect, useRef, useState } from "react";
import { analyze, cancel as cancelSession, follow, merge } from "./pinactors.js";

const IDLE = { state: "idle", packets: [], streamId: null, progress: null, error: null };

export function usePinAnalysis(options = {}) {
  const [run, setRun] = useState(IDLE);
  const latest = useRef(options);
  const current = useRef(null);
  const streamId = useRef(null);
  useEffect(() => {
    latest.current = options;
  });
  useEffect(() => () => current.current?.abort(), []);

  const deliver = useCallback(async (begin) => {
    current.current?.abort();
    const controller = new AbortController();
    current.current = controller;
    streamId.current = null;
    const update = (change) => {
      if (current.current === controller) setRun(change);
    };
    update({ ...IDLE, state: "uploading" });
    const packets = [];
    try {
      const source = begin({
        ...latest.current,
        signal: controller.signal,
        onState(state, more) {
          latest.current.onState?.(state, more);
          update((run) => ({ ...run, state }));
        },
        onUploadProgress(sent, total) {
          latest.current.onUploadProgress?.(sent, total);
          update((run) => ({ ...run, progress: { sent, total } }));
        },
      });
      for await (const packet of source) {
        packets.push(packet);
        if (packet.streamId) streamId.current = packet.streamId;
        update((run) => ({ ...run, packets: [...packets], streamId: streamId.current }));
      }
      update((run) => ({ ...run, state: "done" }));
    } catch (error) {
      if (controller.signal.aborted) return;
      update((run) => ({ ...run, state: "failed", error }));
    }
  }, []);

  const start = useCallback(
    (images, own) => deliver((options) => analyze(images, { ...options, ...own })),
    [deliver],
  );
  const resume = useCallback((id) => {
    const begun = deliver((options) => follow(id, options));
    streamId.current = id;
    return begun;
  }, [deliver]);
  const cancel = useCallback(async () => {
    const id = streamId.current;
    current.current?.abort();
    current.current = null;
    setRun(IDLE);
    if (id) await cancelSession(id, { ...latest.current, signal: undefined });
  }, []);

  return { ...run, answer: merge(run.packets), start, resume, cancel };
}
