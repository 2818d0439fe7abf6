/**
 * One writer of a state at a time, over all tabs.
 *
 * A tab holds the state's Web Lock while it writes. A tab that the browser has
 * frozen holds its locks for ever, so who waits asks on the channel whether
 * the owner lives: one that answers is waited for, but not without end; one
 * that does not is shut out. Should it wake up, the state's fence in the
 * database refuses what it then writes.
 */

import { abortError, CacherError, throwIfAborted } from "../errors.js";
import type { StateChannel } from "./channel.js";
import { Turns } from "./turns.js";

export interface LockSettings {
  /** How long to wait for an owner that lives. */
  waitMs: number;
  /** How long an owner has to answer. */
  answerMs: number;
}

const DEFAULTS: LockSettings = { waitMs: 3_000, answerMs: 500 };

/** A busy owner, or a busy asker, may miss one question. */
const UNANSWERED = 2;
const ASK_AGAIN_MS = 500;

/** Why the waiting ends: the owner does not answer. */
const FROZEN = Symbol("frozen");

interface Grant {
  stolen: boolean;
  release(): void;
}

export class StateLocks {
  readonly #database: string;
  readonly #channel: StateChannel;
  readonly #settings: LockSettings;
  readonly #turns = new Turns();
  /** Ids whose lock is held here. */
  readonly #held = new Set<string>();

  constructor(database: string, channel: StateChannel, settings: Partial<LockSettings> = {}) {
    this.#database = database;
    this.#channel = channel;
    this.#settings = { ...DEFAULTS, ...settings };
    channel.answer((id) => this.#held.has(id));
  }

  /**
   * Runs `work` as the only writer of the state; the calls of this tab one
   * after the other. `stolen`: the last owner did not answer and was shut out;
   * the caller must then call `takeOver` of the database. Rejects with
   * `state-locked` where the owner answers and goes on working. Where the
   * browser has no locks (an insecure origin, Node), only this tab is ordered.
   */
  async withWriter<T>(
    id: string,
    signal: AbortSignal | undefined,
    work: (lock: { stolen: boolean }) => Promise<T>,
  ): Promise<T> {
    const leave = await this.#turns.take(id, signal);
    try {
      const lock = await this.#acquire(id, signal);
      try {
        return await work({ stolen: lock.stolen });
      } finally {
        lock.release();
      }
    } finally {
      leave();
    }
  }

  /** Runs `work` as the only writer where nobody writes the state now, else nothing. */
  async ifFree(id: string, work: () => Promise<void>): Promise<void> {
    if (this.#turns.isTaken(id)) return;
    const leave = await this.#turns.take(id, undefined);
    try {
      const locks = availableLocks();
      const lock = locks === undefined ? undefined : await this.#request(locks, id, { ifAvailable: true });
      if (locks !== undefined && lock === undefined) return;
      try {
        await work();
      } finally {
        lock?.release();
      }
    } finally {
      leave();
    }
  }

  async #acquire(id: string, signal: AbortSignal | undefined): Promise<Grant> {
    const locks = availableLocks();
    if (locks === undefined) return { stolen: false, release: () => undefined };
    const free = await this.#request(locks, id, { ifAvailable: true });
    if (free !== undefined) return free;

    throwIfAborted(signal);
    const waiting = new AbortController();
    const abort = () => waiting.abort(abortError(signal));
    signal?.addEventListener("abort", abort, { once: true });
    void this.#watchOwner(locks, id, waiting);
    try {
      return (await this.#request(locks, id, { signal: waiting.signal }))!;
    } catch (error) {
      if (waiting.signal.reason !== FROZEN) throw error;
      return (await this.#request(locks, id, { steal: true }))!;
    } finally {
      waiting.abort();
      signal?.removeEventListener("abort", abort);
    }
  }

  /** The lock once it is granted; nothing where it had to be available and is not. */
  #request(locks: LockManager, id: string, options: LockOptions): Promise<Grant | undefined> {
    return new Promise((resolve, reject) => {
      let granted = false;
      const held = locks.request(this.#nameOf(id), options, (lock) => {
        if (lock === null) return resolve(undefined);
        granted = true;
        this.#held.add(id);
        return new Promise<void>((end) => {
          const release = () => {
            this.#held.delete(id);
            end();
          };
          resolve({ stolen: options.steal === true, release });
        });
      });
      held.catch((error: unknown) => {
        // Stolen: the work goes on, and is refused where it writes.
        if (granted) this.#held.delete(id);
        else reject(error);
      });
    });
  }

  /** Ends the waiting, with the reason, where the owner is frozen or works for too long. */
  async #watchOwner(locks: LockManager, id: string, waiting: AbortController): Promise<void> {
    const end = performance.now() + this.#settings.waitMs;
    let unanswered = 0;
    try {
      while (!waiting.signal.aborted) {
        const owner = await this.#ownerOf(locks, id);
        const answered = await this.#channel.isHeld(id, this.#settings.answerMs);
        const sameOwner = owner !== undefined && owner === (await this.#ownerOf(locks, id));
        unanswered = answered || !sameOwner ? 0 : unanswered + 1;
        const left = end - performance.now();
        if (unanswered >= UNANSWERED) waiting.abort(FROZEN);
        else if (unanswered === 0 && left <= 0) waiting.abort(new CacherError("state-locked", "another tab works on this state", { id }));
        else if (answered) await delay(Math.min(left, ASK_AGAIN_MS));
      }
    } catch (error) {
      waiting.abort(error);
    }
  }

  /** Which tab or worker has the lock; it may have changed hands between two questions. */
  async #ownerOf(locks: LockManager, id: string): Promise<string | undefined> {
    const { held } = await locks.query();
    return held?.find(({ name }) => name === this.#nameOf(id))?.clientId;
  }

  #nameOf(id: string): string {
    return `cacher-state:${this.#database}:${id}`;
  }
}

/** A page without an origin (a sandboxed frame) may not ask for locks; it shares no storage either. */
function availableLocks(): LockManager | undefined {
  return typeof navigator === "undefined" || globalThis.origin === "null" ? undefined : navigator.locks;
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
