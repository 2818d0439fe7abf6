/**
 * The error of this package, and its crossing of the worker boundary.
 *
 * `postMessage` keeps neither an error's class nor its extra properties, so
 * errors cross as plain data and become `CacherError` again on the other side.
 */

/** Stable codes; programs may match on them, messages may be reworded. */
export type ErrorCode =
  // Asked for something impossible.
  /** An argument is not allowed; the message names it. */
  | "invalid-argument"
  /** An option of a generation or an analysis is unknown, of another type, or out of its range. `details`: `option`, `value`, `range`. */
  | "invalid-option"
  /** A token id that the vocabulary does not have. `details`: `id`, `index`. */
  | "invalid-token"
  /** Prompt and output need more positions than the model has. */
  | "context-overflow"
  /** Text over the length that is tokenised in one call. */
  | "input-too-long"
  /** Text was given to, or asked from, a model without a tokenizer. */
  | "no-tokenizer"
  /** The tokenizer did not cover the whole text. */
  | "tokenizer-gave-up"
  /** Every token is ruled out, or the scores are not numbers. */
  | "no-next-token"
  // The model's files are not right.
  /** A kind of model or file that this library does not run. */
  | "unsupported-model"
  /** Not a model file at all, an HTML page for example. */
  | "not-a-model-file"
  /** A model file whose content contradicts itself or its config. */
  | "invalid-model-file"
  /** A file ended before its content did. `details`: `got`, `expected`. */
  | "truncated-file"
  /** The bytes are not those that their SHA-256 or length names. */
  | "checksum-mismatch"
  /** A tokenizer file that is damaged or not byte-level BPE. */
  | "invalid-tokenizer"
  // Getting them failed.
  /** No such file or model. `details`: `url`. */
  | "not-found"
  /** The server answered with an error. `details`: `url`, `status`. */
  | "http-error"
  /** No answer, or the connection broke; what came is kept. `details`: `url`. */
  | "network-error"
  /** The device's storage is full, and storing was asked for. */
  | "storage-full"
  /** The browser's storage failed. */
  | "storage-error"
  /** Another tab holds this model's download and does not get on. */
  | "storage-locked"
  /** A newer version of this library has written the storage. `details`: `found`, `supported`. */
  | "storage-newer"
  // States.
  /** No state has this id: it was never made, or deleted. `details`: `id`. */
  | "state-not-found"
  /** The state does not come from this revision. `details`: `revision`. */
  | "revision-not-found"
  /** The state has no checkpoint of this name. `details`: `name`. */
  | "checkpoint-not-found"
  /** A merge needs decisions. `details`: `conflicts` in the text, and `keys` of config and metadata. */
  | "merge-conflict"
  /** A file that is no export of states, or contradicts itself. */
  | "invalid-state-file"
  /** Written by a newer version of this library. `details`: `found`, `supported`. */
  | "unsupported-version"
  /** Another tab works on this state. `details`: `id`. */
  | "state-locked"
  /** Another tab has changed this state. `details`: `id`, and `savedAs`: the state that keeps what was unsaved here. */
  | "state-conflict"
  // The response cache.
  /** With `cache: "only"`: the answer is not in the cache. `details`: `key`. */
  | "not-cached"
  /** A value that JSON cannot hold as it is was to be kept. */
  | "not-cacheable"
  /** A record of the cache that is damaged, foreign, or not signed. */
  | "invalid-cache-record"
  /** The equal request that was waited for failed in another tab. `details`: `message`. */
  | "compute-failed"
  // The engine.
  /** More memory than the tab or device gives. */
  | "out-of-memory"
  /** This browser lacks what the engine needs. */
  | "unsupported-browser"
  /** The worker's script or the wasm file could not be fetched or started. */
  | "engine-unavailable"
  /** The engine stopped at a fault of its own. The next call starts it anew where it can. */
  | "engine-crashed"
  /** A fault in this library. Please report it. */
  | "internal"
  // Ended by the caller.
  /** The signal aborted the call; `name` is `"AbortError"`, `cause` the signal's reason. */
  | "aborted"
  /** `dispose()` was called. */
  | "disposed";

/** An error as data, for `postMessage`. */
export interface ErrorData {
  code: ErrorCode;
  message: string;
  details: Record<string, unknown>;
}

export class CacherError extends Error {
  readonly code: ErrorCode;
  /** What the code's description names, and whatever else helps. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    details: Record<string, unknown> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = code === "aborted" ? "AbortError" : "CacherError";
    this.code = code;
    this.details = details;
  }
}

/** The error of a call that `signal` ended. */
export function abortError(signal?: AbortSignal): CacherError {
  return new CacherError("aborted", "the call was aborted", {}, { cause: signal?.reason });
}

/** The error of an option that is not as it must be: `range`, in words. */
export function invalidOption(option: string, value: unknown, range: string): CacherError {
  return new CacherError("invalid-option", `${option}: is ${inWords(value)}, must be ${range}`, { option, value, range });
}

function inWords(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/** Throws where `signal` is aborted already. */
export function throwIfAborted(signal?: AbortSignal): void {
  if (signal?.aborted) throw abortError(signal);
}

/** What to say of a caught value, whatever it is. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * True for faults after which a wasm instance must not be used again: traps
 * (a Rust panic is one), and the stack overflow of each browser.
 */
export function isTrap(error: unknown): boolean {
  return (
    error instanceof WebAssembly.RuntimeError ||
    (error instanceof RangeError && error.message.includes("call stack")) ||
    (error instanceof Error && error.name === "InternalError")
  );
}

/** Any caught value as a `CacherError`; the engine's own errors carry `code` and `details`. */
export function toCacherError(error: unknown): CacherError {
  if (error instanceof CacherError) return error;
  if (isTrap(error)) {
    return new CacherError("engine-crashed", `the engine crashed: ${messageOf(error)}`, {}, { cause: error });
  }
  if (error instanceof Error && "code" in error && typeof error.code === "string") {
    const details = "details" in error ? error.details : undefined;
    return new CacherError(error.code as ErrorCode, error.message, isRecord(details) ? details : {});
  }
  return new CacherError("internal", messageOf(error), {}, { cause: error });
}

export function toErrorData(error: unknown): ErrorData {
  const { code, message, details } = toCacherError(error);
  return { code, message, details };
}

export function fromErrorData({ code, message, details }: ErrorData): CacherError {
  return new CacherError(code, message, details);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
