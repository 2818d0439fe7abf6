/**
 * Asks `prefixAllowedTokens` about every open beam, and holds the engine up until
 * it has been told.
 */

import { toTokenIds } from "../arguments.js";
import { type Flow, FlowValue } from "../streaming/flow.js";
import type { AllowTokens } from "./messages.js";
import type { BeamSearchOptions, BeamStep } from "./types.js";

type Ask = NonNullable<BeamSearchOptions["prefixAllowedTokens"]>;

let lastSearch = 0;

export class Asking {
  /** Names the search. */
  readonly search = ++lastSearch;
  readonly #ask: Ask;
  readonly #tell: (told: AllowTokens) => void;
  readonly #fail: (error: unknown) => void;
  /** Steps that the engine may have made. */
  readonly #answered = new FlowValue(0);
  /** What open beams have written, by their nodes. */
  #outputs = new Map<number, readonly number[]>([[0, []]]);

  constructor(ask: Ask, tell: (told: AllowTokens) => void, fail: (error: unknown) => void) {
    this.#ask = ask;
    this.#tell = tell;
    this.#fail = fail;
  }

  /** No more steps than have been answered, and no more than `other` lets through. */
  within(other: Flow): Flow {
    const answered = this.#answered;
    return {
      get allowed() {
        return Math.min(answered.allowed, other.allowed);
      },
      onchange(listener) {
        const leave = [answered.onchange(listener), other.onchange(listener)];
        return () => leave.forEach((each) => each());
      },
    };
  }

  /** Answers for the prompt. To be called once the search has been sent. */
  begin(): Promise<void> {
    return this.#answer();
  }

  /** Answers for the beams that a step has left open. */
  async next({ nodes }: BeamStep): Promise<void> {
    const outputs = new Map<number, readonly number[]>();
    for (const { id, parent, token, state } of nodes) {
      if (state === "running") outputs.set(id, [...(this.#outputs.get(parent) ?? []), token]);
    }
    this.#outputs = outputs;
    if (outputs.size > 0) await this.#answer();
  }

  async #answer(): Promise<void> {
    try {
      const allowed: (Uint32Array | null)[] = [];
      for (const output of this.#outputs.values()) {
        const ids = await this.#ask(output);
        allowed.push(ids === null || ids === undefined ? null : toTokenIds("prefixAllowedTokens", ids));
      }
      this.#tell({ search: this.search, nodes: Uint32Array.from(this.#outputs.keys()), allowed });
      this.#answered.allowed++;
    } catch (error) {
      this.#fail(error);
    }
  }
}
