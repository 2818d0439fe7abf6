/**
 * `cacher.cache`: the cache of a model's generations, beside all that a
 * `ResponseCache` does.
 */

import { requireKnown, toInput } from "../arguments.js";
import type { Client } from "../client.js";
import { CacherError, throwIfAborted, toCacherError } from "../errors.js";
import { abortedResult, type Generation } from "../generation.js";
import { requireKinds } from "../states/arguments.js";
import { Streaming } from "../streaming.js";
import type { CachedGenerationResult, EngineOptions, GenerateOptions, GenerationChunk, GenerationResult, Input, StateGenerationResult } from "../types.js";
import { type Answered, computedLabel, requireContent, type Work } from "./answers.js";
import { ResponseCache } from "./cache.js";
import type { Flight } from "./flight.js";
import { pace } from "./pacing.js";
import type { CacheSettings, Content, Kept, Outcome, Subject } from "./requests.js";
import { type CacheSetUp, type Controls, CONTROLS, readControls } from "./settings.js";
import type { CacheControls, CacheLabel, CacheOptions } from "./types.js";

export interface WarmRequest {
  prompt: Input;
  options?: GenerateOptions;
}

export interface WarmOptions {
  /** How many are computed at a time. Default: 1. */
  concurrency?: number;
  signal?: AbortSignal;
  onProgress?: (progress: WarmProgress) => void;
}

export interface WarmProgress {
  total: number;
  /** Computed now. */
  computed: number;
  /** Kept already. */
  present: number;
  failed: number;
}

export interface ExplainedGeneration {
  /** SHA-256 of `json`, hexadecimal. */
  key: string;
  /** All that decides the answer, as canonical JSON. */
  json: string;
  /** Whether the request alone decides the answer: it is greedy, or has a seed. */
  reproducible: boolean;
}

/** A state's generation, as `State` asks for it. */
export interface StateGeneration {
  id: string;
  options: GenerateOptions;
  /** Computes it, or writes on with what was kept. */
  run(options: GenerateOptions, kept: Kept | null, onChunk: (chunk: GenerationChunk) => void, signal: AbortSignal): Promise<Omit<StateGenerationResult, "cache">>;
}

/** What a state's key is made of, as far as it says how to compute the answer without the state. */
interface StateRequest {
  prompt: number[];
  options: EngineOptions;
  rng: { seed: string } | null;
}

type OnChunk = (chunk: GenerationChunk) => void;

export class GenerationCache extends ResponseCache {
  readonly #client: Client;
  /** `false`: there is no cache. */
  #use: CacheSettings["use"] | false;

  /** @internal `null`: there is no cache, and requests that want one are refused. */
  constructor(client: Client, setUp: CacheSetUp | null) {
    super(client, setUp ?? { pageLayers: [] });
    this.#client = client;
    this.#use = setUp === null ? false : setUp.settings.use;
  }

