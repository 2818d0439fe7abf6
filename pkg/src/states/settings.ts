/**
 * Checks `LoadOptions.states`, and fills in the defaults.
 */

import { requireKnown } from "../arguments.js";
import { CacherError } from "../errors.js";
import type { CleanUpPolicy, StatesOptions } from "../types.js";
import type { StateSettings } from "./requests.js";

const OPTIONS = ["database", "persist", "kvCacheBytes", "saveIntervalMs", "lockWaitMs", "cleanUp"] as const satisfies (keyof StatesOptions)[];
const LIMITS = ["maxStates", "maxBytes", "maxAgeMs", "intervalMs"] as const satisfies (keyof CleanUpPolicy)[];

export function stateSettings(options: StatesOptions = {}): StateSettings {
  if (typeof options !== "object" || options === null) throw invalid("states", "must be an object");
  requireKnown(options, OPTIONS, "states");
  const { database = "cacher-states", persist = true, kvCacheBytes, saveIntervalMs = 500, lockWaitMs = 3_000 } = options;
  if (typeof database !== "string" || database === "") throw invalid("states.database", "must be a name");
  if (typeof persist !== "boolean") throw invalid("states.persist", "must be true or false");
  for (const [name, value] of Object.entries({ kvCacheBytes, saveIntervalMs, lockWaitMs })) {
    if (value !== undefined) requireCount(`states.${name}`, value);
  }
  const cleanUp = options.cleanUp === undefined ? null : requirePolicy("states.cleanUp", options.cleanUp);
  return { database, persist, kvCacheBytes, saveIntervalMs, lockWaitMs, cleanUp };
}

export function requirePolicy(name: string, policy: CleanUpPolicy): CleanUpPolicy {
  if (typeof policy !== "object" || policy === null) throw invalid(name, "must be an object");
  requireKnown(policy, LIMITS, name);
  for (const [limit, value] of Object.entries(policy)) if (value !== undefined) requireCount(`${name}.${limit}`, value);
  return policy;
}

function requireCount(name: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw invalid(name, "must be a whole number of at least 0");
}

function invalid(name: string, reason: string): CacherError {
  return new CacherError("invalid-argument", `${name}: ${reason}`);
}
