/**
 * What the client asks of the host about states, and the answers, typed once.
 */

import type { Asks } from "../beam/messages.js";
import type { BeamResult, BeamStep, EngineBeamSearchOptions } from "../beam/types.js";
import type { Kept } from "../cache/requests.js";
import type { GenerationEvent } from "../protocol.js";
import type {
  CleanUpPolicy,
  EngineOptions,
  StateComparison,
  StateDiff,
  StateGenerationResult,
  StateInfo,
  StatesEvent,
  StatesUsage,
} from "../types.js";

/** A command of the engine; see `state::commands`. */
export interface StateCommand {
  command: string;
  [argument: string]: unknown;
}

/** Settings of states, all given. */
export interface StateSettings {
  database: string;
  persist: boolean;
  kvCacheBytes: number | undefined;
  saveIntervalMs: number;
  lockWaitMs: number;
  cleanUp: CleanUpPolicy | null;
}

export interface StateRequests {
  /** A command that changes nothing. */
  read: { args: { command: StateCommand }; value: unknown; event: never };
  create: { args: { command: StateCommand; evaluate: boolean }; value: StateInfo; event: never };
  /** A command that changes one state. */
  write: { args: { id: string; command: StateCommand; evaluate: boolean }; value: unknown; event: never };
  fork: { args: { command: StateCommand }; value: StateInfo[]; event: never };
  delete: { args: { ids: string[] }; value: null; event: never };
  /** `kept`: an answer to write on with, if the request is still the same. */
  generate: {
    args: { id: string; options: EngineOptions; kept: Kept | null };
    value: Omit<StateGenerationResult, "cache">;
    event: GenerationEvent;
  };
  /** It changes nothing. */
  beamSearch: { args: { id: string; options: EngineBeamSearchOptions; asks: Asks }; value: BeamResult; event: BeamStep };
  merge: { args: { command: StateCommand; evaluate: boolean }; value: StateInfo; event: never };
  diff: { args: { a: string; b: string; distributions: boolean }; value: StateDiff; event: never };
  compare: { args: { a: string; b: string }; value: StateComparison; event: never };
  export: { args: { ids: string[] | null; format: "binary" | "json"; kv: boolean }; value: Blob; event: never };
  import: {
    args: { file: Blob; persist: boolean };
    value: StateInfo[];
    event: { loaded: number; total: number };
  };
  usage: { args: null; value: StatesUsage; event: never };
  cleanUp: { args: { policy: CleanUpPolicy | null }; value: string[]; event: never };
  setCleanUp: { args: { policy: CleanUpPolicy | null }; value: null; event: never };
  save: { args: null; value: null; event: never };
  /** Tells of changes until it is cancelled. */
  watch: { args: null; value: null; event: StatesEvent };
}

export type StateRequestName = keyof StateRequests;

export type StateRequest = { [Name in StateRequestName]: { name: Name; args: StateRequests[Name]["args"] } }[StateRequestName];
