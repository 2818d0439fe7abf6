/**
 * `cacher.inspect()`: memory by owner, KV blocks in memory and in IndexedDB,
 * what was dropped, and what else it gathers.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary, startKit } from "./lib/library.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

const TEXT = "Once upon a time there was a little girl. She had a cat, and the cat had a hat. ".repeat(3);

/** All that a memory is made of, in bytes. */
const OWNERS = ["weightBytes", "kvBytes", "attentionBytes", "scratchBytes", "otherBytes", "staticBytes", "freeBytes"];

function checkMemory({ memory, kv, model }) {
  const total = OWNERS.reduce((sum, owner) => sum + memory[owner], 0);
  assert.equal(total, memory.wasmBytes);
  assert.ok(OWNERS.every((owner) => Number.isInteger(memory[owner]) && memory[owner] >= 0));
  assert.ok(memory.staticBytes > 0 && memory.otherBytes > 0);
  assert.equal(memory.weightBytes, model.weightBytes);
  assert.equal(memory.kvBytes, kv.memory.bytes);
  assert.equal(memory.attentionBytes, kv.attention.bytes);
  const inMemory = kv.blocks.filter(({ where }) => where.includes("memory"));
  assert.equal(inMemory.length, kv.memory.blocks);
  assert.equal(inMemory.reduce((sum, { bytes }) => sum + bytes, 0), kv.memory.bytes);
}

async function load(page, options = {}) {
  await page.evaluate(async (options) => {
    globalThis.cacher = await kit.Cacher.load({ model: "tiny-gpt2", ...options });
  }, options);
}

const inspect = (page) => page.evaluate(() => cacher.inspect());

test("the engine tells what it holds", { timeout: 2 * TIMEOUT_MS }, async (t) => {
  const { page, problems } = await openLibrary(browser, server);
  await load(page);

  await t.test("before anything is done, and opens nothing for it", async () => {
    const first = await inspect(page);
    checkMemory(first);
    assert.deepEqual([first.states, first.cache, first.kv.stored], [null, null, null]);
    assert.deepEqual([first.kv.blocks, first.kv.hits, first.kv.misses], [[], 0, 0]);
    assert.equal(first.memory.wasmBytes, (await page.evaluate(() => cacher.memory())).wasmBytes);
    assert.deepEqual(first.models.map(({ source, backend }) => [typeof source, backend]), [["string", first.storage.backend]]);
    const databases = await page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name));
    assert.ok(!databases.includes("cacher-states"), String(databases));
  });

  await t.test("hits and misses of the KV cache, and captured attention", async () => {
    const { ids, before, after } = await page.evaluate(async (text) => {
      const { ids } = await cacher.tokenize(text);
      await cacher.generate(text, { maxTokens: 4, captureAttention: { layers: [0] } }).result;
      const before = await cacher.inspect();
      await cacher.generate(text, { maxTokens: 4 }).result;
      return { ids: [...ids], before, after: await cacher.inspect() };
    }, TEXT);
    checkMemory(after);
    assert.ok(before.kv.attention.rows > 0 && before.kv.attention.bytes > 0);
    assert.ok(before.memory.scratchBytes > 0);
    assert.equal(before.kv.hits, 0);
    assert.ok(after.kv.hits >= ids.length - 1);
    const [first] = after.kv.blocks.filter(({ depth }) => depth === 0);
    assert.deepEqual(first.tokens, ids.slice(0, after.kv.blockTokens));
    assert.deepEqual([first.where, first.states, first.pinned, first.references], [["memory"], [], false, 0]);
    assert.ok(first.hits >= 1 && first.lastUse <= after.kv.uses);
    assert.match(first.name, /^[0-9a-f]{32}$/);
  });

  await t.test("states, where their blocks are, and the response cache", async () => {
    const { ids, report } = await page.evaluate(async (text) => {
      const states = [await cacher.states.create({ text: `A ${text}` }), await cacher.states.create({ text: `A ${text}` })];
      await states[0].pin();
      await cacher.generate("The", { maxTokens: 2, seed: 1, cache: true }).result;
      await cacher.generate("The", { maxTokens: 2, seed: 1, cache: true }).result;
      return { ids: states.map(({ id }) => id).sort(), report: await cacher.inspect() };
    }, TEXT);
    checkMemory(report);
    assert.deepEqual(JSON.parse(JSON.stringify(report)), report);
    assert.equal(report.states.states, 2);
    assert.equal(report.cache.hits.total, 1);
    const full = report.kv.blocks.filter(({ tokens, states }) => states.length > 0 && tokens.length === report.kv.blockTokens);
    assert.ok(full.length > 1);
    for (const block of full) {
      assert.deepEqual(block.where, ["memory", "indexeddb"]);
      assert.deepEqual(block.states.toSorted(), ids);
      assert.equal(block.pinned, true);
    }
    assert.equal(report.kv.stored.blocks, full.length);
    assert.ok(report.kv.stored.bytes > 0 && report.kv.memory.pinnedBytes > 0);
  });

  await t.test("after a reload they are only stored, until they are used", async () => {
    await page.reload();
    await startKit(page);
    await load(page);
    const { report, used } = await page.evaluate(async () => {
      const { items } = await cacher.states.list();
      const report = await cacher.inspect();
      await (await cacher.states.get(items[0].id)).generate({ maxTokens: 1 }).result;
      return { report, used: await cacher.inspect() };
    });
    assert.ok(report.kv.blocks.length > 1);
    for (const { where, lastUse, tokens, states } of report.kv.blocks) {
      assert.deepEqual([where, lastUse, tokens.length, states.length], [["indexeddb"], null, report.kv.blockTokens, 2]);
    }
    assert.ok(used.kv.blocks.some(({ where }) => where.length === 2));
    assert.ok(used.kv.hits > 0);
  });

  assert.deepEqual(problems, []);
});

test("what was dropped, and why", { timeout: TIMEOUT_MS }, async () => {
  const { page, problems } = await openLibrary(browser, server);
  await load(page, { states: { persist: false, kvCacheBytes: 0 } });
  const { kv } = await page.evaluate(async (text) => {
    await cacher.generate(text, { maxTokens: 2 }).result;
    return cacher.inspect();
  }, TEXT);
  assert.deepEqual([kv.memory.budget, kv.memory.blocks], [0, 0]);
  assert.ok(kv.evictions > 0 && kv.dropped.budget === kv.evictions);
  assert.equal(kv.dropped.last.at(-1).reason, "budget");
  assert.ok(kv.dropped.last.every(({ droppedAt, lastUse }) => droppedAt >= lastUse && droppedAt <= kv.uses));
  assert.deepEqual(problems, []);
});
