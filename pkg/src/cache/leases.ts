/**
 * Who computes an answer: one of all calls, in all tabs, that want the same.
 *
 * Between tabs a Web Lock decides, which the browser takes from a tab that ends
 * or crashes. One that it has frozen keeps its locks, so who waits asks on the
 * channel for a sign of life, and without one computes the answer itself:
 * the worst that can come of it is that it is computed twice.
 */

import { abortError, CacherError, throwIfAborted } from "../errors.js";
import type { CacheChannel } from "./channel.js";

export interface LeaseSettings {
  name: string;
  acrossTabs: boolean;
  waitMs: number;
}

interface Lease {
  key: string;
  release(): void;
}

/** What waiting for another tab has brought. */
export type Awaited =
  /** The lock: its owner has ended, or does not answer. */
  | { type: "free"; release(): void }
  /** Its record, where it was sent along. */
  | { type: "settled"; record: Uint8Array | null };

/** A busy owner may miss some questions. */
const QUESTIONS = 4;

export class Leases {
  readonly #settings: LeaseSettings;
  readonly #channel: CacheChannel;
  readonly #leases = new Map<number, Lease>();
  /** Keys that a client of this host computes. */
  readonly #led = new Map<string, number>();
  /** Keys whose lock is being asked for. */
  readonly #asking = new Map<string, Promise<void>>();
  /** Not from 0: what a host that has crashed has leased may be settled with the next one, where it must be unknown. */
  #last = Math.floor(Math.random() * 2 ** 52);

  constructor(settings: LeaseSettings, channel: CacheChannel) {
    this.#settings = settings;
    this.#channel = channel;
    channel.listen((message) => {
      if (message.kind === "waiting" && this.#led.has(message.key)) channel.post({ kind: "alive", key: message.key });
    });
  }

  /** Whether other tabs count. */
  get acrossTabs(): boolean {
    return this.#locks() !== undefined;
  }

  /**
   * A lease for computing the answer, `"join"` where a call of this client does
   * that, or what another tab has made of it. Rejects with `compute-failed`
   * where that has failed, and with `aborted`.
   */
  async take(key: string, signal: AbortSignal): Promise<number | "join" | Extract<Awaited, { type: "settled" }>> {
    for (;;) {
      if (this.#led.has(key)) return "join";
      const asking = this.#asking.get(key);
      if (asking === undefined) break;
      await asking;
      throwIfAborted(signal);
    }
    const taking = this.#lockOrAnswer(key, signal);
    const asked = taking.then(
      () => undefined,
      () => undefined,
    );
    this.#asking.set(key, asked);
    try {
      const got = await taking;
      return got.type === "free" ? this.#lease(key, got.release) : got;
    } finally {
      this.#asking.delete(key);
    }
  }

  /** A lease where nobody computes the answer now. */
  async takeIfFree(key: string): Promise<number | null> {
    if (this.#led.has(key) || this.#asking.has(key)) return null;
    const locks = this.#locks();
    const release = locks === undefined ? () => undefined : await request(locks, this.#lockName(key), { ifAvailable: true });
    if (release === undefined) return null;
    // Two calls may have come here together.
    if (this.#led.has(key)) {
      release();
      return null;
    }
    return this.#lease(key, release);
  }

  /** Ends a lease: no call of this client joins it any more. Its key, and how to let other tabs go on. */
  end(lease: number): Lease | undefined {
    const ended = this.#leases.get(lease);
    this.#leases.delete(lease);
    if (ended !== undefined) this.#led.delete(ended.key);
    return ended;
  }

  close(): void {
    for (const { release } of this.#leases.values()) release();
    this.#leases.clear();
    this.#led.clear();
  }

  #lease(key: string, release: () => void): number {
    const lease = ++this.#last;
    this.#leases.set(lease, { key, release });
    this.#led.set(key, lease);
    return lease;
  }

  async #lockOrAnswer(key: string, signal: AbortSignal): Promise<Awaited> {
    const locks = this.#locks();
    if (locks === undefined) return { type: "free", release: () => undefined };
    const name = this.#lockName(key);
    const free = await request(locks, name, { ifAvailable: true });
    if (free !== undefined) return { type: "free", release: free };
    throwIfAborted(signal);
    return this.#wait(locks, key, signal);
  }

  #wait(locks: LockManager, key: string, signal: AbortSignal): Promise<Awaited> {
    const waiting = new AbortController();
    return new Promise<Awaited>((resolve, reject) => {
      let heard = performance.now();
      const end = (settle: () => void) => {
        if (waiting.signal.aborted) return;
        settle();
        stop();
        clearInterval(timer);
        signal.removeEventListener("abort", abort);
        waiting.abort();
      };
      const abort = () => end(() => reject(abortError(signal)));
      const stop = this.#channel.listen((message) => {
        if (!("key" in message) || message.key !== key) return;
        if (message.kind === "alive") heard = performance.now();
        else if (message.kind === "set") end(() => resolve({ type: "settled", record: message.record }));
        else if (message.kind === "failed") end(() => reject(failedElsewhere(message)));
      });
      const ask = () => {
        if (performance.now() - heard > this.#settings.waitMs) end(() => resolve({ type: "free", release: () => undefined }));
        else this.#channel.post({ kind: "waiting", key });
      };
      const timer = setInterval(ask, this.#settings.waitMs / QUESTIONS);
      signal.addEventListener("abort", abort, { once: true });
      ask();
      request(locks, this.#lockName(key), { signal: waiting.signal }).then(
        (release) => {
          // Granted when the waiting had ended: not wanted any more.
          if (waiting.signal.aborted) release?.();
          else end(() => resolve({ type: "free", release: release! }));
        },
        (error: unknown) => end(() => reject(error)),
      );
    });
  }

  #locks(): LockManager | undefined {
    if (!this.#settings.acrossTabs || typeof navigator === "undefined") return undefined;
    // A page without an origin (a sandboxed frame) may not ask for locks; it shares no storage either.
    return globalThis.origin === "null" ? undefined : navigator.locks;
  }

  #lockName(key: string): string {
    return `cacher-cache:${this.#settings.name}:${key}`;
  }
}

function failedElsewhere({ code, message }: { code: string; message: string }): CacherError {
  return new CacherError("compute-failed", `another tab, which computed this, failed: ${message}`, { code, message });
}

/** The way to give back a lock, once it is granted; nothing where it had to be free and is not. */
function request(locks: LockManager, name: string, options: LockOptions): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    locks
      .request(name, options, (lock) => {
        if (lock === null) return resolve(undefined);
        return new Promise<void>((release) => resolve(release));
      })
      .catch(reject);
  });
}
