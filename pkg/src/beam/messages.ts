/**
 * What client and host say to each other of beam searches.
 */

import type { EngineBeamSearchOptions } from "./types.js";

export interface BeamSearchRequest {
  prompt: string | Uint32Array;
  options: EngineBeamSearchOptions;
  asks: Asks;
}

/** A number that names a search which is told what its beams may go on with; `null`: it is not. */
export type Asks = number | null;

/** What may come after open beams, which are named by their nodes: 0 is the prompt. */
export interface AllowTokens {
  search: number;
  nodes: Uint32Array;
  /** `null`: anything. */
  allowed: (Uint32Array | null)[];
}
