/**
 * The response cache in the browser's storage: what was computed once comes
 * back after a reload. Several tabs are in cache-tabs.test.mjs, what may go
 * wrong in cache-faults.test.mjs.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import {
  ask,
  computed,
  FRESH,
  generate,
  layerStats,
  openCache,
  openModel,
  OPTIONS,
  origin,
  reload,
  startCache,
  startModel,
  untilStored,
} from "./lib/cached.mjs";
import { serveLibrary } from "./lib/library.mjs";
import { waitUntil } from "./lib/wait.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

const LIMIT = { timeout: TIMEOUT_MS };

for (const worker of [true, false]) {
  test(`a generation ${worker ? "in a worker" : "on the page's thread"} is computed once, also over a reload`, LIMIT, async () => {
    const { page, problems } = await openModel(browser, server, {}, { worker });
    const first = await generate(page);
    assert.deepEqual(origin(first), FRESH);
    assert.ok(first.evaluated > 0);
    await untilStored(page, first.cache.key);

    await reload(page);
    await startModel(page, {}, { worker });
    const second = await generate(page);
    const third = await generate(page);
    assert.deepEqual([second, third].map(origin), [["exact", "indexeddb"], ["exact", "memory"]]);
    for (const { text, tokens, chunks, evaluated, cache } of [second, third]) {
      assert.deepEqual({ text, tokens, chunks }, { text: first.text, tokens: first.tokens, chunks: first.chunks });
      assert.equal(evaluated, 0);
      assert.equal(cache.key, first.cache.key);
      assert.ok(cache.savedMs > 0 && cache.ageMs > 0, JSON.stringify(cache));
    }
    const { hits, savedTokens } = await page.evaluate(() => cache.stats());
    assert.deepEqual([hits.total, savedTokens], [2, 2 * OPTIONS.maxTokens]);
    assert.deepEqual(problems, []);
  });
}

test("a state is written on with what was kept before a reload, as if it were computed", LIMIT, async () => {
  const { page } = await openModel(browser, server);
  /** Two generations, one after the other; the second as it is computed. */
  const write = () =>
    page.evaluate(async () => {
      const state = await cacher.states.create({ text: "Once upon a time", config: { seed: 3 } });
      const first = await state.generate({ maxTokens: 16 }).result;
      const second = await state.generate({ maxTokens: 8, cache: false }).result;
      return { cache: first.cache, texts: [first.text, second.text], whole: await state.text() };
    });
  const before = await write();
  assert.deepEqual(origin(before), FRESH);
  await untilStored(page, before.cache.key);
  await reload(page);
  await startModel(page);
  const after = await write();
  assert.deepEqual(origin(after), ["exact", "indexeddb"]);
  assert.deepEqual([after.texts, after.whole], [before.texts, before.whole]);
});

for (const layer of ["indexeddb", "localstorage"]) {
  test(`${layer}: the answer of a function is there after a reload, first stored, then in memory`, LIMIT, async () => {
    const options = { layers: [layer] };
    const { page, problems } = await openCache(browser, server, options);
    const request = { q: "What floats?", n: 1 };
    const first = await ask(page, request);
    assert.deepEqual(origin(first), FRESH);
    await untilStored(page, first.cache.key, layer);

    await reload(page);
    await startCache(page, options);
    const again = [await ask(page, request), await ask(page, { n: 1, q: "What floats?" })];
    assert.deepEqual(again.map(origin), [["exact", layer], ["exact", "memory"]]);
    assert.deepEqual(again.map(({ value }) => value), [first.value, first.value]);
    assert.deepEqual(await computed(page), []);
    const { hits, entries, health } = await layerStats(page, layer);
    assert.deepEqual([hits, entries, health], [1, 1, "ok"]);
    assert.deepEqual(problems, []);
  });
}

