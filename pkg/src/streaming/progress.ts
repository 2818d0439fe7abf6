/**
 * Counts what a generation does, and tells of it now and then.
 */

import type { PromptProgress } from "./sink.js";
import type { GenerationProgress } from "./types.js";

/** Least time between two reports inside a phase, in milliseconds. */
const INTERVAL_MS = 100;

export class ProgressMeter {
  readonly #tell: (progress: GenerationProgress) => void;
  readonly #clock: () => number;
  /** When the phase began, later by the time for which it was paused. */
  #since: number;
  #pausedAt: number | undefined;
  #toldAt = -Infinity;
  #prompt: PromptProgress | undefined;
  #generated = 0;
  /** Tokens that were there when the phase's clock began. */
  #first = 0;

  constructor(tell: (progress: GenerationProgress) => void, clock = () => performance.now()) {
    this.#tell = tell;
    this.#clock = clock;
    this.#since = clock();
  }

  prompt(progress: PromptProgress): void {
    const first = this.#prompt === undefined;
    this.#prompt = progress;
    this.#report(first || progress.done === progress.total);
  }

  generated(tokens: number): void {
    const first = this.#generated === 0 && tokens > 0;
    this.#generated += tokens;
    if (first) {
      this.#since = this.#now();
      this.#first = tokens;
    }
    this.#report(first);
  }

  set paused(paused: boolean) {
    if (paused) this.#pausedAt ??= this.#clock();
    else if (this.#pausedAt !== undefined) {
      this.#since += this.#clock() - this.#pausedAt;
      this.#pausedAt = undefined;
    }
  }

  /** It has ended. */
  end(): void {
    this.#report(true);
  }

  #now(): number {
    return this.#pausedAt ?? this.#clock();
  }

  #report(always: boolean): void {
    const now = this.#clock();
    if (this.#prompt === undefined || (!always && now - this.#toldAt < INTERVAL_MS)) return;
    this.#toldAt = now;
    const { done, cached, total, maxTokens } = this.#prompt;
    const writes = this.#generated > 0;
    const tokens = writes ? this.#generated - this.#first : done - cached;
    const left = writes ? maxTokens - this.#generated : total - done;
    const elapsed = this.#now() - this.#since;
    const tokensPerSecond = tokens > 0 && elapsed > 0 ? (tokens * 1000) / elapsed : 0;
    this.#tell({
      phase: writes ? "generate" : "prefill",
      promptTokens: { done, cached, total },
      generatedTokens: this.#generated,
      maxTokens,
      tokensPerSecond,
      remainingMs: left <= 0 ? 0 : tokensPerSecond === 0 ? null : (left * 1000) / tokensPerSecond,
    });
  }
}
