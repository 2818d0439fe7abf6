/**
 * `cacher.cache`: the cache of a model's generations, beside all that a
 * `ResponseCache` does.
 */

import { requireKnown, toInput } from "../arguments.js";
import type { Client } from "../client.js";
import { CacherError, invalidOption, throwIfAborted, toCacherError } from "../errors.js";
import { abortedResult, cutResult, Generation } from "../generation.js";
import type { GenerationEvent } from "../protocol.js";
import { requireKinds } from "../states/arguments.js";
import { UNLIMITED } from "../streaming/flow.js";
import { type Sink, STOPPED } from "../streaming/sink.js";
import type { CachedGenerationResult, EngineOptions, FinishReason, GenerateOptions, GenerationChunk, GenerationResult, Input, StateGenerationResult } from "../types.js";
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
  run(options: EngineOptions, kept: Kept | null, sink: Sink<GenerationChunk>): Promise<Omit<StateGenerationResult, "cache">>;
}

/** What a state's key is made of, as far as it says how to compute the answer without the state. */
interface StateRequest {
  prompt: number[];
  options: EngineOptions;
  rng: { seed: string } | null;
}

/** When a generation may begin. */
export interface Turn {
  /** Resolves when it may, to what is to be called when it has ended. */
  wait(signal: AbortSignal): Promise<() => void>;
  /** Its prompt is in the KV cache. */
  promptRead(): void;
}

/** The engine's default, for what the engine does not tell: how a kept answer was made. */
const MAX_TOKENS = 128;

export class GenerationCache extends ResponseCache {
  readonly #client: Client;
  /** Of generations that have none. */
  readonly #seed: number | bigint | undefined;
  /** `false`: there is no cache. */
  #use: CacheSettings["use"] | false;

  /** @internal `null`: there is no cache, and requests that want one are refused. */
  constructor(client: Client, setUp: CacheSetUp | null, seed?: number | bigint) {
    super(client, setUp ?? { pageLayers: [] });
    this.#client = client;
    this.#seed = seed;
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
    const engine = this.#seeded(this.#split(options).engine);
    return this.line.ask("explain", { subject: { kind: "generation", prompt: toInput("prompt", prompt), options: engine } });
  }