test("what one layer has is put into those before it", LIMIT, async () => {
  const { page } = await openCache(browser, server, { layers: ["localstorage"] });
  const { cache } = await ask(page, "q");
  await untilStored(page, cache.key, "localstorage");
  await reload(page);
  await startCache(page, { layers: ["indexeddb", "localstorage"] });
  assert.deepEqual(origin(await ask(page, "q")), ["exact", "localstorage"]);
  await untilStored(page, cache.key, "indexeddb");
});

test("what is deleted, invalidated or cleared is not there after a reload either", LIMIT, async () => {
  const { page } = await openCache(browser, server);
  const requests = ["delete", "invalidate", "keep", "pin"];
  const keys = [];
  for (const request of requests) {
    const { cache } = await ask(page, request, { tags: [request] });
    await untilStored(page, cache.key);
    keys.push(cache.key);
  }
  const counts = await page.evaluate(async ([key, , , pin]) => {
    await cache.pin(pin);
    return [await cache.delete(key), await cache.invalidate({ tags: ["invalidate", "unknown"] }), await cache.delete(key)];
  }, keys);
  assert.deepEqual(counts, [1, 1, 0]);

  await reload(page);
  await startCache(page);
  const entries = await page.evaluate(async () => (await cache.entries({ sort: "created", order: "asc" })).items.map(({ title, pinned }) => [title, pinned]));
  assert.deepEqual(entries, [['"keep"', false], ['"pin"', true]]);
  assert.deepEqual(origin(await ask(page, "delete")), FRESH);
  await page.evaluate(() => cache.clear());
  assert.deepEqual(origin(await ask(page, "keep")), FRESH);
});

test("a prompt is found by its meaning after a reload too", LIMIT, async () => {
  const { page } = await openModel(browser, server, { semantic: true });
  const first = await generate(page, "How do I open a tin without an opener?");
  await untilStored(page, first.cache.key);
  await waitUntil(() => page.evaluate(async () => (await cached.rawEntries("vectors")).length === 1));
  await reload(page);
  await startModel(page, { semantic: true });
  const { text, evaluated, cache } = await generate(page, "how do I open a tin without an opener");
  assert.deepEqual([cache.hit, cache.layer, cache.key], ["semantic", "indexeddb", first.cache.key]);
  assert.deepEqual([cache.matchedPrompt, text, evaluated], ["How do I open a tin without an opener?", first.text, 0]);
  await page.evaluate((key) => cache.delete(key), first.cache.key);
  assert.deepEqual(origin(await generate(page, "how do I open a tin without an opener")), FRESH);
});

test("an answer expires where it is stored, and is cleaned up there", LIMIT, async () => {
  const { page } = await openCache(browser, server, { cleanUpIntervalMs: 1_000 });
  const { cache } = await ask(page, "short-lived", { cacheTtl: 1 });
  const { cache: kept } = await ask(page, "long-lived", { cacheTtl: 600_000 });
  await untilStored(page, kept.key);
  const stored = () => page.evaluate(async () => (await cached.rawEntries("records")).map(([key]) => key));
  await waitUntil(async () => (await stored()).length === 1);
  assert.deepEqual(await stored(), [kept.key]);
  const again = await ask(page, "short-lived");
  assert.deepEqual([origin(again), again.cache.key], [FRESH, cache.key]);
});

test("an exported cache is whole in another browser's", LIMIT, async () => {
  const { page } = await openModel(browser, server);
  const first = await generate(page);
  await ask(page, "q");
  const file = await page.evaluate(async () => Array.from(new Uint8Array(await (await cache.export()).arrayBuffer())));

  const { page: other } = await openModel(browser, server);
  const count = await other.evaluate((bytes) => cache.import(new Blob([Uint8Array.from(bytes)])), file);
  assert.equal(count, 2);
  await untilStored(other, first.cache.key);
  const second = await generate(other);
  assert.deepEqual([second.cache.hit, second.text], ["exact", first.text]);
  assert.equal((await ask(other, "q")).cache.hit, "exact");
});
