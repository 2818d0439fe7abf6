/**
 * What this page uses of the package's states, gathered in one place: the
 * types, and where a loaded engine keeps them.
 */

import type { Cacher, CallOptions, EngineOptions, GenerateOptions, GenerationChunk, GenerationResult, Input, Tokens } from "cacher-wasm";

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

export interface CreateState extends CallOptions {
  /** The text to begin with; or `tokens`. Default: empty. */
  text?: string;
  tokens?: readonly number[] | Uint32Array;
  /** Defaults of this state's generations. Without `seed`, seed 0: states made alike write alike. */
  config?: EngineOptions;
  name?: string;
  tags?: string[];
  metadata?: Record<string, JsonValue>;
  /** `false`: only in memory, gone with the tab. Default: true. */
  persist?: boolean;
  /** Run the text through the model at once, so that its KV cache is there. Default: true. */
  evaluate?: boolean;
}

/** A state as it stands: plain data. */
export interface StateInfo {
  id: string;
  name: string | null;
  tags: string[];
  metadata: Record<string, JsonValue>;
  /** What was set of the options; `seed` always. */
  config: EngineOptions;
  rng: { seed: number | bigint; position: number };
  /** Id of the revision it stands at. */
  revision: string;
  /** How many revisions its history has. */
  revisions: number;
  /** How many tokens its text has. */
  tokens: number;
  /** The first 80 characters of the text. */
  preview: string;
  model: { sha256: string; dtype: string };
  checkpoints: Checkpoint[];
  forkedFrom: { state: string; revision: string } | null;
  /** Milliseconds since 1970. */
  created: number;
  updated: number;
  used: number;
  /** Exempt from clean-up and from eviction. */
  pinned: boolean;
  /** Meant to be kept in IndexedDB. */
  persist: boolean;
  /** All of it is in storage. */
  saved: boolean;
  /** Of the call that returned this: tokens that the model was run for. 0: all was in the KV cache. */
  tokensEvaluated: number;
}

export interface Checkpoint { name: string; revision: string; created: number }

export type Operation = "create" | "append" | "generate" | "update" | "rollback" | "merge" | "import" | "recover";

export interface HistoryEntry {
  revision: string;
  parents: string[];
  operation: Operation;
  /** Milliseconds since 1970, and how long the operation took. */
  created: number;
  durationMs: number;
  tokensAdded: number;
  tokensRemoved: number;
  /** Tokens of the text after it. */
  tokens: number;
  /** The text that was added; for a rollback empty. */
  added: string;
  /** Keys of the config that changed; `null`: absent. */
  configChanges: Change[];
  seed: number | bigint;
  /** Of a generation. */
  finishReason: string | null;
  /** Of a merge. */
  strategy: string | null;
  /** Of a rollback: where to. */
  target: string | null;
  checkpoints: string[];
}

export interface Change { key: string; a: JsonValue; b: JsonValue }

export interface StateGraph {
  nodes: GraphNode[];
  /** Parent to child. `"rollback"`: from the revision gone back to, to the revision that records it. */
  edges: { from: string; to: string; kind: "next" | "merge" | "rollback" }[];
  states: { id: string; name: string | null; head: string }[];
}

export interface GraphNode {
  revision: string;
  operation: Operation;
  created: number;
  tokens: number;
  tokensAdded: number;
  /** The first 80 characters of what was added. */
  preview: string;
  /** States that stand here, by id. */
  heads: string[];
  checkpoints: { state: string; name: string }[];
}

export interface Span {
  /** `[start, end)` in tokens. */
  tokens: [number, number];
  /** `[start, end)` in the text, in UTF-16 code units. */
  text: [number, number];
  content: string;
}

export interface DiffHunk { kind: "equal" | "delete" | "insert" | "replace"; a: Span; b: Span }

export interface StateDiff {
  a: { state: string; revision: string; tokens: number };
  b: { state: string; revision: string; tokens: number };
  /** The youngest revision that both come from. */
  ancestor: { revision: string; tokens: number } | null;
  /** Length of the common beginning. */
  sharedTokens: number;
  /** From 0 (nothing in common) to 1: twice the equal tokens over all. */
  similarity: number;
  hunks: DiffHunk[];
  config: Change[];
  metadata: Change[];
  /** With `distributions: true`. */
  distributions: Distributions | null;
}

export interface Distributions {
  /**
   * For each token that both have after the first difference: places, the divergence KL(a || b) in nats
   * of what each expected in its place, and its rank in each (1 is the likeliest).
   */
  positions: { a: number; b: number; kl: number; rankA: number; rankB: number }[];
  /** What each expects next: divergence, and the likeliest tokens of either with both probabilities. */
  next: { kl: number; top: { token: number; text: string; a: number; b: number }[] };
}

export interface StateComparison {
  diff: StateDiff;            // with distributions
  /** Mean log-probability (nats a token) of what each has after the common beginning; null where nothing. */
  meanLogProb: { a: number | null; b: number | null };
  /** Bytes of KV cache that both share, and each alone. */
  kvBytes: { shared: number; a: number; b: number };
}

export type MergeStrategy = "ours" | "theirs" | "concat" | "best" | "longest" | "edit";

export interface MergeConflict {
  index: number;
  base: Span; ours: Span; theirs: Span;
}
export type Resolution = "ours" | "theirs" | "base" | "both" | { text: string };

export interface MergeOptions extends CallOptions {
  strategy?: MergeStrategy;          // default "edit"
  /** For `edit`, and for keys of config and metadata that differ. Default: "error" (`merge-conflict`, conflicts in `details.conflicts`, keys in `details.keys`) */
  onConflict?: "error" | "ours" | "theirs" | "base" | "both" | ((conflict: MergeConflict) => Resolution | Promise<Resolution>);
  name?: string; tags?: string[]; persist?: boolean; evaluate?: boolean;
}

