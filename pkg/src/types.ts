/**
 * The public types of the package.
 *
 * Types of options and results that the engine itself defines are generated
 * from the Rust code and re-exported here, so the two cannot drift apart.
 */

import type { CacheControls, CacheLabel, CacheOptions } from "./cache/types.js";
import type { StreamOptions } from "./streaming/types.js";
import type {
  GenerateOptions as EngineGenerateOptions,
  GenerationResult,
  JsonValue,
  MergeConflict,
  MergeStrategy,
  OnConflict,
  StateDiff,
  StateInfo,
} from "./wasm/cacher_wasm.js";

export type * from "./analysis/inside-types.js";
export type * from "./analysis/types.js";
export type * from "./batch/types.js";
export type * from "./beam/types.js";
export type * from "./cache/types.js";
export type * from "./inspection/types.js";
export type * from "./streaming/types.js";
export type {
  Change,
  CheckpointInfo as Checkpoint,
  DiffHunk,
  Distributions,
  FinishReason,
  GenerationChunk,
  GenerationResult,
  GraphCheckpoint,
  GraphEdge,
  GraphNode,
  GraphState,
  HistoryEntry,
  JsonValue,
  MergeConflict,
  MergeStrategy,
  ModelInfo,
  OnConflict,
  Span,
  StateDiff,
  StateGraph,
  StateInfo,
  StateOperation,
  Timings,
  TokenLogprob,
  TokenLogprobs,
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
  /** How states are kept. */
  states?: StatesOptions;
  /**
   * The response cache: `true` keeps the answers that a request decides (greedy,
   * or with a seed) and gives them again; an object sets it up; `false`: there
   * is none. Default: requests use it that ask for it (`cache: true`).
   */
  cache?: boolean | CacheOptions;
  /**
   * For generations that have no seed of their own and are not a state's: a whole
   * number from 0 to 2^53-1, or a bigint up to 2^64-1. Equal requests then give
   * equal texts, and count as reproducible for the response cache. Default: each
   * has a fresh one.
   */
  seed?: number | bigint;
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

export interface GenerateOptions extends EngineOptions, CacheControls, StreamOptions, CallOptions {}

export interface CachedGenerationResult extends GenerationResult {
  /** Where it came from. A kept answer has the timings of when it was computed. */
  cache: CacheLabel;
}

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

/** What a state is made of; every part has a default. */
export interface CreateState extends CallOptions {
  /** The text to begin with. Default: the end-of-text token, from which the model begins any text. */
  text?: string;
  /** Instead of `text`. */
  tokens?: readonly number[] | Uint32Array;
  /** Defaults of this state's generations. Without `seed` it is 0: states made alike write alike. */
  config?: EngineOptions;
  /** Up to 256 bytes. */
  name?: string;
  /** Up to 64. */
  tags?: readonly string[];
  /** Up to 64 KiB as JSON. */
  metadata?: Record<string, JsonValue>;
  /** `false`: only in memory, gone with the tab. Default: true. */
  persist?: boolean;
  /** Run the text through the model at once, so that its KV cache is there. Default: true. */
  evaluate?: boolean;
}

export interface UpdateState extends CallOptions {
  /** Key by key over what is set; `null` takes a key out. */
  config?: { [Option in keyof EngineOptions]: EngineOptions[Option] | null };
  /** `null`: none. */
  name?: string | null;
  tags?: readonly string[];
  /** Key by key over what is there; `null` takes a key out. */
  metadata?: Record<string, JsonValue>;
}

export interface AppendOptions extends CallOptions {
  /** Run the added text through the model at once. Default: true. */
  evaluate?: boolean;
}

export interface ForkOptions extends CallOptions {
  /** Where from: a revision's id, or a number of tokens to keep. Default: where the state stands. */
  at?: string | number;
  /** Default: the origin's. */
  name?: string;
}

/** A checkpoint's name, a revision's id, or a number of steps back. */
export type RollbackTarget = string | number | { checkpoint: string } | { revision: string } | { steps: number };

export interface ListStates extends CallOptions {
  /** In name or text, case-insensitive. */
  search?: string;
  /** All of them. */
  tags?: readonly string[];
  pinned?: boolean;
  /** SHA-256 of the model's weights. */
  model?: string;
  /** Default: `"updated"`. */
  sort?: "updated" | "created" | "used" | "name" | "tokens";
  /** Default: `"desc"`. */
  order?: "asc" | "desc";
  /** Default: 0. */
  offset?: number;
  /** Default: 100. */
  limit?: number;
}

export interface StateList {
  items: StateInfo[];
  /** How many there are, on all pages. */
  total: number;
}

export interface DiffOptions extends CallOptions {
  /** Also compare what the model expects in both; that runs it. Default: false. */
  distributions?: boolean;
}

export interface StateComparison {
  /** With `distributions`. */
  diff: StateDiff;
  /** Mean log-probability, in nats a token, of what each has after the common beginning; `null` where that is nothing. */
  meanLogProb: { a: number | null; b: number | null };
  /** Bytes of KV cache in memory that both share, and each alone. */
  kvBytes: { shared: number; a: number; b: number };
}

/**
 * What to put in the place of a conflict: a side, what was there before both,
 * ours and then theirs, or other text.
 */
export type Resolution = "ours" | "theirs" | "base" | "both" | { text: string };

export interface MergeOptions extends CallOptions {
  /**
   * `"edit"`: a three-way merge from the common ancestor; `"ours"`, `"theirs"`:
   * the first, the last; `"concat"`: what all begin with, then the rest of each;
   * `"best"`: the likeliest, by mean log-probability of what is its own;
   * `"longest"`. Default: `"edit"`.
   */
  strategy?: MergeStrategy;
  /**
   * What becomes of changes that contradict each other. `"error"`: code
   * `merge-conflict`, with them in `details.conflicts` and the keys of config and
   * metadata in `details.keys`. A function is asked about each place of the text;
   * keys are then those of the first state that changed them. Default: `"error"`.
   */
  onConflict?: OnConflict | ((conflict: MergeConflict) => Resolution | Promise<Resolution>);
  /** Default: that of the state whose text was chosen, else the first's. */
  name?: string;
  /** Default: all states' but for those that one of them has taken out. */
  tags?: readonly string[];
  /** Default: true where all of the states are kept. */
  persist?: boolean;
  /** Run the merged text through the model at once. Default: true. */
  evaluate?: boolean;
}

export interface ExportOptions extends CallOptions {
  /** `"json"` is readable and has no KV cache. Default: `"binary"`. */
  format?: "binary" | "json";
  /** With the KV cache, so that nothing is computed again. Default: true. */
  kv?: boolean;
}

export interface ImportOptions extends CallOptions {
  /** Default: true. */
  persist?: boolean;
  /** In bytes; a file is read twice. */
  onProgress?: (progress: { loaded: number; total: number }) => void;
}

/** Limits for stored states; those left out do not count. Pinned states are exempt. */
export interface CleanUpPolicy {
  maxStates?: number;
  /** Of stored KV cache. */
  maxBytes?: number;
  /** Since a state was used. */
  maxAgeMs?: number;
  /** How often to look: 1,000 and more. Default: 60,000. */
  intervalMs?: number;
}

export interface StatesUsage {
  backend: "indexeddb" | "memory";
  /** Why nothing is stored, where nothing is; else `null`. */
  reason: string | null;
  states: number;
  revisions: number;
  /** KV blocks in storage. */
  blocks: number;
  /** Bytes in storage. */
  bytes: { records: number; blocks: number; total: number };
  /** Of all that this origin has stored, as the browser tells; `null` where it does not. */
  origin: { usage: number; quota: number } | null;
  /** The browser has promised not to evict what is stored. */
  persisted: boolean;
  /** Damaged records that were put aside. */
  quarantined: number;
  /** States with changes that could not be stored yet. */
  unsaved: number;
  /** The KV cache in memory: blocks, bytes, and of all tokens asked for, how many were found. */
  kv: {
    blocks: number;
    bytes: number;
    budget: number;
    pinnedBytes: number;
    hits: number;
    misses: number;
    evictions: number;
  };
}

/** A change of states, made in this tab or another. */
export interface StatesEvent {
  type: "changed" | "deleted";
  states: string[];
  origin: "this-tab" | "other-tab";
}

export interface StateGenerationResult extends CachedGenerationResult {
  /** The state with the text made. `saved` is false where storing it failed. */
  state: StateInfo;
}

/** How states are kept. */
export interface StatesOptions {
  /** Name of the database in IndexedDB. Default: `"cacher-states"`. */
  database?: string;
  /** `false`: nothing is stored, and nothing read. Default: true. */
  persist?: boolean;
  /** KV blocks of all texts in memory, in bytes. Default: 134,217,728 (128 MiB). */
  kvCacheBytes?: number;
  /** Least time between two savings of a text that is being written, in milliseconds. Default: 500. */
  saveIntervalMs?: number;
  /** How long to wait for another tab that works on a state. Default: 3,000. */
  lockWaitMs?: number;
  /** Default: none; no state is ever deleted by itself. */
  cleanUp?: CleanUpPolicy;
}
