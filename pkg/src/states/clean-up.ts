/**
 * Deletes old states by themselves, where a policy is set.
 */

import type { CleanUpPolicy } from "../types.js";

const DEFAULT_INTERVAL_MS = 60_000;

/** Runs `cleanUp` by the policy that is set, for as long as one is. */
export class CleanUpClock {
  readonly #cleanUp: (policy: CleanUpPolicy) => Promise<unknown>;
  #policy: CleanUpPolicy | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  #stopped = false;

  constructor(cleanUp: (policy: CleanUpPolicy) => Promise<unknown>) {
    this.#cleanUp = cleanUp;
  }

  get policy(): CleanUpPolicy | null {
    return this.#policy;
  }

  set(policy: CleanUpPolicy | null): void {
    clearInterval(this.#timer);
    this.#policy = policy;
    if (policy === null || this.#stopped) return;
    // What fails now may work the next time.
    const run = () => void this.#cleanUp(policy).catch(() => undefined);
    this.#timer = setInterval(run, policy.intervalMs ?? DEFAULT_INTERVAL_MS);
    // Node has timers that keep the process alive.
    if (typeof this.#timer === "object") (this.#timer as { unref?(): void }).unref?.();
  }

  /** For good. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }
}
