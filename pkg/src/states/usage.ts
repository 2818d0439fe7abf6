/**
 * What states take, in storage and in memory.
 */

import type { StatesUsage } from "../types.js";
import type { StateDatabase } from "./database.js";

/** What the engine knows of it. */
export type EngineUsage = Pick<StatesUsage, "states" | "revisions" | "unsaved" | "kv">;

export async function readUsage(
  inEngine: EngineUsage,
  database: StateDatabase | undefined,
  reason: string | null,
): Promise<StatesUsage> {
  const stored = (await database?.usage()) ?? { records: 0, blocks: 0, blockCount: 0, quarantined: 0 };
  const storage = typeof navigator === "undefined" ? undefined : navigator.storage;
  const estimate = await storage?.estimate?.().catch(() => undefined);
  return {
    backend: database === undefined ? "memory" : "indexeddb",
    reason,
    ...inEngine,
    blocks: stored.blockCount,
    bytes: { records: stored.records, blocks: stored.blocks, total: stored.records + stored.blocks },
    quarantined: stored.quarantined,
    origin: estimate?.quota === undefined ? null : { usage: estimate.usage ?? 0, quota: estimate.quota },
    persisted: (await storage?.persisted?.().catch(() => false)) ?? false,
  };
}
