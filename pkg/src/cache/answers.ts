/**
 * Answers requests through the cache: with what is kept, with what is being
 * computed already, or by computing it and keeping it.
 */

import { type CallSettings, type Client, untilAborted } from "../client.js";
import { CacherError, toCacherError } from "../errors.js";
import type { Sink } from "../streaming/sink.js";
import { type Compute, Flight } from "./flight.js";
import type { Answer, AskMode, CacheRequestMessage, CacheRequestName, CacheRequests, Content, Outcome, Subject } from "./requests.js";
import type { Controls } from "./settings.js";
import type { CacheLabel } from "./types.js";

/** Sends requests about the cache to the host. */
export class CacheLine {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async ask<Name extends CacheRequestName>(
    name: Name,
    args: CacheRequests[Name]["args"],
    { onEvent, ...settings }: Pick<CallSettings<"cache">, "signal" | "onAbort"> & { onEvent?: (event: CacheRequests[Name]["event"]) => void } = {},
  ): Promise<CacheRequests[Name]["value"]> {
    const answer = this.#client.call("cache", { name, args } as CacheRequestMessage, {
      ...settings,
      ...(onEvent === undefined ? {} : { onEvent: onEvent as (event: unknown) => void }),
    });
    return (await answer) as CacheRequests[Name]["value"];
  }
}

/** A kind of request, and how it is answered. */
export interface Work<Part, Result> {
  subject: Subject;
  compute: Compute<Part, Result>;
  /** What to keep of a result. Error: `not-cacheable`. */
  keep(result: Result, flight: Flight<Part, Result>): Outcome;
  /** The result from what was found. */
  give(content: Content, sink: Sink<Part>): Promise<Result>;
  /** Whether equal requests may have the very result; else each waits, and is then given what was kept. */
  shareable: boolean;
  /** How it is computed anew in the background, given what was found. Default: as ever. */
  renewal?(content: Content): Computing<Part, unknown>;
}

/** The part of it that a computation needs. */
type Computing<Part, Result> = Pick<Work<Part, Result>, "compute" | "keep" | "shareable">;

export interface Answered<Result> {
  result: Result;
  label: CacheLabel;
}

const SETTLING_MS = 5;

export class Answers {
  readonly #line: CacheLine;
  /** By key: what this client computes. */
  readonly #flights = new Map<string, { flight: Flight<never, unknown>; shareable: boolean }>();

  constructor(line: CacheLine) {
    this.#line = line;
  }

  async answer<Part, Result>(
    work: Work<Part, Result>,
    controls: Controls,
    sink: Sink<Part>,
  ): Promise<Answered<Result>> {
    const { signal } = sink;
    let { mode } = controls;
    let refused = false;
    for (;;) {
      if (mode === null) return { result: await work.compute(sink), label: computedLabel(null) };
      const { subject } = work;
      const answer = await this.#ask(subject, mode, signal);
      switch (answer.status) {
        case "off":
          mode = null;
          break;
        case "hit": {
          const { label, content, refresh } = answer;
          if (refresh !== null) this.#lead(work.renewal?.(content) ?? work, label.key!, refresh, controls, true);
          try {
            return { result: await work.give(content, sink), label };
          } catch (error) {
            // A state that has moved on since, or a record that is none after all.
            if (toCacherError(error).code !== "invalid-cache-record") throw error;
            if (subject.kind !== "state") await this.#line.ask("delete", { keys: [label.key!] });
            // Twice would be once too often.
            if (refused) mode = null;
            refused = true;
            break;
          }
        }
        case "lead": {
          const flight = this.#lead(work, answer.key, answer.lease, controls, false);
          return { result: await flight.join(sink), label: computedLabel(answer.key) };
        }
        case "join": {
          const led = this.#flights.get(answer.key);
          if (led !== undefined && led.shareable && work.shareable && !led.flight.ending) {
            void this.#line.ask("count", { what: "shared", reason: "" }).catch(() => undefined);
            const result = await (led.flight as unknown as Flight<Part, Result>).join(sink);
            return { result, label: { ...computedLabel(answer.key), shared: true } };
          }
          // Its lease is being settled, for which other work may have to get in.
          if (led === undefined) await new Promise((resolve) => setTimeout(resolve, SETTLING_MS));
          const ended = led?.flight.result.catch((error: unknown) => {
            // Errors are everybody's; an abort is only its own.
            if (toCacherError(error).code !== "aborted") throw error;
          });
          await Promise.race([ended, led?.flight.stalled]);
          if (mode === "refresh") mode = "on";
        }
      }
    }
  }

  /** Rejects as soon as `signal` fires; a lease that is granted all the same is given back. */
  async #ask(subject: Subject, mode: AskMode, signal: AbortSignal): Promise<Answer> {
    const asked = this.#line.ask("ask", { subject, mode }, { signal, onAbort: "finish" });
    try {
      return await untilAborted(asked, signal);
    } catch (error) {
      asked.then((answer) => this.#giveBack(answer)).catch(() => undefined);
      throw error;
    }
  }

  async #giveBack(answer: Answer): Promise<void> {
    const lease = answer.status === "lead" ? answer.lease : answer.status === "hit" ? answer.refresh : null;
    if (lease === null) return;
    await this.#line.ask("settle", { lease, outcome: { type: "dropped" }, keeping: { ttlMs: null, tags: [], costMs: 0 } });
  }

  /** Computes under a lease, and settles it. */
  #lead<Part, Result>(work: Computing<Part, Result>, key: string, lease: number, { ttlMs, tags }: Controls, background: boolean): Flight<Part, Result> {
    const flight = new Flight(work.compute, background);
    const led = { flight: flight as unknown as Flight<never, unknown>, shareable: work.shareable };
    this.#flights.set(key, led);
    let settled = false;
    const settle = async (outcome: Outcome) => {
      if (settled) return;
      settled = true;
      if (this.#flights.get(key) === led) this.#flights.delete(key);
      await this.#line.ask("settle", { lease, outcome, keeping: { ttlMs, tags, costMs: flight.elapsedMs } });
    };
    flight.result
      .then((result) => settle(this.#toKeep(work, result, flight)), (error: unknown) => settle(failed(error)))
      // Without a host there is nothing to settle.
      .catch(() => undefined);
    // Whoever holds it up, or has paused it, holds up nobody else: it goes on, and is not kept.
    flight.stalled.then(() => settle({ type: "dropped" })).catch(() => undefined);
    return flight;
  }

  #toKeep<Part, Result>(work: Computing<Part, Result>, result: Result, flight: Flight<Part, Result>): Outcome {
    if (flight.ending) return { type: "dropped" };
    try {
      return work.keep(result, flight);
    } catch (error) {
      void this.#line.ask("count", { what: "error", reason: toCacherError(error).message }).catch(() => undefined);
      return { type: "dropped" };
    }
  }
}

function failed(error: unknown): Outcome {
  const { code, message } = toCacherError(error);
  return code === "aborted" || code === "disposed" ? { type: "dropped" } : { type: "failed", code, message };
}

/** Of an answer that was computed; `null`: the cache was not asked. */
export function computedLabel(key: string | null): CacheLabel {
  return { hit: false, layer: null, key, ageMs: 0, shared: false, savedMs: 0, score: null, matchedPrompt: null };
}

/** The content, of a kind that the host must have sent. */
export function requireContent<Kind extends Content["kind"]>(content: Content, kind: Kind): Extract<Content, { kind: Kind }> {
  if (content.kind !== kind) throw new CacherError("internal", `a ${content.kind} in place of a ${kind}`);
  return content as Extract<Content, { kind: Kind }>;
}
