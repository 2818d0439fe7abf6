/** What the engine holds, in words and in places of a drawing. */

import type { EngineInspection, KvBlock, MemoryByOwner } from "cacher-wasm";
import type { Bar } from "./plot.ts";

const owners: readonly { id: Exclude<keyof MemoryByOwner, "wasmBytes">; name: string }[] = [
  { id: "weightBytes", name: "Weights" },
  { id: "kvBytes", name: "KV cache" },
  { id: "attentionBytes", name: "Attention" },
  { id: "scratchBytes", name: "Scratch" },
  { id: "otherBytes", name: "Other" },
  { id: "staticBytes", name: "Static" },
  { id: "freeBytes", name: "Free" },
];

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes >= 1e7 ? 1 : 3)} MB`;
}

/** In megabytes. */
export function toBars(memory: MemoryByOwner): Bar[] {
  return owners.map(({ id, name }) => ({ label: name, value: memory[id] / 1e6, note: megabytes(memory[id]) }));
}

/** A block in the drawing. */
export interface Placed {
  block: KvBlock;
  row: number;
  column: number;
}

/** Blocks of one text stand side by side, each after the one before it; where texts part, the other begins a row. */
export function place(blocks: readonly KvBlock[], most: number): Placed[] {
  const children = new Map<string, KvBlock[]>();
  const names = new Set(blocks.map(({ name }) => name));
  const roots: KvBlock[] = [];
  const loose: KvBlock[] = [];
  for (const block of blocks) {
    if (block.depth === null || block.parent === null) loose.push(block);
    else if (names.has(block.parent)) children.set(block.parent, [...(children.get(block.parent) ?? []), block]);
    else roots.push(block);
  }
  const placed: Placed[] = [];
  let row = -1;
  for (const root of roots) {
    // Without recursion: a text may have many blocks.
    const open: { block: KvBlock; begins: boolean }[] = [{ block: root, begins: true }];
    while (open.length > 0) {
      const { block, begins } = open.pop()!;
      if (begins) row += 1;
      placed.push({ block, row, column: block.depth ?? 0 });
      const next = children.get(block.name) ?? [];
      for (const [index, child] of [...next.entries()].reverse()) open.push({ block: child, begins: index > 0 });
    }
  }
  const wide = Math.max(8, ...placed.map(({ column }) => column + 1));
  for (const [index, block] of loose.entries()) placed.push({ block, row: row + 1 + Math.floor(index / wide), column: index % wide });
  return placed.slice(0, most);
}

export function whereIs({ where, pinned }: KvBlock): string {
  const places = where.map((each) => (each === "memory" ? "memory" : "IndexedDB")).join(" and ");
  return pinned ? `${places}, pinned` : places;
}

/** Share of the tokens that texts began with and were found; 0 to 1. */
export function hitRate({ kv: { hits, misses } }: EngineInspection): number {
  return hits + misses === 0 ? 0 : hits / (hits + misses);
}
