/**
 * The public types of the package.
 *
 * Types of options and results that the engine itself defines are generated
 * from the Rust code and re-exported here, so the two cannot drift apart.
 */

import type { GenerateOptions as EngineGenerateOptions } from "./wasm/cacher_wasm.js";

export type {
  FinishReason,
  GenerationChunk,
  GenerationResult,
  ModelInfo,
  Timings,
  Usage,
} from "./wasm/cacher_wasm.js";

/** Options of one generation; every one has a default. */
export type EngineOptions = Partial<EngineGenerateOptions>;

/**
 * Number format of the weights while running: `"q8"` answers as the full model
 * does, in a quarter of the memory; `"q5"` and `"q4"` are smaller, and `"q4"`
 * faster, at some cost in quality; `"f32"` is the slow reference.
 */
export type Dtype = "q8" | "q5" | "q4" | "f32";

/** Vector instructions: `"relaxed"` is faster in long prompts, not every browser has it. Results are the same. */
export type SimdLevel = "relaxed" | "simd128";

/** A model file held by the caller. */
export type FileData = Blob | ArrayBuffer | Uint8Array;

/**
 * Where a model comes from:
 *
 * - `"tiny-gpt2"`: the small model that goes with this library, found in
 *   `models/tiny-gpt2/` beside the page (see `LoadOptions.modelsUrl`);
 * - a URL: of a folder (`https://…/my-model/`) with Hugging Face's file names
 *   or a `manifest.json`, or of one `.gguf` file; a path that begins with
 *   `/`, `./` or `../` counts as a URL (in Node: as a path on disk);
 * - a hub repository: `"openai-community/gpt2"`, `"owner/name@revision"`, or
 *   `{ repo, revision }`;
 * - the files themselves, from a file input or drag and drop, or by name.
 */
export type ModelSource =
  | string
  | URL
  | { repo: string; revision?: string }
  | Iterable<File>
  | Readonly<Record<string, FileData>>;

/** What loading is doing. */
export type LoadPhase =
  /** Finding out which files there are and how large they are. */
  | "resolve"
  /** Bytes coming from the network (counted in `loaded` and `total`). */
  | "download"
  /** Bytes going from storage or memory into the engine. */
  | "load"
  /** Done: the model answers. */
  | "ready";

export interface LoadProgress {
  phase: LoadPhase;
  /** Name of the file in work, where there is one. */
  file?: string;
  /** Bytes of this phase done, over all files. */
  loaded: number;
  /** Bytes of this phase in all; known from the phase's first report on. */
  total: number;
}

export interface LoadOptions {
  model: ModelSource;
  /** Default: `"q8"`. */
  dtype?: Dtype;
  /**
   * How many threads compute, the worker included. `"auto"`: one for each
   * processor core, up to 8. Threads need a cross-origin isolated page and the
   * engine in a worker; `Cacher.runtime` says whether there are any, and why
   * not. Results do not depend on it. Default: `"auto"`.
   */
  threads?: "auto" | number;
  /** Naming a level makes it an error where the browser lacks it; for comparisons. Default: `"auto"`. */
  simd?: "auto" | SimdLevel;
  onProgress?: (progress: LoadProgress) => void;
  /** Aborts the loading; a partial download is kept and resumed next time. */
  signal?: AbortSignal;
  /**
   * `true`: run in a Web Worker of the package's own (default in browsers);
   * `false`: run on this thread (default in Node); a `Worker`: use this one,
   * which must have been started from the package's `./worker` entry and
   * belongs to this one model from then on: `dispose()` ends it.
   */
  worker?: boolean | Worker;
  /**
   * Where the `.wasm` files are: a folder (a URL that ends in `/`) that holds
   * them all under their own names. Or one such file, its bytes or its compiled
   * module: then there are no threads. Default: beside the package's code.
   */
  wasmUrl?: string | URL | BufferSource | WebAssembly.Module;
  /** Where the worker's script is, which threads are started from as well. Default: beside the package's code. */
  workerUrl?: string | URL;
  /** Folder that holds the built-in models by name. Default: `models/` beside the page. */
  modelsUrl?: string | URL;
  /** The hub's address. Default: `https://huggingface.co`. */
  hubUrl?: string | URL;
  /**
   * Where downloads are kept: `"auto"` takes OPFS, else IndexedDB, else
   * nothing is kept (`"memory"`), which `Cacher.storage` then says. Naming a
   * store makes it an error where that one does not work. Default: `"auto"`.
   */
  store?: "auto" | "opfs" | "indexeddb" | "memory";
}

/** Text or token ids; every text input takes both. */
export type Input = string | readonly number[] | Uint32Array;

export interface CallOptions {
  signal?: AbortSignal;
}

export interface TokenizeOptions extends CallOptions {
  /** Read special tokens such as `<|endoftext|>` as tokens. Default: false. */
  parseSpecial?: boolean;
}

/** Of `Cacher.models.describe`; the same as in `LoadOptions`. */
export type DescribeOptions = Pick<LoadOptions, "model" | "modelsUrl" | "hubUrl" | "signal">;

export interface GenerateOptions extends EngineOptions, CallOptions {}

export interface Tokens {
  ids: Uint32Array;
  /** `[start, end]` of each token in the text, in UTF-16 code units, flat. */
  offsets: Uint32Array;
}

export interface LogitsOptions extends CallOptions {
  /** Which positions to return; negative counts from the end. Default: `[-1]`, the last. */
  positions?: readonly number[] | "all";
}

export interface Logits {
  /** Row-major values, one row of `vocabSize` for each position asked for. */
  data: Float32Array;
  /** `[positions, vocabSize]`. */
  shape: [number, number];
  /** The token ids that were run. */
  tokens: number[];
}

export interface StoredModel {
  /** Name for `Cacher.models.delete`. */
  id: string;
  /** Where it came from. */
  source: string;
  /** Bytes stored, partial downloads and packed weights included. */
  bytes: number;
  /** `bytes` in full; `sha256` and the length are `null` while unknown. */
  files: { name: string; bytes: number | null; sha256: string | null; complete: boolean }[];
  backend: "opfs" | "indexeddb";
}

/** Where the files of a loaded model are kept. */
export interface StorageInfo {
  /** `"memory"`: only the engine's weights in memory; nothing is kept for the next visit. */
  backend: "opfs" | "indexeddb" | "memory";
  /** Why the files, or the packed weights made from them, are not stored, where they are not; else `null`. */
  reason: string | null;
}

/** What the engine runs on. */
export interface RuntimeInfo {
  simd: SimdLevel;
  /** How many threads compute. */
  threads: number;
  /** Why there is only one, in words; `null` where there are more. */
  threadsOff: string | null;
}

/** What the engine holds in memory. */
export interface MemoryInfo {
  /** All of the WebAssembly memory; it never shrinks. */
  wasmBytes: number;
  /** The weights alone. */
  weightBytes: number;
}

/** What loading a model would take. */
export interface ModelDescription {
  /** The id that it has, or would have, in the model store. */
  id: string;
  /** Bytes of all files; `null` where a server does not tell. */
  bytes: number | null;
  files: { name: string; bytes: number | null; sha256: string | null }[];
  /** Bytes that are stored already and need no download. */
  storedBytes: number;
}
