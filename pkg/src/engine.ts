/**
 * What this package asks of the WebAssembly module, as an interface: the real
 * module satisfies it, and tests can put another in its place.
 *
 * Every class here owns memory inside the wasm instance and is synchronous.
 * No call may be in progress while another begins, so none is made across an
 * `await`.
 */

import type { AnalysisAnswer, AnalysisSubject } from "./analysis/messages.js";
import type { AnalysisProgress } from "./analysis/types.js";
import type { BeamResult, BeamStep, EngineBeamSearchOptions } from "./beam/types.js";
import type { CoreStatics } from "./cache/core.js";
import type { Commit } from "./states/commit.js";
import type { PromptProgress } from "./streaming/sink.js";
import type {
  Dtype,
  EngineOptions,
  GenerationChunk,
  GenerationResult,
  ModelInfo,
  RuntimeInfo,
  Tokens,
} from "./types.js";

/** Incremental SHA-256; `digest` gives hex and frees it. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  digest(): string;
  free(): void;
}

/**
 * Takes the bytes of one weights file in order, in chunks of any size; or, in
 * place of them, weights packed earlier: a header, then bytes that the caller
 * puts into the instance's memory.
 */
export interface ModelLoader {
  setConfig(json: Uint8Array): void;
  setTokenizerJson(json: Uint8Array): void;
  setVocabAndMerges(vocab: Uint8Array, merges: Uint8Array): void;
  push(chunk: Uint8Array): void;
  /** Checks the header of packed weights and makes room for their bytes. */
  beginPacked(header: Uint8Array): void;
  /** Where in the instance's memory the packed bytes belong. */
  packedAddress(): number;
  packedBytes(): number;
  /** Checks the whole, ends the loading and frees the loader. */
  finish(): Engine;
  free(): void;
}

/** A kept answer, made again; `state` (JSON) where it is a state's. */
export interface Replay {
  chunks: GenerationChunk[];
  result: GenerationResult;
  state?: string;
}

/** One thing that a step brought, for the job that asked for it. */
export type EngineEvent =
  /** A generation has read a piece of its prompt. */
  | ({ job: number; type: "progress" } & PromptProgress)
  | ({ job: number; type: "chunk" } & GenerationChunk)
  | { job: number; type: "done"; result: GenerationResult }
  /** A state's generation; the state as JSON. */
  | { job: number; type: "continued"; result: GenerationResult; state: string }
  /** What reading or comparing states has shown, as JSON. */
  | { job: number; type: "told"; answer: string }
  | { job: number; type: "logits"; data: Float32Array; shape: [number, number]; tokens: number[] }
  | { job: number; type: "embedding"; data: Float32Array }
  | ({ job: number; type: "analysisProgress" } & AnalysisProgress)
  | ({ job: number; type: "analysed" } & AnalysisAnswer)
  | ({ job: number; type: "beamStep" } & BeamStep)
  | { job: number; type: "beamDone"; result: BeamResult }
  | { job: number; type: "error"; error: Error };

/** What one transaction has to write of states; see `Commit` in states/commit.ts. */
export interface StateCommit extends Omit<Commit, "drafts"> {
  handle: number;
}

/** A file of states in the making; `finish` gives its last bytes and frees it. */
export interface StateExport {
  head(): Uint8Array;
  blocks(): string[];
  finish(): Uint8Array;
}

/** A file of states being read. */
export interface StateImport {
  free(): void;
}