  override async configure(options: CacheOptions): Promise<void> {
    await super.configure(options);
    if (this.#use !== false) this.#use = options.use ?? this.#use;
  }

  /** Ends the subscriptions; the cache itself ends with its model. */
  override async close(): Promise<void> {
    this.unsubscribe();
  }

  /**
   * Computes the answers that are not kept yet. Aborted, it rejects, and what
   * was computed is kept. A request that fails does not end it.
   */
  async warm(requests: readonly WarmRequest[], options: WarmOptions = {}): Promise<Omit<WarmProgress, "total">> {
    requireKnown(options, ["concurrency", "signal", "onProgress"], "warm");
    requireKinds("warm", options, { concurrency: "count" });
    if (!Array.isArray(requests)) throw new CacherError("invalid-argument", "requests: must be an array");
    const { concurrency = 1, signal, onProgress = () => undefined } = options;
    const progress: WarmProgress = { total: requests.length, computed: 0, present: 0, failed: 0 };
    const left = [...requests];
    const work = async () => {
      for (let request = left.shift(); request !== undefined; request = left.shift()) {
        throwIfAborted(signal);
        try {
          const { cache } = await this.generate(request.prompt, { cache: true, ...request.options, ...(signal === undefined ? {} : { signal }) }).result;
          if (cache.hit === false) progress.computed++;
          else progress.present++;
        } catch (error) {
          if (toCacherError(error).code === "disposed") throw error;
          progress.failed++;
        }
        throwIfAborted(signal);
        onProgress({ ...progress });
      }
    };
    await Promise.all(Array.from({ length: Math.max(1, concurrency) }, work));
    const { total: _, ...counts } = progress;
    return counts;
  }

  /** What a generation's key is made of, the key, and whether the request alone decides the answer. */
  async explainGeneration(prompt: Input, options: GenerateOptions = {}): Promise<ExplainedGeneration> {
    this.#require();
    const { engine } = this.#split(options);
    return this.line.ask("explain", { subject: { kind: "generation", prompt: toInput("prompt", prompt), options: engine } });
  }

  /** @internal */
  async explainState(id: string, options: GenerateOptions): Promise<ExplainedGeneration> {
    this.#require();
    return this.line.ask("explain", { subject: { kind: "state", id, options: this.#split(options).engine } });
  }

  /** @internal */
  generate(prompt: Input, options: GenerateOptions): Generation<CachedGenerationResult> {
    const { signal, ...rest } = options;
    const chunks: GenerationChunk[] = [];
    return new Streaming<GenerationChunk, CachedGenerationResult>(
      async (onChunk, abort) => {
        const { controls, engine } = this.#split(rest);
        const input = toInput("prompt", prompt);
        const work: Work<GenerationChunk, GenerationResult> = {
          subject: { kind: "generation", prompt: input, options: engine },
          compute: this.#computeOf(input, engine),
          keep,
          give: async (content, give, stop) => {
            const { result, chunks: kept, times } = requireContent(content, "generation");
            await pace(kept, controls.paced ? times : [], give, stop);
            return result;
          },
          shareable: true,
        };
        const { result, label } = await this.#answer(work, controls, seen(chunks, onChunk), abort);
        return { ...result, cache: labelOf(result, label) };
      },
      signal,
      () => ({ ...abortedResult(options.seed ?? 0, chunks), cache: computedLabel(null) }),
    );
  }

  /** @internal */
  async generateState({ id, options, run }: StateGeneration, onChunk: OnChunk, signal: AbortSignal): Promise<StateGenerationResult> {
    const { signal: _, ...rest } = options;
    const { controls, engine } = this.#split(rest);
    const subject: Subject = { kind: "state", id, options: engine };
    const work: Work<GenerationChunk, Omit<StateGenerationResult, "cache">> = {
      subject,
      compute: (give, stop) => run(engine, null, give, stop),
      keep,
      give: async (content: Content, give, stop) => {
        const { kept, times } = requireContent(content, "state");
        const chunks: GenerationChunk[] = [];
        const result = await run(engine, kept, (chunk) => chunks.push(chunk), stop);
        // The state has its text; an abort ends the show alone.
        await pace(chunks, controls.paced ? times : [], give, stop).catch(() => chunks.length);
        return result;
      },
      // Each state is written on for itself,
      shareable: false,
      // and in the background none is.
      renewal: (content) => {
        const { prompt, options: asked, rng } = JSON.parse(requireContent(content, "state").kept.request) as StateRequest;
        const seeded = rng === null ? asked : { ...asked, seed: BigInt(rng.seed) };
        return { compute: this.#computeOf(Uint32Array.from(prompt), seeded), keep, shareable: true };
      },
    };
    const { result, label } = await this.#answer(work, controls, onChunk, signal);
    return { ...result, cache: labelOf(result, label) };
  }

  #computeOf(prompt: string | Uint32Array, options: EngineOptions): Work<GenerationChunk, GenerationResult>["compute"] {
    return (give, stop) => this.#client.call("generate", { prompt, options }, { signal: stop, onEvent: give, onAbort: "finish" });
  }

  async #answer<Result>(work: Work<GenerationChunk, Result>, controls: Controls, onChunk: OnChunk, signal: AbortSignal): Promise<Answered<Result>> {
    if (controls.mode !== "auto" && controls.mode !== null) this.#require();
    // Said here, it saves those who do not want it the question.
    const off = controls.mode === "auto" && this.#use !== "reproducible";
    return this.answers.answer(work, off ? { ...controls, mode: null } : controls, onChunk, signal);
  }

  #require(): void {
    if (this.#use === false) throw new CacherError("invalid-argument", "cache: this model was loaded with `cache: false`");
  }

  /** A request's options, those of the cache apart. */
  #split(options: GenerateOptions): { controls: Controls; engine: Omit<GenerateOptions, keyof CacheControls | "signal"> } {
    const { cache, forceRefresh, cacheTtl, tags, replay, signal: _, ...engine } = options;
    const given = { cache, forceRefresh, cacheTtl, tags, replay } satisfies { [Name in (typeof CONTROLS)[number]]: unknown };
    const said = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as CacheControls;
    return { controls: readControls(said, "auto"), engine };
  }
}

/** Shorter to keep, and finer than anybody sees. */
function toTenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** Passes chunks on, and keeps them. */
function seen(chunks: GenerationChunk[], onChunk: OnChunk): OnChunk {
  return (chunk) => {
    chunks.push(chunk);
    onChunk(chunk);
  };
}

/** One that was aborted is not kept, so there is no key to find it by. */
function labelOf({ finishReason }: Pick<GenerationResult, "finishReason">, label: CacheLabel): CacheLabel {
  return finishReason === "aborted" ? computedLabel(null) : label;
}

/** An answer that came to its end, with how it came. */
function keep(result: GenerationResult, { parts }: Flight<GenerationChunk, unknown>): Outcome {
  if (result.finishReason === "aborted") return { type: "dropped" };
  return { type: "generation", result, chunks: parts.map(({ part, ms }) => [part.tokens.length, toTenths(ms)]) };
}
