/**
 * One generation in progress: its stream of chunks and the promise of its
 * result, either of which may be used without the other.
 */

import { CacherError, toCacherError } from "./errors.js";
import type { GenerationChunk, GenerationResult } from "./types.js";

/** Starts the generation: reports chunks, stops early when the signal fires. */
export type StartGeneration<Result> = (
  onChunk: (chunk: GenerationChunk) => void,
  signal: AbortSignal,
) => Promise<Result>;

interface Waiter {
  resolve(result: IteratorResult<GenerationChunk, undefined>): void;
  reject(error: CacherError): void;
}

export class Generation<Result extends GenerationResult = GenerationResult> implements AsyncIterable<GenerationChunk> {
  /**
   * The whole result. An abort, by signal, `abort()` or `break`, is a
   * `finishReason` and not an error; the result then has what was made.
   */
  readonly result: Promise<Result>;

  readonly #controller = new AbortController();
  /** At most one chunk for each position of the model, so it needs no bound of its own. */
  readonly #chunks: GenerationChunk[] = [];
  readonly #waiters: Waiter[] = [];
  #iterated = false;
  #ended = false;
  #error: CacherError | undefined;

  /** @internal `nothing`: the result of a generation that was aborted before the engine had heard of it. */
  constructor(start: StartGeneration<Result>, nothing: () => Result | Promise<Result>, signal?: AbortSignal) {
    this.result = this.#run(start, nothing, signal);
    // Who only iterates gets the error there; it must not also count as unhandled.
    this.result.catch(() => undefined);
  }

  /** Ends the generation after the step in progress; what was made is kept. */
  abort(): void {
    this.#controller.abort();
  }

  /** The chunks, once. Leaving the loop early aborts the generation. */
  [Symbol.asyncIterator](): AsyncIterator<GenerationChunk, undefined> {
    if (this.#iterated) {
      throw new CacherError("invalid-argument", "a generation can be iterated once; its whole text is in `result`");
    }
    this.#iterated = true;
    return {
      next: () => this.#next(),
      return: async () => {
        this.abort();
        this.#chunks.length = 0;
        return { done: true, value: undefined };
      },
    };
  }

  async #run(start: StartGeneration<Result>, nothing: () => Result | Promise<Result>, signal?: AbortSignal): Promise<Result> {
    const abort = () => this.abort();
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await start((chunk) => this.#push(chunk), this.#controller.signal);
    } catch (error) {
      this.#error = toCacherError(error);
      if (this.#error.code !== "aborted") throw this.#error;
      this.#error = undefined;
      return await nothing();
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#end();
    }
  }

  #push(chunk: GenerationChunk): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#chunks.push(chunk);
    else waiter.resolve({ done: false, value: chunk });
  }

  #end(): void {
    this.#ended = true;
    for (const waiter of this.#waiters.splice(0)) this.#settle(waiter);
  }

  #next(): Promise<IteratorResult<GenerationChunk, undefined>> {
    return new Promise((resolve, reject) => {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) resolve({ done: false, value: chunk });
      else if (this.#ended) this.#settle({ resolve, reject });
      else this.#waiters.push({ resolve, reject });
    });
  }

  /** Ends an iteration: with the error, once, where there is one. */
  #settle({ resolve, reject }: Waiter): void {
    const error = this.#error;
    this.#error = undefined;
    if (error === undefined) resolve({ done: true, value: undefined });
    else reject(error);
  }
}

/** Of a generation that was aborted before it began. */
export function emptyResult(seed: number | bigint): GenerationResult {
  return {
    text: "",
    tokens: [],
    promptTokens: [],
    finishReason: "aborted",
    stopSequence: null,
    seed,
    usage: { promptTokens: 0, tokensEvaluated: 0, completionTokens: 0, totalTokens: 0, draftTokens: 0, acceptedDraftTokens: 0 },
    timings: { prefillMs: 0, decodeMs: 0, prefillTokensPerSecond: 0, tokensPerSecond: 0 },
  };
}
