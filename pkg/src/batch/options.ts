/**
 * Checks a batch's options, and gives each text its own.
 */

import { requireKnown } from "../arguments.js";
import { CacherError, invalidOption } from "../errors.js";
import { HIGH_WATER_MARK } from "../streaming/streaming.js";
import { requireCount } from "../streaming/options.js";
import type { GenerateOptions, Input } from "../types.js";
import type { BatchItemOptions, BatchOptions, BatchSettings } from "./types.js";

const MAX_SAMPLES = 1000;
const MAX_CONCURRENCY = 256;
const DEFAULT_CONCURRENCY = 8;
const SEEDS = 1n << 64n;

/** What to write for one prompt. */
export interface BatchItem {
  prompt: Input;
  /** Of each text. */
  samples: GenerateOptions[];
  best: boolean;
}

export interface BatchPlan {
  items: BatchItem[];
  concurrency: number;
  signal: AbortSignal | undefined;
}

/** Errors: `invalid-argument`, `invalid-option`. `seed`: of those that have none. */
export function planBatch(
  prompts: readonly Input[],
  options: BatchOptions | readonly BatchItemOptions[],
  settings: BatchSettings,
  seed: number | bigint | undefined,
): BatchPlan {
  if (!Array.isArray(prompts)) throw new CacherError("invalid-argument", "prompts: must be an array");
  if (isList(options) && options.length !== prompts.length) {
    throw new CacherError("invalid-argument", `options: there are ${options.length} for ${prompts.length} prompts`);
  }
  requireKnown(settings, ["concurrency", "signal"] satisfies (keyof BatchSettings)[], "generateBatch");
  const { concurrency: shared, ...common } = isList(options) ? { concurrency: undefined } : options;
  const concurrency = settings.concurrency ?? shared ?? DEFAULT_CONCURRENCY;
  requireCount("concurrency", concurrency, MAX_CONCURRENCY);
  const items = prompts.map((prompt: Input, index) => planItem(prompt, isList(options) ? (options[index] ?? {}) : common, concurrency, seed));
  return { items, concurrency, signal: settings.signal };
}

function planItem(prompt: Input, { numSamples, bestOf, ...options }: BatchItemOptions, concurrency: number, engineSeed: number | bigint | undefined): BatchItem {
  requireCount("numSamples", numSamples, MAX_SAMPLES);
  requireCount("bestOf", bestOf, MAX_SAMPLES);
  if (bestOf !== undefined && numSamples !== undefined) throw invalidOption("bestOf", bestOf, "left out with numSamples, or the other way round");
  requireCount("highWaterMark", options.highWaterMark, 0xffff_ffff);
  const count = bestOf ?? numSamples ?? 1;
  // All of them together are not further ahead than one alone may be.
  const common: GenerateOptions = { ...options, highWaterMark: Math.max(1, Math.floor((options.highWaterMark ?? HIGH_WATER_MARK) / concurrency)) };
  if (bestOf !== undefined) common.logprobs ??= 0;
  const best = bestOf !== undefined;
  if (count === 1) return { prompt, samples: [common], best };
  const seed = options.seed ?? engineSeed;
  // Chance is not kept unless that is asked for.
  if (seed === undefined) common.cache ??= false;
  const first = seed ?? freshSeed();
  return { prompt, samples: Array.from({ length: count }, (_, index) => ({ ...common, seed: seedAfter(first, index) })), best };
}

function isList(options: BatchOptions | readonly BatchItemOptions[]): options is readonly BatchItemOptions[] {
  return Array.isArray(options);
}

/** A number where JavaScript's numbers hold it exactly. What is no seed stays as it is, for the engine to refuse. */
function seedAfter(seed: number | bigint, index: number): number | bigint {
  if (typeof seed !== "bigint" && !Number.isSafeInteger(seed)) return seed;
  const sum = (BigInt(seed) + BigInt(index)) % SEEDS;
  return sum <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(sum) : sum;
}

/** Of 52 bits, so that those after it are numbers too. */
function freshSeed(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high! & 0xf_ffff) * 2 ** 32 + low!;
}
