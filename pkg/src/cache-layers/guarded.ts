/**
 * Keeps the faults of a layer from the requests that it serves: it may be slow,
 * fail or be away, and then it is as if it had nothing.
 *
 * After a fault it is left alone for a second, then tried once; as long as that
 * fails too, for twice as long as before, up to a minute.
 */

import type { CacheEntry, CacheLayer } from "../cache/types.js";
import { CacherError, messageOf, toCacherError } from "../errors.js";
import { withinTime } from "./time-limit.js";

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;

/** Faults of one record, or of writing alone: they say nothing of what else the layer can do. */
const OF_THE_RECORD: ReadonlySet<string> = new Set(["storage-full", "invalid-cache-record"]);

export interface Health {
  health: "ok" | "down";
  /** Why it is down; else `null`. */
  reason: string | null;
  /** When it is tried again, in milliseconds since 1970; `null` where it is well. */
  retryAt: number | null;
}

export interface GuardOptions {
  /** For one `get`, `set` or `delete`, in milliseconds; `null`: the layer sees to it itself. */
  timeoutMs: number | null;
  /** False: `set`, `delete` and `clear` do nothing. */
  writable: boolean;
  /** An operation has ended after `ms`; "rejected" is a record that could not be one. */
  observe(what: "hit" | "miss" | "set" | "error" | "rejected", ms: number, error?: CacherError): void;
  onhealth(health: "ok" | "down", reason: string | null): void;
  /** Milliseconds since 1970. Default: `Date.now`. */
  now?(): number;
}

/** A layer's five methods. `get`, `set` and `delete` never reject. */
export class GuardedLayer {
  readonly #layer: CacheLayer;
  readonly #options: GuardOptions;
  readonly #now: () => number;
  #down: { reason: string; retryAt: number; waitMs: number } | undefined;
  #trying = false;

  constructor(layer: CacheLayer, options: GuardOptions) {
    this.#layer = layer;
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  get health(): Health {
    const { reason = null, retryAt = null } = this.#down ?? {};
    return { health: this.#down === undefined ? "ok" : "down", reason, retryAt };
  }

  /**
   * `undefined` also where the layer is down, or `signal` is aborted. What cannot
   * be a record is deleted. `again`: a miss was counted just now.
   */
  async get(key: string, signal: AbortSignal, again = false): Promise<Uint8Array | undefined> {
    const read = async (signal: AbortSignal) => {
      try {
        const record = await this.#layer.get(key, signal);
        if (record === undefined || record instanceof Uint8Array) return { record };
        throw new CacherError("invalid-cache-record", "the layer gave something else than bytes");
      } catch (error) {
        // It will not get better, and be asked for again.
        const isWrong = toCacherError(error).code === "invalid-cache-record";
        if (isWrong && this.#options.writable) await this.#layer.delete([key], signal);
        throw error;
      }
    };
    const found = await this.#attempt(signal, read, ({ record }) => (record !== undefined ? "hit" : again ? undefined : "miss"));
    return found?.record;
  }

  /** Whether it was done. */
  async set(key: string, record: Uint8Array, entry: CacheEntry, signal: AbortSignal): Promise<boolean> {
    return this.#write(signal, (signal) => this.#layer.set(key, record, entry, signal), "set");
  }

  /** Whether it was done. */
  async delete(keys: readonly string[], signal: AbortSignal): Promise<boolean> {
    return this.#write(signal, (signal) => this.#layer.delete(keys, signal));
  }

  /** Also while it is down; rejects with the layer's fault. */
  async *keys(signal: AbortSignal): AsyncGenerator<readonly string[]> {
    try {
      for await (const keys of this.#layer.keys(signal)) yield keys;
      this.#isWell();
    } catch (error) {
      throw this.#hasFailed(error, signal, 0);
    }
  }

  /** Also while it is down; rejects with the layer's fault. */
  async clear(signal: AbortSignal): Promise<void> {
    if (!this.#options.writable) return;
    try {
      await this.#layer.clear(signal);
      this.#isWell();
    } catch (error) {
      throw this.#hasFailed(error, signal, 0);
    }
  }

  async #write(signal: AbortSignal, work: (signal: AbortSignal) => Promise<void>, saw?: "set"): Promise<boolean> {
    if (!this.#options.writable) return false;
    const write = async (signal: AbortSignal) => {
      await work(signal);
      return true;
    };
    return (await this.#attempt(signal, write, () => saw)) ?? false;
  }

  async #attempt<T>(
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
    saw: (value: T) => "hit" | "miss" | "set" | undefined,
  ): Promise<T | undefined> {
    if (signal.aborted) return undefined;
    const trial = this.#down !== undefined;
    if (this.#down !== undefined && (this.#trying || this.#now() < this.#down.retryAt)) return undefined;
    if (trial) this.#trying = true;
    const { timeoutMs, observe } = this.#options;
    const late = () => new CacherError("storage-error", `no answer within ${timeoutMs} ms`);
    const start = performance.now();
    try {
      const value = await (timeoutMs === null ? work(signal) : withinTime(timeoutMs, late, signal, work));
      this.#isWell();
      const what = saw(value);
      if (what !== undefined) observe(what, performance.now() - start);
      return value;
    } catch (error) {
      this.#hasFailed(error, signal, performance.now() - start, trial);
      return undefined;
    } finally {
      if (trial) this.#trying = false;
    }
  }

  #isWell(): void {
    if (this.#down === undefined) return;
    this.#down = undefined;
    this.#options.onhealth("ok", null);
  }

  /** Counts a fault; what the caller has ended is none. */
  #hasFailed(fault: unknown, signal: AbortSignal, ms: number, trial = false): CacherError {
    const error = toCacherError(fault);
    if (signal.aborted) return error;
    if (OF_THE_RECORD.has(error.code)) {
      this.#options.observe(error.code === "storage-full" ? "error" : "rejected", ms, error);
      this.#isWell();
      return error;
    }
    this.#options.observe("error", ms, error);
    // Of operations that fail together, the first alone counts.
    if (this.#down !== undefined && !trial) return error;
    const waitMs = Math.min((this.#down?.waitMs ?? FIRST_WAIT_MS / 2) * 2, LONGEST_WAIT_MS);
    const reason = messageOf(error);
    const before = this.#down;
    this.#down = { reason, retryAt: this.#now() + waitMs, waitMs };
    if (before === undefined) this.#options.onhealth("down", reason);
    return error;
  }
}
