/**
 * What may go wrong around a response cache: no room, no storage, records that
 * are damaged or not theirs, an engine that crashes. Each costs a hit at most;
 * the answer comes.
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
  PROMPT,
  reload,
  startModel,
  untilStored,
  untilTold,
  untilWaiting,
} from "./lib/cached.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";
import { waitUntil } from "./lib/wait.mjs";

const WITHOUT_STORAGE = "/without-indexeddb.js";

const browser = await launch();
const server = await serveLibrary({
  files: {
    "/hide-indexeddb.js": 'Object.defineProperty(globalThis, "indexedDB", { value: undefined });',
    [WITHOUT_STORAGE]: 'import "/hide-indexeddb.js"; import "/pkg/worker.js";',
  },
});
test.after(() => server.close());

const LIMIT = { timeout: TIMEOUT_MS };
const MEGABYTE = 1 << 20;

/** Puts another value in place of the stored record under `key`: what `change` gives of its bytes, and of those of all records. */
async function tamper(page, key, change) {
  const records = new Map(await page.evaluate(async () => (await cached.rawEntries("records")).map(([key, bytes]) => [key, [...bytes]])));
  const changed = change(records.get(key), [...records.values()]);
  await page.evaluate(([key, value]) => cached.rawPut("records", Array.isArray(value) ? Uint8Array.from(value) : value, key), [key, changed]);
}

test("where there is no room in storage, answers come, and memory has them", LIMIT, async () => {
  const { context, page } = await openLibrary(browser, server);
  const devtools = await context.newCDPSession(page);
  const { origin: site } = new URL(server.url);
  // Before anything is stored: the browser remembers for a while how much room there is.
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: site, quotaSize: MEGABYTE });
  await startModel(page, {}, { store: "memory" });
  const large = (name) =>
    page.evaluate(
      async ([name, length]) => {
        const noise = new Uint8Array(length);
        for (let at = 0; at < length; at += 0x10000) crypto.getRandomValues(noise.subarray(at, at + 0x10000));
        const { value, cache: label } = await cache.fetch(name, () => noise);
        return { length: value.length, cache: label };
      },
      [name, 2 * MEGABYTE],
    );
  const first = await large("large");
  assert.deepEqual([first.length, origin(first)], [2 * MEGABYTE, FRESH]);
  await untilTold(page, { type: "error", layer: "indexeddb" });
  const { errors, health, entries } = await layerStats(page, "indexeddb");
  assert.deepEqual([errors, health, entries], [1, "ok", 0]);
  assert.deepEqual(origin(await large("large")), ["exact", "memory"]);

  assert.deepEqual([origin(await generate(page)), origin(await generate(page))], [FRESH, ["exact", "memory"]]);

  await devtools.send("Storage.overrideQuotaForOrigin", { origin: site });
  let count = 0;
  await waitUntil(async () => {
    await large(`another ${count++}`);
    return (await layerStats(page, "indexeddb")).bytes > 2 * MEGABYTE;
  });
});

const DAMAGE = {
  "a record with a flipped bit": (bytes) => bytes.with(-9, bytes.at(-9) ^ 4),
  "half a record": (bytes) => bytes.slice(0, bytes.length >> 1),
  "an empty record": () => [],
  "a text in place of a record": () => "not a record",
  "the record of another request, whole as it is": (bytes, records) => records.find((other) => other.join() !== bytes.join()),
};

for (const [what, change] of Object.entries(DAMAGE)) {
  test(`${what} is dropped and counted, and the answer computed and kept anew`, LIMIT, async () => {
    const { page } = await openModel(browser, server);
    const first = await generate(page);
    const other = await generate(page, "Once upon a time", { ...OPTIONS, maxTokens: 60 });
    await untilStored(page, first.cache.key);
    await untilStored(page, other.cache.key);
    await tamper(page, first.cache.key, change);

    await reload(page);
    await startModel(page);
    const second = await generate(page);
    assert.deepEqual([origin(second), second.text], [FRESH, first.text]);
    const { rejected, health } = await layerStats(page, "indexeddb");
    const told = await page.evaluate(() => cached.events.filter(({ type, layer }) => type === "error" && layer === "indexeddb").length);
    assert.deepEqual([rejected, told, health], [1, 1, "ok"]);
    await untilStored(page, first.cache.key);

    await reload(page);
    await startModel(page);
    const third = await generate(page);
    assert.deepEqual([origin(third), third.text], [["exact", "indexeddb"], first.text]);
    assert.equal((await layerStats(page, "indexeddb")).rejected, 0);
  });
}

test("where the browser drops the database, it begins anew", LIMIT, async () => {
  const { context, page } = await openCache(browser, server);
  const { cache } = await ask(page, "q");
  await untilStored(page, cache.key);
  const devtools = await context.newCDPSession(page);
  await devtools.send("Storage.clearDataForOrigin", { origin: new URL(server.url).origin, storageTypes: "indexeddb" });
  assert.deepEqual(origin(await ask(page, "q")), ["exact", "memory"]);
  const another = await ask(page, "another");
  assert.deepEqual(origin(another), FRESH);
  await untilStored(page, another.cache.key);
});

