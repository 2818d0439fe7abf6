/**
 * The public types of many generations at once.
 */

import type { CachedGenerationResult, GenerateOptions, GenerationChunk } from "../types.js";

/** Options of one prompt of a batch. */
export interface BatchItemOptions extends GenerateOptions {
  /**
   * How many texts to write for the prompt, 1 to 1,000. Text `i` is the one that
   * `generate` writes with the seed `seed + i`. Default: 1.
   */
  numSamples?: number;
  /**
   * Write so many texts, 1 to 1,000, and take the likeliest: the one whose tokens
   * have the highest mean log-probability. In place of `numSamples`. Default: 1.
   */
  bestOf?: number;
}

/** Options of a batch as a whole. */
export interface BatchSettings {
  /** How many texts are written at a time, 1 to 256: they share the passes through the model. Default: 8. */
  concurrency?: number;
  /** Aborts all. */
  signal?: AbortSignal;
}

export interface BatchOptions extends BatchItemOptions, BatchSettings {}

/** A chunk, and whose it is. */
export interface BatchChunk {
  /** Of the prompt. */
  index: number;
  /** Of the prompt's texts; 0 where there is one. */
  sample: number;
  chunk: GenerationChunk;
}

/** A prompt's answer: its text, of several the first or, with `bestOf`, the likeliest. */
export interface BatchResult extends CachedGenerationResult {
  /** Which of the prompt's texts it is. */
  sample: number;
  /** All of the prompt's texts, by number. */
  samples: CachedGenerationResult[];
  /** With `bestOf`: of each of `samples`, the mean log-probability of its tokens in nats, `null` where it has none; else `null`. */
  meanLogProbs: (number | null)[] | null;
}
