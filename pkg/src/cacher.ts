/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The `Cacher` class: what users of the package work with.
 */

import { Analysis } from "./analysis/analysis.js";
import { GenerationBatch } from "./batch/batch.js";
import { planBatch } from "./batch/options.js";
import type { BatchItemOptions, BatchOptions, BatchSettings } from "./batch/types.js";
import { BeamSearch } from "./beam/beam.js";
import type { BeamSearchOptions } from "./beam/types.js";
import { toInput, toPositions, toTokenIds } from "./arguments.js";
import { GenerationCache } from "./cache/generation-cache.js";
import type { CacheSetUp } from "./cache/settings.js";
import type { Client } from "./client.js";
import { CacherError } from "./errors.js";
import type { Generation } from "./generation.js";
import { modelStore, type ModelStoreApi } from "./model-store.js";
import { browserPlatform, type Platform } from "./platform.js";
import type { Loaded } from "./protocol.js";
import { start } from "./start.js";
import type { State } from "./states/state.js";
import { States } from "./states/states.js";
import type {
  CachedGenerationResult,
  CallOptions,
  EngineInspection,
  GenerateOptions,
  Input,
  LoadOptions,
  Logits,
  LogitsOptions,
  MemoryInfo,
  ModelInfo,
  RuntimeInfo,
  StorageInfo,
  TokenizeOptions,
  Tokens,
} from "./types.js";

/** A loaded model. */
export class Cacher {
  /** Models stored on this device; works without a loaded model. */
  static readonly models: ModelStoreApi = modelStore(browserPlatform);

  readonly model: ModelInfo;
  /** Where the model's files are kept. */
  readonly storage: StorageInfo;
  /** Which build of the engine runs, on how many threads. */
  readonly runtime: RuntimeInfo;
  /** Texts with a history: fork, merge, rewind and keep them. */
  readonly states: States;
  /** Kept answers: look at them, delete them, keep those of your own functions. */
  readonly cache: GenerationCache;
  /** What the model expects of a text, and how it comes to it. */
  readonly analysis: Analysis;
  readonly #client: Client;
  readonly #seed: number | bigint | undefined;

  protected constructor(client: Client, { model, storage, runtime }: Loaded, cacheSetUp: CacheSetUp | null, seed: number | bigint | undefined) {
    this.#client = client;
    this.#seed = seed;
    this.model = model;
    this.storage = storage;
    this.runtime = runtime;
    this.cache = new GenerationCache(client, cacheSetUp, seed);
    this.analysis = new Analysis(client);
    this.states = new States(client, this.cache);
  }

  /** Loads a model, from this device where it is stored, else from the network. */
  static load(options: LoadOptions): Promise<Cacher> {
    return Cacher.loadOn(browserPlatform, options);
  }

  /** @internal */
  static async loadOn(platform: Platform, options: LoadOptions): Promise<Cacher> {
    const { client, loaded, cacheSetUp } = await start(options, platform);
    return new this(client, loaded, cacheSetUp, options.seed);
  }

  /**
   * Continues a prompt. Iterate over what it returns for the text as it comes,
   * or await its `result`, or both. Several at once take turns, token by token.
   */
  generate(prompt: Input, options: GenerateOptions = {}): Generation<CachedGenerationResult> {
    return this.cache.generate(prompt, options);
  }

  /**
   * Continues many prompts at once: iterate over what it returns for the chunks
   * as they come, or await its `results`, or both. Options are for all prompts,
   * or a list of them, one for each.
   */
  generateBatch(prompts: readonly Input[], options?: BatchOptions, settings?: BatchSettings): GenerationBatch;
  generateBatch(prompts: readonly Input[], options: readonly BatchItemOptions[], settings?: BatchSettings): GenerationBatch;
  generateBatch(prompts: readonly Input[], options: BatchOptions | readonly BatchItemOptions[] = {}, settings: BatchSettings = {}): GenerationBatch {
    const plan = planBatch(prompts, options, settings, this.#seed);
    return new GenerationBatch(plan, (prompt, each, turn) => this.cache.generate(prompt, each, turn));
  }

  /**
   * Follows several continuations of a prompt, or of a state's text, at once, and
   * gives the best. Iterate over what it returns for the tree of all that is
   * tried, or await its `result`, or both. A state stays as it is; `toState` of
   * what is returned makes another.
   */
  beamSearch(from: Input | State, options: BeamSearchOptions = {}): BeamSearch {
    return new BeamSearch({ client: this.#client, states: this.states, from, options, seed: this.#seed });
  }

  /** The token ids of a text, with the place of each in it. */
  async tokenize(text: string, { parseSpecial = false, signal }: TokenizeOptions = {}): Promise<Tokens> {
    if (typeof text !== "string") throw new CacherError("invalid-argument", "text: must be a string");
    return this.#client.call("tokenize", { text, parseSpecial }, { signal });
  }

  /** The text of token ids. */
  async detokenize(ids: readonly number[] | Uint32Array, { signal }: CallOptions = {}): Promise<string> {
    return this.#client.call("detokenize", { ids: toTokenIds("ids", ids) }, { signal });
  }

  /** The model's raw scores for the token after each position asked for. */
  async logits(tokens: Input, { positions, signal }: LogitsOptions = {}): Promise<Logits> {
    const args = { tokens: toInput("tokens", tokens), positions: toPositions(positions) };
    return this.#client.call("logits", args, { signal });
  }

  /** How much memory the engine holds now. */
  async memory({ signal }: CallOptions = {}): Promise<MemoryInfo> {
    return this.#client.call("memory", null, { signal });
  }

  /**
   * All there is to tell of the engine now: memory by owner, every KV block,
   * hits and evictions, states, the response cache, stored models. Plain JSON.
   */
  async inspect({ signal }: CallOptions = {}): Promise<EngineInspection> {
    const [engine, models] = await Promise.all([this.#client.call("inspect", null, { signal }), Cacher.models.list()]);
    const { model, runtime, storage } = this;
    return { time: Date.now(), model, runtime, storage, ...engine, models };
  }

  /**
   * Ends the engine; calls in progress reject with code `disposed`. With a
   * worker this gives all memory back. Without one the wasm memory, which
   * cannot shrink, stays for the next model until the page or process ends.
   */
  async dispose(): Promise<void> {
    this.#client.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
