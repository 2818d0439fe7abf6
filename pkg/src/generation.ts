/**
 * One generation in progress, and what is left of one that ends early.
 */

import { eventStream, mapped, readableStream } from "./streaming/readable.js";
import { GenerationStage } from "./streaming/stage.js";
import { Streaming, type StartStream, type StreamingOptions } from "./streaming/streaming.js";
import type { StreamOptions } from "./streaming/types.js";
import type { GenerationChunk, GenerationResult } from "./types.js";

/** What a generation is given beside its work. */
export interface GenerationSettings<Result> extends Pick<StreamingOptions<GenerationChunk, GenerationChunk, Result>, "signal" | "aborted"> {
  options: StreamOptions;
}

/**
 * The chunks of a text that is being written, and its result. An abort, by
 * signal, `abort()` or `break`, is a `finishReason` and not an error; the result
 * then has what was made.
 */
export class Generation<Result extends GenerationResult = GenerationResult> extends Streaming<GenerationChunk, Result> {
  /** @internal */
  constructor(start: StartStream<GenerationChunk, Result>, { options, ...settings }: GenerationSettings<Result>) {
    let stage: GenerationStage | undefined;
    let begin = start;
    try {
      stage = new GenerationStage(options);
    } catch (error) {
      // Told where every other error of a generation is told.
      begin = () => Promise.reject(error as Error);
    }
    super(begin, { ...settings, ...(stage === undefined ? {} : { stage, highWaterMark: options.highWaterMark }) });
  }

  /** The text of the chunks as a web stream, in place of the iteration. */
  textStream(): ReadableStream<string> {
    return readableStream(mapped(this, ({ text }) => (text === "" ? undefined : text)));
  }

  /**
   * The chunks as the bytes of server-sent events, in place of the iteration, for
   * a response of type `text/event-stream`: `data: {"text":…,"tokens":[…]}` for
   * each, then `data: {"result":…}`, or `data: {"error":{"code":…,"message":…,
   * "details":…}}`, then `data: [DONE]`. A seed above 2^53-1 is a string of digits.
   */
  toEventStream(): ReadableStream<Uint8Array> {
    return eventStream(this, this.result);
  }
}

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

/** An answer of which no more than some chunks is wanted. */
export function cutResult<Result extends GenerationResult>(result: Result, chunks: readonly GenerationChunk[]): Result {
  const { text, tokens, logprobs } = abortedResult(result.seed, chunks);
  const completionTokens = tokens.length;
  return {
    ...result,
    ...{ text, tokens, logprobs, finishReason: "callback", matched: null },
    usage: {
      ...result.usage,
      completionTokens,
      totalTokens: result.usage.promptTokens + completionTokens,
      droppedTokens: chunks.reduce((sum, { droppedTokens = 0 }) => sum + droppedTokens, 0),
    },
  };
}
