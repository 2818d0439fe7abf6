/**
 * The public types of beam search.
 */

import type { BeamOptions as EngineBeamOptions, GenerateOptions } from "../wasm/cacher_wasm.js";

export type { BeamNode, BeamNodeState, BeamResult, BeamSequence, BeamStep } from "../wasm/cacher_wasm.js";

/** Options of a search that the engine itself knows; every one has a default. */
export type EngineBeamSearchOptions = Partial<EngineBeamOptions> & Partial<GenerateOptions>;

/** Token ids that may come next; `null` and `undefined`: all. */
export type AllowedTokens = readonly number[] | Uint32Array | null | undefined;

/** Options of a beam search: those of a generation as well, but for what only one text can have. */
export interface BeamSearchOptions extends Partial<EngineBeamOptions>, Partial<GenerateOptions> {
  /**
   * Called before each step for each open beam, with the token ids that it has
   * written: which ids it may go on with. An empty list ends the beam without
   * keeping it. The engine waits for each answer. An error that it throws ends
   * the search. Default: all may come.
   */
  prefixAllowedTokens?: (output: readonly number[]) => AllowedTokens | Promise<AllowedTokens>;
  /**
   * How many steps may wait to be read, once somebody iterates, before the
   * engine waits too: 1 to 2^32-1. Default: 64.
   */
  highWaterMark?: number;
  /** Ends it early, with the beams that are open as they are. */
  signal?: AbortSignal;
}

/** Of a state that is made of a sequence; the same as in `CreateState`. */
export interface StateOfBeam {
  name?: string;
  evaluate?: boolean;
  signal?: AbortSignal;
}

/** What is to be known of a sequence to go on from it. */
export interface FoundSequence {
  textTokens: readonly number[];
}
