export type View = "front" | "back" | "angled";
export type Verdict = "authentic" | "counterfeit" | "undetermined" | "not_a_pin";
export type State = "uploading" | "following" | "reconnecting";
/** The protocol's codes, and "network" for a connection that stayed away. */
export type ErrorCode =
  | "not_found" | "missing_image" | "invalid_format" | "too_large" | "missing_fields" | "unauthorized" | "invalid_agreement"
  | "record_not_found" | "stream_not_found" | "session_conflict" | "forbidden" | "cancelled" | "overloaded" | "processing_error";

interface Stamped {
  sessionId: string;
  timestamp: string;
  sequence: number;
  /** The catalogue in use is drawn: its pins and sales are made up. */
  demonstration?: boolean;
}

/** A region of one photograph, in fractions of its width and height. */
export interface Box { view: View; x: number; y: number; width: number; height: number }
export interface Evidence { name: string; finding: string; weight: number; assessed: boolean; region?: Box; reference?: Box }
/** Another catalogued pin in the photograph of the front. */
export interface AlsoSeen { pinId: string; name: string; box: Box; score: number }

/** What a second engine believes to see; nobody has checked it. */
export interface Suggestion { text: string; kind: string; source: string; verified: false }

export interface Candidate {
  pinId: string; name: string; characters: string; series: string | null; year: number | null; score: number;
}
export interface Estimate {
  currency: string; low: number; median: number; high: number; sampleSize: number; asOf: string;
}

/** What was read off the photographs; every part may be missing, and a server may send more. */
export interface Details {
  factoryCode?: string; madeOn?: string; year?: number; editionSize?: number; editionNumber?: number;
  brand?: string; origin?: string; metal?: string; colours?: string[]; sizeRatio?: number;
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

/** A file as React Native names it: its own `fetch` reads it while it sends. */
export interface PhotographFile {
  uri: string; name?: string; type?: string;
  /** In bytes; where it is known, a large file's upload can be resumed. */
  size?: number;
}
export type Photograph = Blob | PhotographFile;
export interface Photographs { front: Photograph; back?: Photograph | null; angled?: Photograph | null }

/** What is used of an AbortSignal: React Native's has neither `reason` nor `throwIfAborted`. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener?(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener?(type: "abort", listener: () => void): void;
}

export interface Options {
  /** The server, e.g. "https://pins.example"; empty for the page's own. */
  baseUrl?: string;
  apiKey?: string;
  signal?: AbortSignalLike;
  /** Chosen by what the environment can do when left out. */
  transport?: "stream" | "long-poll";
  /** Also told, before a pause, how many milliseconds it lasts and what broke. */
  onState?: (state: State, more?: { retryIn: number; error: Error }) => void;
  /** When `signal` is aborted, cancel the session on the server as well; without it the analysis goes on there. */
  cancelOnAbort?: boolean;
  /** Milliseconds without a byte after which a connection is given up and resumed (three keep-alives). */
  silence?: number;
  /** Milliseconds without any progress after which a PinactorsError with code "network" is thrown (180,000). */
  giveUpAfter?: number;
  fetch?: typeof fetch;
}

/** The fields of all packets in one object; each is there once its packet has come. */
export type Answer = { [name: string]: any } & {
  sessionId?: string; streamId?: string; id?: number; verdict?: Verdict; authentic?: boolean;
  authenticityRating?: number; confidence?: number; evidence?: Evidence[]; characters?: string;
  candidates?: Candidate[]; identified?: boolean; estimate?: Estimate | null; details?: Details;
  success?: boolean; message?: string; errorCode?: ErrorCode;
};

export interface AnalyzeOptions extends Options {
  sessionId?: string;
  /** Where the server sends the session's events as well, signed, for an app that may sleep. */
  webhook?: string;
  /** The same key with the same photographs joins the analysis under way; a random one when left out. */
  idempotencyKey?: string;
  /** Size from which on an upload can be resumed (262,144); Infinity for never. */
  resumableBytes?: number;
  /** Where the pin is, by view: [x, y, width, height] in shares of the upright photograph. A hint. */
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
  /** What is at fault, named as it was sent, and the photograph it belongs to. */
  field?: string;
  view?: View;
}

export function analyze(
  images: Photographs,
  options?: AnalyzeOptions,
): AsyncGenerator<Packet, void, void>;
export function follow(streamId: string, options?: Options & { from?: number }): AsyncGenerator<Packet, void, void>;
/** As `follow`, under the name by which an app that slept looks for it. */
export function resume(streamId: string, options?: Options & { from?: number }): AsyncGenerator<Packet, void, void>;
/** The packets merged into one object, as a desktop gets it. */
export function merge(packets: Packet[]): Answer;
export function cancel(streamId: string, options?: Options): Promise<void>;
export function confirm(
  feedback: {
    recordNumber: number; pinId: string; agree: boolean; comment?: string;
    /** What should have been answered; a price is in US dollars. */
    correctedVerdict?: Verdict; correctedPinId?: string; correctedPrice?: number;
  },
  options?: Options,
): Promise<Confirmation>;
