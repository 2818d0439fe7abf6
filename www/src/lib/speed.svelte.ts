/**
 * How fast the engine is on this device: what it runs on, its speed now or in
 * what it did last, and the measurements of this visit.
 */

import type { Cacher, MemoryInfo, RuntimeInfo, Timings } from "cacher-wasm";
import type { Speeds } from "./measure.ts";
import type { ModelChoice } from "./models.ts";

/** The engine as loaded, which the settings may have left behind by now. */
export interface EngineInfo extends RuntimeInfo {
  choice: ModelChoice;
  dtype: string;
}

export interface Measurement extends Speeds {
  engine: EngineInfo;
}

/** How often the running speed is shown anew: quicker cannot be read. */
const RATE_INTERVAL_MS = 200;
const MEASUREMENTS_SHOWN = 6;

export class Speed {
  /** `null` while no model is loaded. */
  engine = $state.raw<EngineInfo | null>(null);
  memory = $state.raw<MemoryInfo | null>(null);
  /** Prompt tokens read a second; 0 while unknown, as in the next. */
  prefill = $state(0);
  /** Tokens written a second. */
  decode = $state(0);
  /** The newest first. */
  measurements = $state.raw<readonly Measurement[]>([]);

  #promptTokens = 0;
  #begun = 0;
  #firstAt: number | undefined;
  #written = 0;
  #shownAt = 0;
  /** Of what was computed last. */
  #computed: Speeds = { prefill: 0, decode: 0 };

  loaded({ model, runtime }: Cacher, choice: ModelChoice): void {
    this.engine = { choice, dtype: model.dtype, ...runtime };
  }

  unloaded(): void {
    this.#computed = { prefill: 0, decode: 0 };
    this.engine = null;
    this.memory = null;
    this.prefill = 0;
    this.decode = 0;
  }

  async weigh(engine: Cacher): Promise<void> {
    this.memory = await engine.memory();
  }

  /** A text of so many prompt tokens is begun. */
  begin(promptTokens: number): void {
    this.prefill = 0;
    this.decode = 0;
    this.#promptTokens = promptTokens;
    this.#begun = performance.now();
    this.#firstAt = undefined;
    this.#written = 0;
  }

  /** So many tokens came. */
  advance(tokens: number): void {
    const now = performance.now();
    if (this.#firstAt === undefined) {
      this.#firstAt = now;
      this.prefill = perSecond(this.#promptTokens, now - this.#begun);
      return;
    }
    this.#written += tokens;
    if (now - this.#shownAt < RATE_INTERVAL_MS) return;
    this.#shownAt = now;
    this.decode = perSecond(this.#written, now - this.#firstAt);
  }

  /** The text is written; the engine's own times are the more exact. */
  end({ prefillTokensPerSecond, tokensPerSecond }: Timings): void {
    this.#computed = { prefill: prefillTokensPerSecond, decode: tokensPerSecond };
    this.replayed();
  }

  /** The text came out of a cache, which says nothing of the engine's speed: the last one stands. */
  replayed(): void {
    this.prefill = this.#computed.prefill;
    this.decode = this.#computed.decode;
  }

  measured(speeds: Speeds): void {
    if (this.engine === null) return;
    this.#computed = speeds;
    this.replayed();
    this.measurements = [{ ...speeds, engine: this.engine }, ...this.measurements].slice(0, MEASUREMENTS_SHOWN);
  }
}

function perSecond(tokens: number, milliseconds: number): number {
  return milliseconds > 0 ? (tokens * 1000) / milliseconds : 0;
}
