/**
 * The standard measurement: the same work on every device and in every number
 * format, so that its figures can be compared.
 */

import type { Cacher } from "cacher-wasm";

export const PROMPT_TOKENS = 128;
export const NEW_TOKENS = 64;

const RUNS = 3;
/** No further run begins after this long: slow devices and formats get one. */
const ENOUGH_MS = 4000;
/** Browsers compile the busiest code again, better, while it runs. */
const WARM_UP = { prompt: 32, length: 16 };

/** Tokens a second. */
export interface Speeds {
  prefill: number;
  decode: number;
}

/** The medians of a few runs; `null` where the signal ended it. */
export async function measure(engine: Cacher, signal: AbortSignal): Promise<Speeds | null> {
  const { vocabSize, nPositions } = engine.model;
  if (nPositions < PROMPT_TOKENS + NEW_TOKENS) {
    const message = `This model reads ${nPositions} tokens at most, the measurement needs ${PROMPT_TOKENS + NEW_TOKENS}`;
    throw Object.assign(new Error(message), { code: "invalid-argument" });
  }
  // Every prompt is computed anew, whatever of it an earlier measurement has left.
  const options = { temperature: 0, eosTokenIds: [], cachePrompt: false, cache: false, signal };
  const run = (number: number, { prompt, length }: typeof WARM_UP) =>
    engine.generate(promptOf(prompt, number, vocabSize), { ...options, maxTokens: length }).result;

  await run(0, WARM_UP);
  const runs: Speeds[] = [];
  const begun = performance.now();
  while (runs.length < RUNS && (runs.length === 0 || performance.now() - begun < ENOUGH_MS)) {
    const { timings, finishReason } = await run(runs.length + 1, { prompt: PROMPT_TOKENS, length: NEW_TOKENS });
    if (finishReason === "aborted") return null;
    runs.push({ prefill: timings.prefillTokensPerSecond, decode: timings.tokensPerSecond });
  }
  return { prefill: median(runs.map(({ prefill }) => prefill)), decode: median(runs.map(({ decode }) => decode)) };
}

/** Tokens of any kind: what they say makes no difference. */
function promptOf(length: number, run: number, vocabSize: number): number[] {
  return Array.from({ length }, (_, position) => (1 + run * 101 + position * 37) % vocabSize);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