export interface ListQuery {
  /** In name or text, case-insensitive. */
  search?: string;
  /** All of them. */
  tags?: string[];
  pinned?: boolean;
  /** SHA-256 of the model's weights. */
  model?: string;
  sort?: "updated" | "created" | "used" | "name" | "tokens";   // default "updated"
  order?: "asc" | "desc";  // default "desc"
  offset?: number; limit?: number; // default 0, 100
}

export interface StatesUsage {
  backend: "indexeddb" | "memory";
  /** Why nothing is stored, where nothing is. */
  reason: string | null;
  states: number; revisions: number;
  /** KV blocks in storage. */
  blocks: number;
  /** Bytes in storage, about. */
  bytes: { records: number; blocks: number; total: number };
  /** Of the origin, as the browser tells; null where it does not. */
  origin: { usage: number; quota: number } | null;
  /** The browser will not evict it. */
  persisted: boolean;
  /** Damaged records put aside. */
  quarantined: number;
  /** States with changes that could not be stored. */
  unsaved: number;
  /** The KV cache in memory. */
  kv: { blocks: number; bytes: number; budget: number; pinnedBytes: number; hits: number; misses: number; evictions: number };
}

export interface CleanUpPolicy { maxStates?: number; maxBytes?: number; maxAgeMs?: number; intervalMs?: number }

export interface StateGenerationResult extends GenerationResult { state: StateInfo }
export interface StateGeneration extends AsyncIterable<GenerationChunk> { readonly result: Promise<StateGenerationResult>; abort(): void }

/** A handle. Valid across forks, rollbacks and reloads; after deletion every call rejects with `state-not-found`. */
export interface State {
  readonly id: string;
  info(): Promise<StateInfo>;
  text(at?: { revision?: string }): Promise<string>;
  /** ids and UTF-16 offsets into the text. */
  tokens(at?: { revision?: string }): Promise<Tokens>;
  /** Continues the text; options over the state's config. The text made becomes part of the state (so state.text() === before + result.text). */
  generate(options?: GenerateOptions): StateGeneration;
  append(input: Input, options?: { evaluate?: boolean; signal?: AbortSignal }): Promise<StateInfo>;
  /** `at`: a revision's id, or a number of tokens to keep. */
  fork(options?: { at?: string | number; name?: string }): Promise<State>;
  fork(count: number, options?: { at?: string | number; name?: string }): Promise<State[]>;
  checkpoint(name: string): Promise<Checkpoint>;        // the same name again moves it
  checkpoints(): Promise<Checkpoint[]>;
  /** A checkpoint's name or a revision's id; or a number of steps back. */
  rollback(to: string | number | { checkpoint: string } | { revision: string } | { steps: number }): Promise<StateInfo>;
  update(changes: { config?: EngineOptions; name?: string | null; tags?: string[]; metadata?: Record<string, JsonValue> }): Promise<StateInfo>;
  /** A new seed (fresh unless given), from its beginning. */
  reseed(seed?: number | bigint): Promise<StateInfo>;
  pin(pinned?: boolean): Promise<StateInfo>;
  history(): Promise<HistoryEntry[]>;                   // newest first
  graph(): Promise<StateGraph>;                         // everything related
  diff(other: State | string, options?: { distributions?: boolean; signal?: AbortSignal }): Promise<StateDiff>;
  export(options?: ExportOptions): Promise<Blob>;
  delete(): Promise<void>;
}

export interface ExportOptions { format?: "binary" | "json"; kv?: boolean /* binary only, default true */; signal?: AbortSignal }
export interface ImportOptions { signal?: AbortSignal; persist?: boolean; onProgress?(p: { loaded: number; total: number }): void }

/** `cacher.states` */
export interface States {
  create(options?: CreateState): Promise<State>;
  get(id: string): Promise<State>;                       // state-not-found
  list(query?: ListQuery): Promise<{ items: StateInfo[]; total: number }>;
  delete(ids: string | readonly string[]): Promise<void>;
  diff(a: State | string, b: State | string, options?: CallOptions & { distributions?: boolean }): Promise<StateDiff>;
  compare(a: State | string, b: State | string, options?: CallOptions): Promise<StateComparison>;
  merge(states: readonly (State | string)[], options?: MergeOptions): Promise<State>;
  graph(): Promise<StateGraph>;                          // of all states
  /** One, several, or (without `states`) all. */
  export(states?: readonly (State | string)[] | undefined, options?: ExportOptions): Promise<Blob>;
  import(file: Blob | ArrayBuffer | Uint8Array, options?: ImportOptions): Promise<State[]>;
  usage(): Promise<StatesUsage>;
  /** Asks the browser not to evict; best after a user's gesture. */
  persist(): Promise<boolean>;
  /** Cleans up now, by this policy or the configured one; ids of the deleted. */
  cleanUp(policy?: CleanUpPolicy): Promise<string[]>;
  /** Sets the policy that runs by itself (default: none). */
  setCleanUp(policy: CleanUpPolicy | null): Promise<void>;
  /** Told of every change, from this tab or another; returns the way out. */
  subscribe(listener: (event: StatesEvent) => void): () => void;
  /** Stores what could not be stored; rejects with the reason where it still cannot. */
  save(): Promise<void>;
}
export interface StatesEvent { type: "changed" | "deleted"; states: string[]; origin: "this-tab" | "other-tab" }

export function statesOf(engine: Cacher): States {
  return (engine as Cacher & { states: States }).states;
}
