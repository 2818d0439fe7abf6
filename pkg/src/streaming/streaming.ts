/**
 * Something that comes in chunks: the stream of them and the promise of the
 * whole, either of which may be used without the other.
 *
 * Who reads the chunks decides how fast they are made: once somebody iterates,
 * the producer stops when `highWaterMark` chunks wait to be read, and goes on as
 * they are. Without an iteration nothing is ever held up.
 */

import { CacherError, toCacherError } from "../errors.js";
import { Window } from "./flow.js";
import { type Sink, type PromptProgress, STOPPED } from "./sink.js";
import { readableStream } from "./readable.js";

/** Starts it: gives chunks to the sink, and stops early when its signal fires. */
export type StartStream<Chunk, Result> = (sink: Sink<Chunk>) => Promise<Result>;

/** What a stage asks of the stream that it is in. */
export interface StageControl<Out> {
  /** Gives chunks on that are due without a new one having come. */
  emit(chunks: readonly Out[]): void;
  /** Ends the work behind the stream, as a callback wants it. */
  stop(): void;
  /** Ends the work; the stream then fails with `error`. */
  fail(error: unknown): void;
}

/** What happens to chunks on their way from the producer to the reader. */
export interface Stage<In, Out> {
  /** Most chunks that may be made before the last has been through `take`. */
  readonly lookahead: number;
  attach(control: StageControl<Out>): void;
  take(chunk: In): readonly Out[];
  readPrompt(progress: PromptProgress): void;
  paused(paused: boolean): void;
  /** What was held back, once the producer has ended. */
  end(): readonly Out[];
}

export interface StreamingOptions<In, Out, Result> {
  /** Of the caller. */
  signal?: AbortSignal | undefined;
  /** The result in place of an abort that rejects. */
  aborted?: () => Result | Promise<Result>;
  /** Default: `HIGH_WATER_MARK`. */
  highWaterMark?: number | undefined;
  /** Default: chunks pass as they are. */
  stage?: Stage<In, Out>;
}

/** How many chunks may wait to be read, where nothing else is said. */
export const HIGH_WATER_MARK = 64;

interface Waiter<Chunk> {
  resolve(result: IteratorResult<Chunk, undefined>): void;
  reject(error: unknown): void;
}

export class Streaming<Chunk, Result, In = Chunk> implements AsyncIterable<Chunk> {
  /** The whole. */
  readonly result: Promise<Result>;

  readonly #controller = new AbortController();
  readonly #window: Window;
  readonly #stage: Stage<In, Chunk> | undefined;
  /** That nobody has read yet. */
  readonly #chunks: Chunk[] = [];
  readonly #waiters: Waiter<Chunk>[] = [];
  #iterated = false;
  /** Nobody reads any more. */
  #left = false;
  #flushed = false;
  #ended = false;
  /** What a callback of the caller threw. */
  #failure: { error: unknown } | undefined;
  /** For the iteration to tell. */
  #error: { error: unknown } | undefined;

  /** @internal */
  constructor(start: StartStream<In, Result>, { signal, aborted, highWaterMark = HIGH_WATER_MARK, stage }: StreamingOptions<In, Chunk, Result> = {}) {
    this.#stage = stage;
    this.#window = new Window({ size: highWaterMark, lookahead: stage?.lookahead ?? Infinity });
    stage?.attach({
      emit: (chunks) => this.#emit(chunks),
      stop: () => this.#stop(STOPPED),
      fail: (error) => {
        this.#failure ??= { error };
        this.#stop(error);
      },
    });
    this.result = this.#run(start, aborted, signal);
    // Who only iterates gets the error there; it must not also count as unhandled.
    this.result.catch(() => undefined);
  }

  /** Ends it after the step in progress. */
  abort(): void {
    this.#stop(undefined);
  }

  /**
   * Holds it up after the step in progress, until `resume()` or an abort. Chunks
   * that were made before can still be read; `result` waits.
   */
  pause(): void {
    if (this.#ended || this.#window.paused) return;
    this.#window.paused = true;
    this.#stage?.paused(this.paused);
  }

  /** Lets it go on. */
  resume(): void {
    if (!this.#window.paused) return;
    this.#window.paused = false;
    this.#stage?.paused(false);
  }

  /** Whether `pause()` holds it up. */
  get paused(): boolean {
    return this.#window.paused;
  }

  /** The chunks, once. Leaving the loop early aborts. */
  [Symbol.asyncIterator](): AsyncIterator<Chunk, undefined> {
    if (this.#iterated) {
      throw new CacherError("invalid-argument", "it can be iterated once; the whole is in `result`");
    }
    this.#iterated = true;
    this.#window.limit();
    return {
      next: () => this.#next(),
      return: async () => {
        this.#left = true;
        this.abort();
        this.#chunks.length = 0;
        return { done: true, value: undefined };
      },
    };
  }

  /**
   * The chunks as a web stream, in place of the iteration. It makes chunks when
   * they are asked for; cancelling it aborts.
   */
  toReadableStream(): ReadableStream<Chunk> {
    return readableStream(this);
  }

  async #run(start: StartStream<In, Result>, aborted: (() => Result | Promise<Result>) | undefined, signal: AbortSignal | undefined): Promise<Result> {
    const abort = () => this.abort();
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      const result = await start({
        give: (chunk) => this.#take(chunk),
        readPrompt: (progress) => this.#stage?.readPrompt(progress),
        flow: this.#window,
        signal: this.#controller.signal,
      });
      this.#flush();
      this.#throwFailure();
      return result;
    } catch (error) {
      this.#throwFailure();
      const failure = toCacherError(error);
      if (failure.code === "aborted" && aborted !== undefined) {
        try {
          return await aborted();
        } catch (late) {
          throw this.#fails(toCacherError(late));
        }
      }
      throw this.#fails(failure);
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#end();
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#fails(this.#failure.error);
  }

  /** Notes for the iteration that it ends with `error`. */
  #fails<E>(error: E): E {
    this.#error = { error };
    return error;
  }

  #stop(reason: unknown): void {
    this.#controller.abort(reason);
    this.#window.open();
  }

  #take(chunk: In): void {
    if (this.#flushed) return;
    this.#window.receive();
    this.#emit(this.#stage === undefined ? [chunk as unknown as Chunk] : this.#stage.take(chunk));
  }

  #emit(chunks: readonly Chunk[]): void {
    for (const chunk of this.#left ? [] : chunks) {
      const waiter = this.#waiters.shift();
      if (waiter === undefined) this.#chunks.push(chunk);
      else waiter.resolve({ done: false, value: chunk });
    }
    this.#window.waiting(this.#chunks.length);
  }

  #flush(): void {
    if (!this.#flushed) this.#emit(this.#stage?.end() ?? []);
    this.#flushed = true;
  }

  #end(): void {
    this.#flush();
    this.#ended = true;
    this.#window.open();
    for (const waiter of this.#waiters.splice(0)) this.#settle(waiter);
  }

  #next(): Promise<IteratorResult<Chunk, undefined>> {
    return new Promise((resolve, reject) => {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        resolve({ done: false, value: chunk });
        this.#window.waiting(this.#chunks.length);
      } else if (this.#ended) this.#settle({ resolve, reject });
      else this.#waiters.push({ resolve, reject });
    });
  }

  /** Ends an iteration: with the error, once, where there is one. */
  #settle({ resolve, reject }: Waiter<Chunk>): void {
    const failure = this.#error;
    this.#error = undefined;
    if (failure === undefined) resolve({ done: true, value: undefined });
    else reject(failure.error);
  }
}
