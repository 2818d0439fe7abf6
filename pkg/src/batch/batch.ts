/**
 * Many generations at once: all are begun through the engine's batched steps, so
 * many at a time, and each ends for itself.
 *
 * Texts of one prompt share its reading: the first is begun alone, and the
 * others when the KV cache has the prompt.
 */

import type { Turn } from "../cache/generation-cache.js";
import { untilAborted } from "../client.js";
import type { Generation } from "../generation.js";
import { eventStream, readableStream } from "../streaming/readable.js";
import { CacherError, throwIfAborted, toErrorData } from "../errors.js";
import type { CachedGenerationResult, GenerateOptions, Input } from "../types.js";
import { mergedStreams } from "./merged.js";
import type { BatchItem, BatchPlan } from "./options.js";
import { Slots } from "./slots.js";
import type { BatchChunk, BatchResult } from "./types.js";

export type Generate = (prompt: Input, options: GenerateOptions, turn: Turn) => Generation<CachedGenerationResult>;

export class GenerationBatch implements AsyncIterable<BatchChunk> {
  /** The generations, by prompt and sample: each can be iterated, paused and aborted by itself. */
  readonly generations: readonly (readonly Generation<CachedGenerationResult>[])[];
  /** Of each prompt, its answer; one that fails rejects alone. */
  readonly items: readonly Promise<BatchResult>[];
  /** What became of each prompt, once all have ended; never rejects. */
  readonly results: Promise<PromiseSettledResult<BatchResult>[]>;
  #iterated = false;

  /** @internal */
  constructor({ items, concurrency, signal }: BatchPlan, generate: Generate) {
    const slots = new Slots(concurrency);
    let order = 0;
    this.generations = items.map(({ prompt, samples }) => {
      const read = deferred();
      return samples.map((options, sample) => {
        const place = order++;
        return generate(prompt, options, {
          wait: async (stop) => {
            throwIfAborted(stop);
            if (sample > 0) await untilAborted(read.promise, stop);
            return slots.enter(place, stop);
          },
          promptRead: read.resolve,
        });
      });
    });
    this.items = items.map((item, index) => answer(item, this.generations[index]!));
    // Each is told in `results`.
    for (const item of this.items) item.catch(() => undefined);
    this.results = Promise.allSettled(this.items);
    const abort = () => this.abort();
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    void this.results.then(() => signal?.removeEventListener("abort", abort));
  }

  /** Ends all, or all of one prompt; what was made is kept. */
  abort(index?: number): void {
    for (const generation of this.#of(index)) generation.abort();
  }

  /** Holds all up, or all of one prompt; see `Generation.pause`. */
  pause(index?: number): void {
    for (const generation of this.#of(index)) generation.pause();
  }

  resume(index?: number): void {
    for (const generation of this.#of(index)) generation.resume();
  }

  /** The chunks of all as they come, once. Leaving the loop early aborts all. A generation that fails ends quietly; `results` has its error. */
  [Symbol.asyncIterator](): AsyncIterator<BatchChunk, undefined> {
    if (this.#iterated) throw new CacherError("invalid-argument", "it can be iterated once; the whole is in `results`");
    this.#iterated = true;
    const sources = this.generations.flatMap((samples, index) => samples.map((source, sample) => ({ tag: { index, sample }, source })));
    const merged = mergedStreams(sources);
    return {
      next: async () => {
        const { done, value } = await merged.next();
        return done === true ? { done, value: undefined } : { done: false, value: { ...value.tag, chunk: value.chunk } };
      },
      return: async () => {
        await merged.return!();
        return { done: true, value: undefined };
      },
    };
  }

  /** The chunks as a web stream; see `Generation.toReadableStream`. */
  toReadableStream(): ReadableStream<BatchChunk> {
    return readableStream(this);
  }

  /**
   * The chunks as the bytes of server-sent events; see `Generation.toEventStream`.
   * The last event's `result` is a list of `{ result }` and `{ error }`, by prompt.
   */
  toEventStream(): ReadableStream<Uint8Array> {
    const results = this.results.then((all) =>
      all.map((each) => (each.status === "fulfilled" ? { result: each.value } : { error: toErrorData(each.reason) })),
    );
    return eventStream(this, results);
  }

  #of(index: number | undefined): readonly Generation<CachedGenerationResult>[] {
    if (index === undefined) return this.generations.flat();
    const samples = this.generations[index];
    if (samples === undefined) throw new CacherError("invalid-argument", `index: there is no prompt ${index}`);
    return samples;
  }
}

async function answer({ best }: BatchItem, generations: readonly Generation<CachedGenerationResult>[]): Promise<BatchResult> {
  const samples = await Promise.all(generations.map(({ result }) => result));
  const meanLogProbs = best ? samples.map(meanLogProb) : null;
  const scores = meanLogProbs?.map((mean) => mean ?? -Infinity) ?? [];
  // Of equal ones the first.
  const sample = Math.max(0, scores.indexOf(Math.max(...scores)));
  return { ...samples[sample]!, sample, samples, meanLogProbs };
}

function meanLogProb({ logprobs }: CachedGenerationResult): number | null {
  if (logprobs === null || logprobs.length === 0) return null;
  return logprobs.reduce((sum, { logprob }) => sum + logprob, 0) / logprobs.length;
}

function deferred(): { promise: Promise<void>; resolve(): void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}
