/**
 * Checks `LoadOptions.states`, and fills in the defaults.
 */

import { requireKnown } from "../arguments.js";
import type { CleanUpPolicy, StatesOptions } from "../types.js";
import { requireKinds } from "./arguments.js";
import type { StateSettings } from "./requests.js";

const OPTIONS = ["database", "persist", "kvCacheBytes", "saveIntervalMs", "lockWaitMs", "cleanUp"] as const satisfies (keyof StatesOptions)[];
const LIMITS = ["maxStates", "maxBytes", "maxAgeMs", "intervalMs"] as const satisfies (keyof CleanUpPolicy)[];

export function stateSettings(options: StatesOptions = {}): StateSettings {
  requireKinds("load", { states: options }, { states: "object" });
  requireKnown(options, OPTIONS, "states");
  requireKinds("states", options, { database: "text", persist: "flag", kvCacheBytes: "count", saveIntervalMs: "count", lockWaitMs: "count" });
  const { database = "cacher-states", persist = true, kvCacheBytes, saveIntervalMs = 500, lockWaitMs = 3_000 } = options;
  const cleanUp = options.cleanUp === undefined ? null : requirePolicy("cleanUp", options.cleanUp);
  return { database, persist, kvCacheBytes, saveIntervalMs, lockWaitMs, cleanUp };
}

export function requirePolicy(where: string, policy: CleanUpPolicy): CleanUpPolicy {
  requireKinds(where, { policy }, { policy: "object" });
  requireKnown(policy, LIMITS, where);
  requireKinds(where, policy, { maxStates: "count", maxBytes: "bytes", maxAgeMs: "bytes", intervalMs: "interval" });
  return policy;
}