/** The states of a model. The engine holds them and knows no storage. */
export interface EngineStates {
  /** A command in JSON (see `state::commands`); the answer in JSON. */
  stateCommand(command: string): string;
  setKvBudget(bytes: number): void;
  addStateGeneration(id: string, options: string): number;
  describeStateGeneration(id: string, options: string): string;
  /** Writes a state on with a kept answer; without `commit`, only makes sure that it could. */
  replayStateGeneration(id: string, options: string, recording: string, commit: boolean): Replay;
  /** Searches from a state's text; options in JSON. */
  addStateBeamSearch(id: string, options: string, isAsked: boolean): number;
  addStateReading(id: string, scoredFrom: number | undefined): number;
  addStateComparison(a: string, b: string): number;
  stateDraft(job: number): Uint8Array | undefined;
  recoverDraft(id: string, bytes: Uint8Array): boolean;
  stateCommit(ids: string[]): StateCommit | undefined;
  committed(handle: number, done: boolean): void;
  /** Remembers how a state stands, until it is released. */
  holdState(id: string): void;
  releaseState(id: string, undo: boolean): void;
  revisionsMissing(ids: string[]): void;
  readBlockNames(names: string[]): void;
  readRevision(id: string, bytes: Uint8Array): void;
  wantedRevisions(): string[];
  connectRevisions(): number;
  revisionsOf(bytes: Uint8Array): string[];
  readState(id: string, version: number, fence: number, bytes: Uint8Array): void;
  loseState(id: string): string | undefined;
  stateVersion(id: string): number;
  stateFence(id: string): number;
  missingBlocks(id: string): string[];
  readBlock(name: string, bytes: Uint8Array | undefined): void;
  exportJson(ids: string[]): Uint8Array;
  beginExport(ids: string[], kv: boolean): StateExport;
  exportBlock(file: StateExport, name: string, stored: Uint8Array | undefined): Uint8Array | undefined;
  importPush(file: StateImport, bytes: Uint8Array): void;
  /** Ends a first reading and frees it; what to begin the second with. */
  importChecked(file: StateImport): string;
  /** Ends a second reading and frees it; the ids of its states. */
  importFinish(file: StateImport, persist: boolean): string[];
  importJson(bytes: Uint8Array, persist: boolean): string[];
}

/** A loaded model with its queue of jobs. */
export interface Engine extends EngineStates {
  info(): ModelInfo;
  /** What goes before the packed bytes in a file; `undefined`: these weights are not worth storing (f32), or stored already. */
  packedHeader(): Uint8Array | undefined;
  /** Where in the instance's memory the packed weights lie. */
  packedAddress(): number;
  packedBytes(): number;
  encode(text: string, parseSpecial: boolean): Tokens;
  decode(ids: Uint32Array): string;
  addGeneration(prompt: string | Uint32Array, options: EngineOptions): number;
  /** What decides the answer to a generation, as JSON; see `Request` in generate/request.rs. */
  describeGeneration(prompt: string | Uint32Array, options: EngineOptions): string;
  /** A kept answer (JSON) made again. Error: `invalid-cache-record` where it cannot be the answer. */
  replayGeneration(prompt: string | Uint32Array, options: EngineOptions, recording: string): Replay;
  /** `isAsked`: it is told what beams may go on with. */
  addBeamSearch(prompt: string | Uint32Array, options: EngineBeamSearchOptions, isAsked: boolean): number;
  /** Says what may come after each open beam, before the step; `null`: anything. */
  allowTokens(job: number, nodes: Uint32Array, allowed: (Uint32Array | null)[]): void;
  /** `undefined` positions: all of them. */
  addLogits(tokens: string | Uint32Array, positions: Int32Array | undefined): number;
  /** The vector of a text's meaning. */
  addEmbedding(text: string | Uint32Array, parseSpecial: boolean): number;
  /** Begins an analysis; its kind and options in JSON. */
  addAnalysis(request: string, subjects: AnalysisSubject[]): number;
  /** Memory by owner and the KV cache's blocks, as JSON; see `EngineReport` in inspection/inspect.ts. */
  inspect(): string;
  /** A generation then ends with this `finishReason`, `"aborted"` unless said otherwise; any other job is dropped. */
  cancel(job: number, reason?: "callback"): void;
  /** Leaves a job out of the steps to come. */
  pause(job: number): void;
  resume(job: number): void;
  /** Takes each job one step further. */
  step(): EngineEvent[];
  /** True while there is a job that is not paused. */
  busy(): boolean;
  free(): void;
}

export interface EngineModule {
  ResponseCacheCore: CoreStatics;
  Sha256: new () => Hasher;
  ModelLoader: new (dtype: Dtype) => ModelLoader;
  StateImport: new (origin?: string) => StateImport;
  /** Version of the format of packed weights; others cannot be read. */
  packedVersion(): number;
}

/** A started wasm instance; `alive` becomes false at a trap, for all who share it. */
export interface Runtime {
  readonly module: EngineModule;
  /** The instance's memory; its `buffer` is another one each time it has grown. */
  readonly memory: WebAssembly.Memory;
  alive: boolean;
  /** Ends the threads. */
  close?(): void;
}

export interface StartedRuntime {
  runtime: Runtime;
  /** With threads: once all have started, which may go on while a model is loaded. */
  info: RuntimeInfo | Promise<RuntimeInfo>;
}
