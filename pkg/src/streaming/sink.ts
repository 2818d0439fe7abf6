/**
 * What a producer of a stream is given.
 */

import type { Flow } from "./flow.js";

/** How far a prompt has been read. */
export interface PromptProgress {
  /** Tokens of the prompt that are read, those from the KV cache included. */
  done: number;
  /** Of these, how many were in the KV cache. */
  cached: number;
  total: number;
  /** Most tokens that will be generated. */
  maxTokens: number;
}

export interface Sink<Chunk> {
  give(chunk: Chunk): void;
  /** Only generations have prompts. */
  readPrompt?(progress: PromptProgress): void;
  /** How many chunks are wanted. */
  readonly flow: Flow;
  /** Fires when no more are wanted. Its reason is `STOPPED` where the result is to say that a callback wanted it so. */
  readonly signal: AbortSignal;
}

/** The reason of an abort that is a `stopWhen` come true. */
export const STOPPED = Symbol("stopWhen");
