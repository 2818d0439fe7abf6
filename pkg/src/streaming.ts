/**
 * Something that comes in chunks: the stream of them and the promise of the
 * whole, either of which may be used without the other.
 */

import { CacherError, toCacherError } from "./errors.js";

/** Starts it: reports chunks, stops early when the signal fires. */
export type StartStream<Chunk, Result> = (onChunk: (chunk: Chunk) => void, signal: AbortSignal) => Promise<Result>;

interface Waiter<Chunk> {
  resolve(result: IteratorResult<Chunk, undefined>): void;
  reject(error: CacherError): void;
}

export class Streaming<Chunk, Result> implements AsyncIterable<Chunk> {
  /** The whole. */
  readonly result: Promise<Result>;

  readonly #controller = new AbortController();
  /** That nobody has read yet. */
  readonly #chunks: Chunk[] = [];
  readonly #waiters: Waiter<Chunk>[] = [];
  #iterated = false;
  #ended = false;
  #error: CacherError | undefined;

  /** @internal `aborted`: the result in place of an abort that rejects. */
  constructor(start: StartStream<Chunk, Result>, signal?: AbortSignal, aborted?: () => Result | Promise<Result>) {
    this.result = this.#run(start, aborted, signal);
    // Who only iterates gets the error there; it must not also count as unhandled.
    this.result.catch(() => undefined);
  }

  /** Ends it after the step in progress. */
  abort(): void {
    this.#controller.abort();
  }

  /** The chunks, once. Leaving the loop early aborts. */
  [Symbol.asyncIterator](): AsyncIterator<Chunk, undefined> {
    if (this.#iterated) {
      throw new CacherError("invalid-argument", "it can be iterated once; the whole is in `result`");
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

  async #run(start: StartStream<Chunk, Result>, aborted: (() => Result | Promise<Result>) | undefined, signal: AbortSignal | undefined): Promise<Result> {
    const abort = () => this.abort();
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await start((chunk) => this.#push(chunk), this.#controller.signal);
    } catch (error) {
      this.#error = toCacherError(error);
      if (this.#error.code !== "aborted" || aborted === undefined) throw this.#error;
      this.#error = undefined;
      return await aborted();
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#end();
    }
  }

  #push(chunk: Chunk): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#chunks.push(chunk);
    else waiter.resolve({ done: false, value: chunk });
  }

  #end(): void {
    this.#ended = true;
    for (const waiter of this.#waiters.splice(0)) this.#settle(waiter);
  }

  #next(): Promise<IteratorResult<Chunk, undefined>> {
    return new Promise((resolve, reject) => {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) resolve({ done: false, value: chunk });
      else if (this.#ended) this.#settle({ resolve, reject });
      else this.#waiters.push({ resolve, reject });
    });
  }

  /** Ends an iteration: with the error, once, where there is one. */
  #settle({ resolve, reject }: Waiter<Chunk>): void {
    const error = this.#error;
    this.#error = undefined;
    if (error === undefined) resolve({ done: true, value: undefined });
    else reject(error);
  }
}