/** Without storage there is memory, and the layer says why. */
async function assertMemoryAlone(page, reason) {
  const answers = [await ask(page, "q"), await ask(page, "q"), await ask(page, "other")];
  assert.deepEqual(answers.map(origin), [FRESH, ["exact", "memory"], FRESH]);
  const { health, reason: said, errors, entries } = await layerStats(page, "indexeddb");
  assert.deepEqual([health, entries], ["down", null]);
  assert.match(said, reason);
  assert.ok(errors >= 1);
  assert.deepEqual((await page.evaluate(() => cache.entries())).items.map(({ layers }) => layers), [["memory"], ["memory"]]);
}

test("without IndexedDB there is memory alone, and the layer says why", LIMIT, async () => {
  const { page, problems } = await openCache(browser, server, { workerUrl: WITHOUT_STORAGE });
  await assertMemoryAlone(page, /IndexedDB is not available/);
  assert.deepEqual(problems, []);
});

test("where the browser refuses IndexedDB, as in a sandboxed frame, there is memory alone", LIMIT, async (t) => {
  const sandboxed = await serveLibrary({
    headers: { "Content-Security-Policy": "sandbox allow-scripts", "Access-Control-Allow-Origin": "*" },
  });
  t.after(() => sandboxed.close());
  const { page, problems } = await openCache(browser, sandboxed, { worker: false });
  await assertMemoryAlone(page, /denied/i);
  assert.deepEqual(problems, []);
});

test("clearing reaches the layers that can be cleared, and tells of the others", LIMIT, async () => {
  const options = { layers: ["indexeddb", "localstorage"], workerUrl: WITHOUT_STORAGE };
  const { context, page } = await openCache(browser, server, options);
  const { page: tab } = await openCache(context, server, options);
  const { cache } = await ask(page, "q");
  await untilStored(page, cache.key, "localstorage");
  await ask(tab, "q");
  const error = await page.evaluate(() => kit.failure(cache.clear()));
  assert.equal(error?.code, "storage-error");
  assert.equal((await layerStats(page, "localstorage")).entries, 0);
  await untilTold(tab, { type: "clear", origin: "other-tab" });
  assert.deepEqual(origin(await ask(tab, "q")), FRESH);
});

/** Ends the page's worker with an exception that nobody catches, and waits until it is known. */
async function crash(page) {
  const [worker] = page.workers();
  const closed = new Promise((resolve) => worker.once("close", resolve));
  await worker.evaluate(() => {
    setTimeout(() => {
      throw new Error("out of the blue");
    });
  });
  await closed;
}

test("after a crash of the engine the cache has what it has stored, and who listens is told again", LIMIT, async () => {
  const { page } = await openModel(browser, server, { layers: ["indexeddb", "localstorage"] });
  const first = await generate(page);
  await untilStored(page, first.cache.key);
  await page.evaluate(([prompt, options]) => {
    const generation = cacher.generate(prompt, { ...options, seed: 8, maxTokens: 1000, eosTokenIds: [] });
    globalThis.failure = kit.failure(generation.result);
  }, [PROMPT, OPTIONS]);
  await crash(page);
  assert.equal((await page.evaluate(() => failure)).code, "engine-crashed");

  await page.evaluate(() => void (cached.events.length = 0));
  const answers = [await generate(page), await generate(page)];
  assert.deepEqual(answers.map(origin), [["exact", "indexeddb"], ["exact", "memory"]]);
  assert.deepEqual(answers.map(({ text }) => text), [first.text, first.text]);
  await untilTold(page, { type: "hit", layer: "memory", key: first.cache.key });
  // The page serves the new worker too.
  let seed = 100;
  await waitUntil(async () => {
    await generate(page, PROMPT, { ...OPTIONS, maxTokens: 1, seed: seed++ });
    return (await layerStats(page, "localstorage")).sets > 0;
  });
});

test("where the engine of the tab that computes crashes, one that waits computes instead", LIMIT, async () => {
  const { context, page } = await openCache(browser, server, { waitMs: TIMEOUT_MS });
  const { page: tab } = await openCache(context, server, { waitMs: TIMEOUT_MS });
  await page.evaluate(() => cached.begin("q"));
  await waitUntil(async () => (await computed(page)).length === 1);
  const asked = ask(tab, "q");
  await untilWaiting(tab);
  await crash(page);
  assert.deepEqual(origin(await asked), FRESH);
  assert.deepEqual(await computed(tab), ["q"]);
});

test("what was being computed when the engine crashed is nobody else's answer", LIMIT, async () => {
  const { page } = await openCache(browser, server);
  const begin = async (request) => {
    await page.evaluate((request) => cached.begin(request), request);
    await waitUntil(async () => (await computed(page)).includes(request));
  };
  await begin("first");
  await page.evaluate(() => {
    globalThis.first = { release, begun };
  });
  await crash(page);
  await begin("second");
  const [{ value }, kept] = await page.evaluate(async () => {
    first.release();
    const answer = await first.begun;
    // Behind what became of it.
    await cache.stats();
    return [answer, (await cache.get("second"))?.value ?? null];
  });
  assert.deepEqual([value, kept], ['the answer to "first"', null]);
  await page.evaluate(() => release());
  assert.equal((await page.evaluate(() => begun)).value, 'the answer to "second"');
  assert.equal((await ask(page, "second")).value, 'the answer to "second"');
});
