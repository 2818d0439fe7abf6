/**
 * The engine's report and what storage has, put together.
 */

import type { EngineInspection, KvBlock, KvInspection, MemoryByOwner } from "./types.js";

/** What the host tells; the client knows the rest. */
export type HostInspection = Pick<EngineInspection, "memory" | "kv" | "states" | "cache">;

/** The engine's part, as its JSON has it. */
export interface EngineReport {
  memory: MemoryByOwner;
  kv: Pick<KvInspection, "dtype" | "blockTokens" | "blockBytes" | "uses" | "dropped"> & {
    metrics: { hits: number; misses: number; evictions: number; blocks: number; bytes: number; budget: number; pinnedBytes: number };
    blocks: ReportedBlock[];
    captured: KvInspection["attention"];
  };
}

/** `inMemory: false`: a state's text would have it. */
interface ReportedBlock extends Omit<KvBlock, "where"> {
  inMemory: boolean;
}

/** `stored`: bytes of every block in storage, by name. */
export function kvInspection({ kv }: EngineReport, stored: ReadonlyMap<string, number> | undefined): KvInspection {
  const { dtype, blockTokens, blockBytes, uses, metrics, dropped, captured } = kv;
  const { hits, misses, evictions, ...memory } = metrics;
  const unknown = new Map(stored);
  const blocks: KvBlock[] = [];
  for (const { inMemory, ...block } of kv.blocks) {
    const bytes = unknown.get(block.name);
    unknown.delete(block.name);
    if (!inMemory && bytes === undefined) continue;
    blocks.push({
      ...block,
      where: [...(inMemory ? (["memory"] as const) : []), ...(bytes === undefined ? [] : (["indexeddb"] as const))],
      bytes: inMemory ? block.bytes : (bytes as number),
      lastUse: inMemory ? block.lastUse : null,
    });
  }
  for (const [name, bytes] of unknown) {
    blocks.push({
      ...{ name, parent: null, depth: null, tokens: null, where: ["indexeddb"], bytes },
      ...{ references: 0, pinned: false, lastUse: null, hits: 0, states: [] },
    });
  }
  const storedBytes = stored && [...stored.values()].reduce((sum, each) => sum + each, 0);
  return {
    ...{ dtype, blockTokens, blockBytes, uses, hits, misses, evictions, memory },
    stored: stored === undefined ? null : { blocks: stored.size, bytes: storedBytes as number },
    ...{ blocks, dropped, attention: captured },
  };
}
