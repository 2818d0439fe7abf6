/** What the engine reports of KV blocks, put together with what storage has. */
import assert from "node:assert/strict";
import test from "node:test";
import { kvInspection } from "../dist/inspection/inspect.js";

const block = (name, more = {}) => ({
  ...{ name, parent: "root", depth: 0, tokens: [1, 2], bytes: 64, references: 0, pinned: false, lastUse: 3, hits: 1 },
  ...{ inMemory: true, states: [], ...more },
});

const report = (blocks) => ({
  memory: {},
  kv: {
    ...{ dtype: "q8", blockTokens: 32, blockBytes: 64, uses: 5, blocks },
    metrics: { hits: 4, misses: 6, evictions: 0, blocks: 1, bytes: 64, budget: 128, pinnedBytes: 0 },
    dropped: { budget: 0, extended: 0, forgotten: 0, last: [] },
    captured: { rows: 0, bytes: 0, budget: 32, dropped: 0, hits: 0 },
  },
});

test("a block is told once, with all places where it is", () => {
  const stored = new Map([["both", 40], ["state's", 41], ["unknown", 42]]);
  const { blocks, stored: total } = kvInspection(
    report([block("memory"), block("both"), block("state's", { inMemory: false, states: ["a"] }), block("nowhere", { inMemory: false })]),
    stored,
  );
  assert.deepEqual(
    blocks.map(({ name, where, bytes, lastUse, tokens }) => [name, where.join(), bytes, lastUse, tokens?.length ?? null]),
    [
      ["memory", "memory", 64, 3, 2],
      ["both", "memory,indexeddb", 64, 3, 2],
      ["state's", "indexeddb", 41, null, 2],
      ["unknown", "indexeddb", 42, null, null],
    ],
  );
  assert.deepEqual(total, { blocks: 3, bytes: 123 });
  assert.equal(stored.size, 3, "what was given stays as it was");
  assert.ok(blocks.every((each) => !("inMemory" in each)));
});

test("without storage, blocks are in memory alone", () => {
  const { blocks, stored, memory, hits, misses, evictions } = kvInspection(report([block("memory"), block("state's", { inMemory: false })]), undefined);
  assert.deepEqual([blocks.length, stored], [1, null]);
  assert.deepEqual([hits, misses, evictions], [4, 6, 0]);
  assert.deepEqual(memory, { blocks: 1, bytes: 64, budget: 128, pinnedBytes: 0 });
});
