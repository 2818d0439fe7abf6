/**
 * Runs beam searches on the engine's side.
 */

import type { Engine, EngineEvent } from "../engine.js";
import { CacherError } from "../errors.js";
import type { Sink } from "../streaming/sink.js";
import type { AllowTokens, Asks } from "./messages.js";
import type { BeamResult, BeamStep } from "./types.js";

export interface BeamHostEnvironment {
  /** The engine, where calling it is allowed. */
  engine(): Engine;
  /** Runs a job to its end: the event that ended it. */
  run(job: number, signal: AbortSignal, sink: Sink<BeamStep>): Promise<EngineEvent>;
}

export class BeamHost {
  readonly #environment: BeamHostEnvironment;
  /** Searches that are told what is allowed, by the names that the client gave them. */
  readonly #jobs = new Map<number, number>();
  /** What came for a search before its job had begun. */
  readonly #early = new Map<number, AllowTokens>();

  constructor(environment: BeamHostEnvironment) {
    this.#environment = environment;
  }

  async search(job: number, asks: Asks, sink: Sink<BeamStep>): Promise<BeamResult> {
    if (asks !== null) {
      this.#jobs.set(asks, job);
      const early = this.#early.get(asks);
      if (early !== undefined) this.allow(early);
    }
    try {
      const event = await this.#environment.run(job, sink.signal, sink);
      if (event.type !== "beamDone") throw new CacherError("internal", `a beam search ended with "${event.type}"`);
      return event.result;
    } finally {
      if (asks !== null) this.#jobs.delete(asks);
    }
  }

  allow(told: AllowTokens): void {
    const { search, nodes, allowed } = told;
    const job = this.#jobs.get(search);
    this.#early.delete(search);
    if (job !== undefined) this.#environment.engine().allowTokens(job, nodes, allowed);
    // Only the prompt's can come before the job; what comes later, after its end, is of no use.
    else if (nodes[0] === 0) this.#early.set(search, told);
  }
}
