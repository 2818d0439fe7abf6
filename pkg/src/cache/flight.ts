/**
 * One computation that several callers wait for.
 *
 * Each gets all parts from the first on, as fast as it takes them; the
 * computation goes on as long as one of them has room for more. One that leaves
 * gets an abort; the computation ends when the last has left.
 */

import { abortError } from "../errors.js";
import { FlowValue } from "../streaming/flow.js";
import type { PromptProgress, Sink } from "../streaming/sink.js";

export type Compute<Part, Result> = (sink: Sink<Part>) => Promise<Result>;

/** One who waits. */
interface Reader<Part> {
  sink: Sink<Part>;
  /** Gives it what there is, as far as it has room. */
  pump(): void;
}

/** For how long nobody may have room before it counts as stalled. */
const STALLED_MS = 1_000;

export class Flight<Part, Result> {
  readonly #compute: Compute<Part, Result>;
  readonly #background: boolean;
  readonly #controller = new AbortController();
  readonly #readers = new Set<Reader<Part>>();
  readonly #flow: FlowValue;
  /** Later by the time in which nobody had room. */
  #begun = performance.now();
  #blockedAt: number | undefined;
  #waiting: number;
  #started = false;
  #ended = false;
  #prompt: PromptProgress | undefined;
  #stall = () => {};
  #timer: ReturnType<typeof setTimeout> | undefined;
  #settle: { resolve(result: Result): void; reject(error: unknown): void } | undefined;
  /** What has come, and when, in milliseconds after the beginning. */
  readonly parts: { part: Part; ms: number }[] = [];
  readonly result: Promise<Result>;
  /** Resolves if it is ever held up for a second by those who wait. */
  readonly stalled: Promise<void>;

  /** Begins with the first that waits; `background`: at once, and goes on without anybody. */
  constructor(compute: Compute<Part, Result>, background = false) {
    this.#compute = compute;
    this.#background = background;
    this.#waiting = background ? 1 : 0;
    this.#flow = new FlowValue(background ? Infinity : 0);
    this.result = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // Each waiter gets the error; without any it is nobody's.
    this.result.catch(() => undefined);
    this.stalled = new Promise((resolve) => (this.#stall = resolve));
    if (background) this.#start();
  }

  /** True once nobody waits any more, and it is being ended. */
  get ending(): boolean {
    return this.#controller.signal.aborted;
  }

  /** Milliseconds since the beginning, without those in which nobody had room. */
  get elapsedMs(): number {
    return (this.#blockedAt ?? performance.now()) - this.#begun;
  }

  /**
   * Waits for the result, and for room for all parts before it. An abort rejects
   * at once where others wait on; else the computation is aborted and decides
   * itself what becomes of it.
   */
  async join(sink: Sink<Part>): Promise<Result> {
    const { flow, signal } = sink;
    let given = 0;
    let left = false;
    let alone = false;
    let delivered = () => {};
    const pump = () => {
      while (!(left && !alone) && given < this.parts.length && flow.allowed > given) sink.give(this.parts[given++]!.part);
      if (this.#ended && given === this.parts.length) delivered();
    };
    const reader = { sink, pump };
    const leave = () => {
      if (!left) this.#waiting--;
      left = true;
    };
    let abort = leave;
    const abandoned = new Promise<never>((_, reject) => {
      abort = () => {
        leave();
        alone = this.#waiting === 0;
        if (alone) this.#abort(signal.reason);
        else reject(abortError(signal));
      };
    });
    const unfollow = flow.onchange(() => {
      this.#regulate();
      pump();
    });
    this.#readers.add(reader);
    this.#waiting++;
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    try {
      if (this.#prompt !== undefined) sink.readPrompt?.(this.#prompt);
      this.#regulate();
      pump();
      this.#start();
      const result = await Promise.race([this.result, abandoned]);
      const all = new Promise<void>((resolve) => (delivered = resolve));
      pump();
      await Promise.race([all, abandoned]);
      return result;
    } finally {
      signal.removeEventListener("abort", abort);
      unfollow();
      this.#readers.delete(reader);
      leave();
      this.#regulate();
    }
  }

  #start(): void {
    if (this.#started) return;
    this.#started = true;
    const sink: Sink<Part> = {
      give: (part) => this.#take(part),
      readPrompt: (progress) => {
        this.#prompt = progress;
        for (const reader of [...this.#readers]) reader.sink.readPrompt?.(progress);
      },
      flow: this.#flow,
      signal: this.#controller.signal,
    };
    this.#compute(sink)
      .then(this.#settle!.resolve, this.#settle!.reject)
      .finally(() => {
        this.#ended = true;
        this.#regulate();
        for (const { pump } of [...this.#readers]) pump();
      });
  }

  #abort(reason: unknown): void {
    this.#controller.abort(reason);
    this.#regulate();
  }

  #take(part: Part): void {
    this.parts.push({ part, ms: this.elapsedMs });
    for (const { pump } of [...this.#readers]) pump();
    this.#regulate();
  }

  /** As far as the one with the most room. */
  #regulate(): void {
    const free = this.#background || this.ending;
    this.#flow.allowed = free ? Infinity : Math.max(0, ...[...this.#readers].map(({ sink }) => sink.flow.allowed));
    const blocked = !this.#ended && this.#flow.allowed <= this.parts.length;
    if (blocked && this.#blockedAt === undefined) {
      this.#blockedAt = performance.now();
      this.#timer = setTimeout(this.#stall, STALLED_MS);
    } else if (!blocked && this.#blockedAt !== undefined) {
      clearTimeout(this.#timer);
      this.#begun += performance.now() - this.#blockedAt;
      this.#blockedAt = undefined;
    }
  }
}
