/**
 * The public types of streaming.
 */

import type { GenerationChunk } from "../wasm/cacher_wasm.js";

/**
 * How much a chunk of the stream holds:
 *
 * - `"token"`: what each step of the engine brings: one token, more where a draft was right;
 * - `"word"`: a word, with the space before it and the marks after it;
 * - `"sentence"`: a sentence, with the space after it;
 * - `"line"`: a line, with its end;
 * - `{ ms }`: what comes in so many milliseconds, from 1 to 2^31-1;
 * - `{ tokens }`, `{ characters }`: at least so many tokens, or characters (code points), from 1 to 2^32-1.
 */
export type Chunking = "token" | "word" | "sentence" | "line" | { ms: number } | { tokens: number } | { characters: number };

/** How a generation stands. */
export interface GenerationProgress {
  /** Reading the prompt, or writing. */
  phase: "prefill" | "generate";
  /** Tokens of the prompt: read, of these from the KV cache, and in all. */
  promptTokens: { done: number; cached: number; total: number };
  generatedTokens: number;
  /** Most tokens that will be generated. */
  maxTokens: number;
  /** Of the phase, without the time for which it was paused; 0 while it is not known. */
  tokensPerSecond: number;
  /** How long the phase will take still, at this speed and at most; `null` while it is not known. */
  remainingMs: number | null;
}

/** How a generation is streamed. None of it is part of a request's key in the response cache. */
export interface StreamOptions {
  /** How much a chunk holds. Default: `"token"`. */
  chunk?: Chunking;
  /** Called at most ten times a second, and at the beginning and end of each phase. An error that it throws ends the generation. Default: none. */
  onProgress?: (progress: GenerationProgress) => void;
  /**
   * Called with all text so far and each new chunk of the engine, whatever
   * `chunk` is; `true` ends the generation after that very chunk, with
   * `finishReason: "callback"`. The engine waits for each answer. An error that
   * it throws ends the generation and is its result's. Default: none.
   */
  stopWhen?: (textSoFar: string, chunk: GenerationChunk) => boolean;
  /**
   * How many chunks may wait to be read, once somebody iterates, before the
   * engine waits too, and with it the result: 1 to 2^32-1. Default: 64.
   */
  highWaterMark?: number;
}