  /** @internal */
  async explainState(id: string, options: GenerateOptions): Promise<ExplainedGeneration> {
    this.#require();
    return this.line.ask("explain", { subject: { kind: "state", id, options: this.#split(options).engine } });
  }

  /** @internal */
  generate(prompt: Input, options: GenerateOptions, turn?: Turn): Generation<CachedGenerationResult> {
    const { signal } = options;
    const chunks: GenerationChunk[] = [];
    const compute = async (sink: Sink<GenerationChunk>): Promise<CachedGenerationResult> => {
      const { controls, engine: given } = this.#split(options);
      const engine = this.#seeded(given);
      const input = toInput("prompt", prompt);
      const work: Work<GenerationChunk, GenerationResult> = {
        subject: { kind: "generation", prompt: input, options: engine },
        compute: this.#computeOf(input, engine),
        keep,
        give: async (content, part) => {
          const { result, chunks: kept, times } = requireContent(content, "generation");
          return this.#replay(result, kept, controls.paced ? times : [], engine.maxTokens, part);
        },
        // One that ends early has a result of its own.
        shareable: options.stopWhen === undefined,
      };
      const { result, label } = await this.#answer(work, controls, sink);
      return { ...result, cache: labelOf(result, label) };
    };
    const start = async (sink: Sink<GenerationChunk>): Promise<CachedGenerationResult> => {
      const end = await turn?.wait(sink.signal);
      try {
        return await compute({
          ...sink,
          give: (chunk) => {
            turn?.promptRead();
            chunks.push(chunk);
            sink.give(chunk);
          },
        });
      } finally {
        turn?.promptRead();
        end?.();
      }
    };
    const aborted = () => ({ ...abortedResult(options.seed ?? this.#seed ?? 0, chunks), cache: computedLabel(null) });
    return new Generation(start, { options, signal, aborted });
  }

  /** @internal */
  async generateState({ id, options, run }: StateGeneration, sink: Sink<GenerationChunk>): Promise<StateGenerationResult> {
    const { controls, engine } = this.#split(options);
    if (options.stopWhen !== undefined) {
      if (controls.mode === "only") throw invalidOption("stopWhen", options.stopWhen, 'left out with cache: "only", where the text is a state\'s');
      // A kept answer is written to the state as a whole, and this may not be the whole.
      controls.mode = null;
    }
    const subject: Subject = { kind: "state", id, options: engine };
    const work: Work<GenerationChunk, Omit<StateGenerationResult, "cache">> = {
      subject,
      compute: (part) => run(engine, null, part),
      keep,
      give: async (content: Content, part) => {
        const { kept, times } = requireContent(content, "state");
        const chunks: GenerationChunk[] = [];
        const result = await run(engine, kept, { ...part, flow: UNLIMITED, give: (chunk) => chunks.push(chunk) });
        // The state has its text; an abort ends the show alone.
        await this.#replay(result, chunks, controls.paced ? times : [], engine.maxTokens ?? result.state.config.maxTokens, part).catch(() => undefined);
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
    const { result, label } = await this.#answer(work, controls, sink);
    return { ...result, cache: labelOf(result, label) };
  }

  #computeOf(prompt: string | Uint32Array, options: EngineOptions): Work<GenerationChunk, GenerationResult>["compute"] {
    return (sink) =>
      this.#client.call("generate", { prompt, options }, { signal: sink.signal, flow: sink.flow, onEvent: toSink(sink), onAbort: "finish" });
  }

  /** Gives the chunks of a kept answer; the answer, or as much of it as a callback has let come. */
  async #replay<Result extends GenerationResult>(
    result: Result,
    kept: readonly GenerationChunk[],
    times: readonly number[],
    maxTokens = MAX_TOKENS,
    sink: Sink<GenerationChunk>,
  ): Promise<Result> {
    const { length } = result.promptTokens;
    sink.readPrompt?.({ done: length, cached: length, total: length, maxTokens });
    const chunks: GenerationChunk[] = [];
    try {
      await pace(kept, times, { ...sink, give: seen(chunks, sink.give) });
      return result;
    } catch (error) {
      if (sink.signal.reason !== STOPPED) throw error;
      const cut = cutResult(result, chunks);
      // As the engine does, without waiting whether a stop string or a character would have gone on.
      const text = await this.#client.call("detokenize", { ids: Uint32Array.from(cut.tokens) }, {}).catch(() => cut.text);
      if (text.length > cut.text.length && text.startsWith(cut.text)) {
        sink.give({ ...NO_CHUNK, text: text.slice(cut.text.length) });
        cut.text = text;
      }
      return cut;
    }
  }

  async #answer<Result>(work: Work<GenerationChunk, Result>, controls: Controls, sink: Sink<GenerationChunk>): Promise<Answered<Result>> {
    if (controls.mode !== "auto" && controls.mode !== null) this.#require();
    // Said here, it saves those who do not want it the question.
    const off = controls.mode === "auto" && this.#use !== "reproducible";
    return this.answers.answer(work, off ? { ...controls, mode: null } : controls, sink);
  }

  #require(): void {
    if (this.#use === false) throw new CacherError("invalid-argument", "cache: this model was loaded with `cache: false`");
  }

  #seeded(options: EngineOptions): EngineOptions {
    return options.seed === undefined && this.#seed !== undefined ? { ...options, seed: this.#seed } : options;
  }

  /** A request's options: those of the cache apart, and without those of the stream. */
  #split(options: GenerateOptions): { controls: Controls; engine: EngineOptions } {
    const { cache, forceRefresh, cacheTtl, tags, replay, signal: _, ...others } = options;
    const { chunk: _chunk, onProgress: _progress, stopWhen: _stop, highWaterMark: _mark, ...engine } = others;
    const given = { cache, forceRefresh, cacheTtl, tags, replay } satisfies { [Name in (typeof CONTROLS)[number]]: unknown };
    const said = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as CacheControls;
    return { controls: readControls(said, "auto"), engine };
  }
}

const NO_CHUNK: GenerationChunk = { text: "", tokens: [] };

/** Gives what comes from the engine to a sink. */
export function toSink(sink: Sink<GenerationChunk>): (event: GenerationEvent) => void {
  return (event) => ("prompt" in event ? sink.readPrompt?.(event.prompt) : sink.give(event));
}

/** Shorter to keep, and finer than anybody sees. */
function toTenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** Passes chunks on, and keeps them. */
function seen(chunks: GenerationChunk[], give: (chunk: GenerationChunk) => void): (chunk: GenerationChunk) => void {
  return (chunk) => {
    chunks.push(chunk);
    give(chunk);
  };
}

/** What ended not of itself is not what the request asks for. */
const CUT_SHORT: readonly FinishReason[] = ["aborted", "callback", "time"];

/** What was computed and cut short is not kept, so there is no key to find it by. */
function labelOf({ finishReason }: Pick<GenerationResult, "finishReason">, label: CacheLabel): CacheLabel {
  return finishReason === "aborted" || (CUT_SHORT.includes(finishReason) && label.hit === false) ? computedLabel(null) : label;
}

/** An answer that came to its end, with how it came. */
function keep(result: GenerationResult, { parts }: Flight<GenerationChunk, unknown>): Outcome {
  if (CUT_SHORT.includes(result.finishReason)) return { type: "dropped" };
  return { type: "generation", result, chunks: parts.map(({ part, ms }) => [part.tokens.length, toTenths(ms)]) };
}
