/**
 * One generation in progress, and what is left of one that ends early.
 */

import { Streaming } from "./streaming.js";
import type { GenerationChunk, GenerationResult } from "./types.js";

/**
 * The chunks of a text that is being written, and its result. An abort, by
 * signal, `abort()` or `break`, is a `finishReason` and not an error; the result
 * then has what was made.
 */
export type Generation<Result extends GenerationResult = GenerationResult> = Streaming<GenerationChunk, Result>;

/** Of a generation that was aborted, given what had come of it. */
export function abortedResult(seed: number | bigint, chunks: readonly GenerationChunk[] = []): GenerationResult {
  const tokens = chunks.flatMap((chunk) => chunk.tokens);
  return {
    text: chunks.map(({ text }) => text).join(""),
    tokens,
    promptTokens: [],
    finishReason: "aborted",
    matched: null,
    logprobs: chunks.some((chunk) => chunk.logprobs !== undefined) ? chunks.flatMap((chunk) => chunk.logprobs ?? []) : null,
    seed,
    usage: { promptTokens: 0, tokensEvaluated: 0, completionTokens: tokens.length, totalTokens: tokens.length, droppedTokens: 0, draftTokens: 0, acceptedDraftTokens: 0 },
    timings: { prefillMs: 0, decodeMs: 0, prefillTokensPerSecond: 0, tokensPerSecond: 0 },
  };
}
