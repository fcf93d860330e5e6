export type View = "front" | "back" | "angled";
export type Verdict = "authentic" | "counterfeit" | "undetermined" | "not_a_pin";
export type State = "uploading" | "following" | "reconnecting";
/** The protocol's error codes. `PinactorsError` adds "network" for a connection that did not come back. */
export type ErrorCode =
  | "not_found" | "missing_image" | "invalid_format" | "too_large" | "missing_fields" | "unauthorized" | "invalid_agreement"
  | "record_not_found" | "stream_not_found" | "session_conflict" | "forbidden" | "cancelled" | "overloaded" | "processing_error";

interface Stamped {
  sessionId: string;
  timestamp: string;
  sequence: number;
  /** True if the catalogue is the demonstration: its pins and sales are invented. */
  demonstration?: boolean;
}

/** A region of one photograph, in fractions of its width and height. */
export interface Box { view: View; x: number; y: number; width: number; height: number }
export interface Evidence { name: string; finding: string; weight: number; assessed: boolean; region?: Box; reference?: Box }
/** Another catalogued pin in the photograph of the front. */
export interface AlsoSeen { pinId: string; name: string; box: Box; score: number }

/** A suggestion of a second engine; it is not verified. */
export interface Suggestion { text: string; kind: string; source: string; verified: false }

export interface Candidate {
  pinId: string; name: string; characters: string; series: string | null; year: number | null; score: number;
}
export interface Estimate {
  currency: string; low: number; median: number; high: number; sampleSize: number; asOf: string;
}

/** Details read from the photographs; each field may be missing, and a server may send further ones. */
export interface Details {
  factoryCode?: string; madeOn?: string; year?: number; editionSize?: number; editionNumber?: number;
  brand?: string; origin?: string; metal?: string; colours?: { name: string; hex: string; share: number }[]; sizeRatio?: number;
  marks?: string[]; partlyRead?: string[];
  photos?: { [view in View]?: { score: number; pinFound: boolean; problems: string[] } };
  [name: string]: unknown;
}

/** A dated sale behind a price; `soldAt` is an ISO date. */
export interface Sale { soldAt: string; price: number; currency: string; condition: string; source: string }

export type Packet = Stamped & (
  | {
      packetType: "CONNECTION_ESTABLISHED"; message: string; streamId: string; deadlineMs: number;
      streamUrl: string; cancelUrl: string; statusUrl: string;
    }
  | { packetType: "PROCESSING_STARTED"; message: string }
  | {
      packetType: "AUTHENTICATION_RESULT"; authentic: boolean; authenticityRating: number; confidence: number;
      note?: string; verdict: Verdict; evidence: Evidence[]; summary?: string; advice?: string[]; calibration?: string;
    }
  | {
      packetType: "CHARACTER_IDENTIFICATION"; characters: string; identification: string;
      candidates: Candidate[]; identified: boolean; alsoSeen?: AlsoSeen[]; suggestions?: Suggestion[];
    }
  | {
      packetType: "PRICING_ANALYSIS"; pricing: string; estimate: Estimate | null; method?: string;
      reason?: string; sales?: Sale[];
    }
  | { packetType: "DETAILED_ANALYSIS"; analysis: string; details: Details }
  | {
      packetType: "HTML_DISPLAY_DATA"; frontHtml: string; backHtml?: string; angledHtml?: string;
    }
  | {
      packetType: "ANALYSIS_COMPLETE"; success: true; complete: true; id: number; message: string;
      processingTime: number; degraded: string[]; missing: string[];
    }
  | {
      packetType: "ERROR"; success: false; message: string; error: string; errorCode: ErrorCode;
      field?: string; view?: View;
    }
);

/** A file given by its URI, as in React Native, whose `fetch` reads the file while it sends. */
export interface PhotographFile {
  uri: string; name?: string; type?: string;
  /** Size in bytes; the upload of a large file can be resumed only if it is given. */
  size?: number;
  /** The names that image pickers give to name, media type and size. */
  fileName?: string | null; mimeType?: string; fileSize?: number;
}
/** The members of Blob that are used, so that these types need no library "dom". */
export interface BlobLike {
  readonly size: number;
  readonly type: string;
  slice(start?: number, end?: number): BlobLike;
}
export type Photograph = BlobLike | PhotographFile | ArrayBuffer | ArrayBufferView;
export interface Photographs { front: Photograph; back?: Photograph | null; angled?: Photograph | null }

