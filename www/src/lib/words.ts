/** Numbers and outcomes as people read them. */

import type { FinishReason, GenerationResult } from "cacher-wasm";

const count = new Intl.NumberFormat("en");

export function formatCount(value: number): string {
  return count.format(value);
}

/** Decimal megabytes, as operating systems and download pages count. */
export function formatBytes(bytes: number): string {
  if (bytes === 0) return "0 MB";
  const megabytes = bytes / 1e6;
  return `${megabytes.toFixed(megabytes >= 100 ? 0 : 1)} MB`;
}

export function formatRate(tokensPerSecond: number): string {
  return tokensPerSecond.toFixed(tokensPerSecond >= 100 ? 0 : 1);
}

export function formatDuration(milliseconds: number): string {
  return milliseconds >= 1000 ? `${(milliseconds / 1000).toFixed(1)} s` : `${Math.round(milliseconds)} ms`;
}

/** Why a generation ended, as a sentence. */
export function describeEnd(result: GenerationResult): string {
  const tokens = result.usage.completionTokens;
  const made = `${formatCount(tokens)} ${tokens === 1 ? "token" : "tokens"}`;
  switch (result.finishReason) {
    case "eos":
      return `Done: ${made}, up to the model’s end-of-text token.`;
    case "stop":
      return `Done: ${made}. The stop string ${JSON.stringify(result.matched)} appeared.`;
    case "stop-token":
      return `Done: ${made}. The stop token ${result.matched} came.`;
    case "boundary":
      return `Done: ${made}. The ${result.matched} is complete.`;
    case "complete":
      return `Done: ${made}. What was asked for is complete.`;
    case "length":
      return `Done: ${made}, the most you asked for.`;
    case "context":
      return `Done: ${made}. The model’s context is full; it can read no further.`;
    case "time":
      return `Done: ${made}, in the time you gave it.`;
    case "probability":
      return `Done: ${made}. The next would have had a probability of ${percent(Number(result.matched))} only.`;
    case "entropy":
      return `Done: ${made}. The model was too unsure of the next (${Number(result.matched).toFixed(2)} nats).`;
    case "loop":
      return `Done: ${made}. The text went in circles of ${result.matched} tokens.`;
    case "callback":
      return `Done: ${made}, up to where your condition held.`;
    case "aborted":
      return `Stopped by you after ${made}.`;
  }
}

const ENDS: Readonly<Record<FinishReason, string>> = {
  eos: "end of text",
  stop: "stop string",
  "stop-token": "stop token",
  boundary: "complete",
  complete: "complete",
  length: "length",
  context: "context full",
  time: "time over",
  probability: "too unlikely",
  entropy: "too unsure",
  loop: "loop",
  callback: "your condition",
  aborted: "stopped",
};

/** The same in a word or two. */
export function nameEnd(reason: FinishReason): string {
  return ENDS[reason];
}

/** A share of one in per cent, with as many digits as it takes to see one. */
export function percent(share: number): string {
  const value = share * 100;
  if (value > 0 && value < 0.001) return "under 0.001 %";
  return `${value >= 9.5 ? Math.round(value) : Number(value.toPrecision(1))} %`;
}
