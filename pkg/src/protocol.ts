/**
 * The messages between the client and the engine host, typed once.
 *
 * The same messages run over `postMessage` to a worker and, without a worker,
 * by direct call; so both ways of running share all other code.
 */

import type { AnalysisAnswer, AnalysisCall } from "./analysis/messages.js";
import type { AnalysisProgress } from "./analysis/types.js";
import type { AllowTokens, BeamSearchRequest } from "./beam/messages.js";
import type { BeamResult, BeamStep } from "./beam/types.js";
import type { CacheRequestMessage, CacheSettings } from "./cache/requests.js";
import type { ErrorData } from "./errors.js";
import type { HostInspection } from "./inspection/inspect.js";
import type { SourceSpec } from "./models/source.js";
import type { StateRequest, StateSettings } from "./states/requests.js";
import type { PromptProgress } from "./streaming/sink.js";
import type {
  Dtype,
  EngineOptions,
  GenerationChunk,
  GenerationResult,
  LoadOptions,
  LoadProgress,
  Logits,
  MemoryInfo,
  ModelInfo,
  RuntimeInfo,
  StorageInfo,
  Tokens,
} from "./types.js";

/** A URL that ends in `/` is of a folder with every build, any other of one build's file. */
export type WasmInput = string | BufferSource | WebAssembly.Module;

/** What kind of engine is wanted. */
export interface RuntimeRequest {
  dtype: Dtype;
  threads: NonNullable<LoadOptions["threads"]>;
  simd: NonNullable<LoadOptions["simd"]>;
  /** `undefined`: beside the package's code. */
  wasm: WasmInput | undefined;
}

export interface LoadRequest extends RuntimeRequest {
  source: SourceSpec;
  store: NonNullable<LoadOptions["store"]>;
  states: StateSettings;
  /** `null`: without one. */
  cache: CacheSettings | null;
}

export interface OpenRequest extends RuntimeRequest {
  cache: CacheSettings;
}

export interface Loaded {
  model: ModelInfo;
  storage: StorageInfo;
  runtime: RuntimeInfo;
}

/** What comes of a generation before its result. */
export type GenerationEvent = GenerationChunk | { prompt: PromptProgress };

/** Arguments, answer and intermediate events of every method. */
export interface Methods {
  load: { args: LoadRequest; value: Loaded; event: LoadProgress };
  generate: {
    args: { prompt: string | Uint32Array; options: EngineOptions };
    value: GenerationResult;
    event: GenerationEvent;
  };
  tokenize: { args: { text: string; parseSpecial: boolean }; value: Tokens; event: never };
  detokenize: { args: { ids: Uint32Array }; value: string; event: never };
  beamSearch: { args: BeamSearchRequest; value: BeamResult; event: BeamStep };
  /** For a search that has not ended. */
  allowTokens: { args: AllowTokens; value: null; event: never };
  logits: {
    args: { tokens: string | Uint32Array; positions: Int32Array | undefined };
    value: Logits;
    event: never;
  };
  analyse: { args: AnalysisCall; value: AnalysisAnswer; event: AnalysisProgress };
  memory: { args: null; value: MemoryInfo; event: never };
  inspect: { args: null; value: HostInspection; event: never };
  states: { args: StateRequest; value: unknown; event: unknown };
  /** Starts without a model, for the cache alone. */
  open: { args: OpenRequest; value: null; event: never };
  cache: { args: CacheRequestMessage; value: unknown; event: unknown };
}

export type Method = keyof Methods;

/** `allowed`: how many chunks it may give, until a message of type `flow` says otherwise. */
export type Call = { [M in Method]: { type: "call"; id: number; method: M; args: Methods[M]["args"]; allowed: number } }[Method];

export type ToHost =
  | Call
  /** `reason`: of a generation, what its result is to say; else that it was aborted. */
  | { type: "cancel"; id: number; reason?: "callback" }
  /**
   * How many chunks a generation may have given in all from its beginning on:
   * with `0` it is paused. What was given beyond that before the message came
   * stays given.
   */
  | { type: "flow"; id: number; allowed: number }
  /** Nothing more is wanted of the host. */
  | { type: "close" };

export type FromHost =
  | { type: "value"; id: number; value: Methods[Method]["value"] }
  | { type: "event"; id: number; event: Methods[Method]["event"] }
  | { type: "error"; id: number; error: ErrorData }
  /** The wasm instance trapped; nothing more will come from this host. */
  | { type: "crashed"; message: string };

/** The client's end of the line to one host. */
export interface Connection {
  post(message: ToHost): void;
  close(): void;
  onmessage: (message: FromHost) => void;
  /** The host is gone: `started` tells whether it had ever answered. */
  onfailure: (message: string, started: boolean) => void;
}