/** The members of `fetch`'s answer that are used. */
export interface ResponseLike {
  readonly ok: boolean;
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body?: unknown;
  json(): Promise<any>;
  text(): Promise<string>;
}

/** The members of AbortSignal that are used: React Native's has neither `reason` nor `throwIfAborted`. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener?(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener?(type: "abort", listener: () => void): void;
}

export interface Options {
  /** The server's URL, e.g. "https://pins.example"; empty for the page's own server. */
  baseUrl?: string;
  apiKey?: string;
  signal?: AbortSignalLike;
  /** If left out, chosen by the capabilities of the environment. */
  transport?: "stream" | "long-poll";
  /** Called for each change. Before a pause, `more` has the pause in milliseconds and the error. */
  onState?: (state: State, more?: { retryIn: number; error: Error }) => void;
  /** Whether an abort of `signal` also cancels the session on the server; otherwise the analysis continues there. */
  cancelOnAbort?: boolean;
  /** Milliseconds without a byte after which a connection is closed and resumed (15,000: three keep-alives). */
  silence?: number;
  /**
   * Milliseconds without any progress after which a PinactorsError with code "network" is thrown (180,000). Time in
   * which the system suspended the page or app is not counted.
   */
  giveUpAfter?: number;
  fetch?: (url: string, request?: any) => Promise<ResponseLike>;
}

/** The fields of all packets in one object; each is present once its packet has arrived. */
export type Answer = { [name: string]: any } & {
  sessionId?: string; streamId?: string; id?: number; verdict?: Verdict; authentic?: boolean;
  authenticityRating?: number; confidence?: number; evidence?: Evidence[]; characters?: string;
  candidates?: Candidate[]; identified?: boolean; estimate?: Estimate | null; details?: Details;
  success?: boolean; message?: string; errorCode?: ErrorCode;
};

export interface AnalyzeOptions extends Options {
  sessionId?: string;
  /** URL to which the server also sends the session's events, signed, for apps that may be suspended. */
  webhook?: string;
  /** A repeated upload with the same key joins the running analysis; a random key if left out. */
  idempotencyKey?: string;
  /** Size in bytes from which an upload is resumable (262,144); Infinity for never. */
  resumableBytes?: number;
  /** Where the pin probably is, by view: [x, y, width, height] in shares of the upright photograph. */
  regions?: Partial<Record<View, [number, number, number, number]>>;
  onUploadProgress?: (sent: number, total: number | undefined) => void;
}

export interface Confirmation {
  success: true; message: string; timestamp: string; sessionId: string; recordNumber: number; pinId: string;
  userAgreement: "agree" | "disagree"; feedbackComment: string;
  correctedVerdict?: Verdict; correctedPinId?: string; correctedPrice?: number;
}

export class PinactorsError extends Error {
  code: ErrorCode | "network";
  status: number;
  detail: string;
  /** Seconds. */
  retryAfter: number;
  /** The field at fault, named as it was sent, and the photograph that it belongs to. */
  field?: string;
  view?: View;
}

export function analyze(
  images: Photographs,
  options?: AnalyzeOptions,
): AsyncGenerator<Packet, void, void>;
export function follow(streamId: string, options?: Options & { from?: number }): AsyncGenerator<Packet, void, void>;
/** Alias of `follow`, for apps that resume after the system suspended them. */
export function resume(streamId: string, options?: Options & { from?: number }): AsyncGenerator<Packet, void, void>;
/** Merges packets into one object, as desktops receive it. */
export function merge(packets: Packet[]): Answer;
export function cancel(streamId: string, options?: Options): Promise<void>;
export function confirm(
  feedback: {
    recordNumber: number; pinId: string; agree: boolean; comment?: string;
    /** The correct values; a price is in US dollars. */
    correctedVerdict?: Verdict; correctedPinId?: string; correctedPrice?: number;
  },
  options?: Options,
): Promise<Confirmation>;
