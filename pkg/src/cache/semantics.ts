/**
 * Finds the answer to a prompt that means the same as one that was asked.
 *
 * The core compares and guards; here is where vectors come from: the model
 * makes those of prompts, storage has those of entries of earlier visits, which
 * are read when the first prompt is compared.
 */

import type { Core } from "./core.js";
import type { Asked } from "./subjects.js";
import type { Hit, Tiers } from "./tiers.js";

/** What the core tells of the nearest entry. */
interface Similar {
  key: string;
  score: number;
  prompt: string;
  /** Why it must not be taken. */
  guard: string | null;
}

/** Measured: see docs/semantic.md. */
export const DEFAULT_THRESHOLD = 0.6;

export class Semantics {
  readonly #core: Core;
  readonly #tiers: Tiers;
  readonly #embed: (text: string, signal: AbortSignal) => Promise<Float32Array>;
  #read: Promise<void> | undefined;

  constructor(core: Core, tiers: Tiers, embed: (text: string, signal: AbortSignal) => Promise<Float32Array>) {
    this.#core = core;
    this.#tiers = tiers;
    this.#embed = embed;
  }

  /** The nearest entry where it is near enough; keeps the prompt's vector for the entry to come. */
  async match(asked: Asked, threshold: number, signal: AbortSignal): Promise<{ hit: Hit; score: number; prompt: string } | undefined> {
    const { semantic } = asked;
    if (semantic === null) return undefined;
    this.#read ??= this.#readStored();
    await this.#read;
    await this.place(asked, signal);
    if (asked.vector === undefined) return undefined;
    const told = this.#core.similar(semantic.family, semantic.prompt, asked.vector, Date.now());
    if (told === undefined) return undefined;
    const { key, score, prompt, guard } = JSON.parse(told) as Similar;
    // Scores have 32 bits, and one that is just enough must be.
    if (score < Math.fround(threshold) || guard !== null) return undefined;
    const hit = await this.#tiers.find(key, { stale: false, count: true });
    return hit && { hit, score, prompt };
  }

  /** Makes the vector of a prompt, for the entry to come; where that fails, it is not found by meaning. */
  place(asked: Asked, signal: AbortSignal): Promise<void> {
    const { semantic } = asked;
    if (semantic === null || asked.vector !== undefined) return Promise.resolve();
    asked.placing = this.#embed(semantic.prompt, signal).then(
      (vector) => void (asked.vector = vector),
      () => undefined,
    );
    return asked.placing;
  }

  async #readStored(): Promise<void> {
    for (const { local } of this.#tiers.local) {
      try {
        for await (const batch of local.vectors?.(new AbortController().signal) ?? []) {
          for (const { key, family, prompt, vector } of batch) this.#core.addVector(key, family, prompt, vector);
        }
      } catch {
        // Without them there are fewer matches.
      }
    }
  }
}
