/**
 * What this package asks of the WebAssembly module, as an interface: the real
 * module satisfies it, and tests can put another in its place.
 *
 * Every class here owns memory inside the wasm instance and is synchronous.
 * No call may be in progress while another begins, so none is made across an
 * `await`.
 */

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

/** One thing that a step brought, for the job that asked for it. */
export type EngineEvent =
  | ({ job: number; type: "chunk" } & GenerationChunk)
  | { job: number; type: "done"; result: GenerationResult }
  | { job: number; type: "logits"; data: Float32Array; shape: [number, number]; tokens: number[] }
  | { job: number; type: "error"; error: Error };

/** A loaded model with its queue of jobs. */
export interface Engine {
  info(): ModelInfo;
  /** What goes before the packed bytes in a file; `undefined`: these weights are not worth storing (f32), or stored already. */
  packedHeader(): Uint8Array | undefined;
  /** Where in the instance's memory the packed weights lie. */
  packedAddress(): number;
  packedBytes(): number;
  encode(text: string, parseSpecial: boolean): Tokens;
  decode(ids: Uint32Array): string;
  addGeneration(prompt: string | Uint32Array, options: EngineOptions): number;
  /** `undefined` positions: all of them. */
  addLogits(tokens: string | Uint32Array, positions: Int32Array | undefined): number;
  /** A generation then ends with `"aborted"`; a logits job is dropped. */
  cancel(job: number): void;
  /** Takes each job one step further. */
  step(): EngineEvent[];
  busy(): boolean;
  free(): void;
}

export interface EngineModule {
  Sha256: new () => Hasher;
  ModelLoader: new (dtype: Dtype) => ModelLoader;
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
