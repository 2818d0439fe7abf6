/**
 * The cache's layers in the browser's own storage: what all of them promise,
 * and what each does where its storage fails it.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLayer, startLayer, told } from "./lib/cache-layers.mjs";
import { serveLibrary } from "./lib/library.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

const LIMIT = { timeout: TIMEOUT_MS };
const MEGABYTE = 1 << 20;
const numbered = (count) => Array.from({ length: count }, (_, index) => `k${String(index).padStart(4, "0")}`);

for (const kind of ["indexeddb", "localstorage"]) {
  const openKind = (limits) => openLayer(browser, server, kind, limits);

  test(`${kind}: what is put comes back, also on the next visit and in another tab`, LIMIT, async () => {
    const { context, page, problems } = await openKind();
    await page.evaluate(async () => {
      await cache.put("a", "first");
      await cache.put("b", "other");
      await cache.put("a", "second", { hits: 4 });
    });
    const { page: tab } = await openLayer(context, server, kind);
    await page.reload();
    await startLayer(page, kind);
    for (const each of [page, tab]) {
      assert.deepEqual(await each.evaluate(() => Promise.all(["a", "b", "c"].map(cache.get))), ["second", "other", null]);
      assert.deepEqual(await each.evaluate(() => cache.keys()), ["a", "b"]);
      assert.deepEqual(await each.evaluate(() => cache.opened().usage()), { entries: 2, bytes: 11 });
    }
    assert.deepEqual([await told(page), problems], [[], []]);
  });

  test(`${kind}: bytes are those at the time of the call, all values of them`, LIMIT, async () => {
    const { page } = await openKind();
    const found = await page.evaluate(async () => {
      const memory = Uint8Array.from({ length: 1000 }, (_, index) => index % 256);
      const written = cache.opened().set("k", memory.subarray(100, 900), cache.entry("k"));
      memory.fill(7);
      await written;
      const record = await cache.opened().get("k");
      return { length: record.length, memory: record.buffer.byteLength, right: record.every((byte, index) => byte === (index + 100) % 256) };
    });
    assert.deepEqual(found, { length: 800, memory: 800, right: true });
  });

  test(`${kind}: the facts come back as they were put`, LIMIT, async () => {
    const { page } = await openKind();
    const facts = {
      ...{ title: "about\n“lines”", kind: "generation", model: "abc", created: 5, expires: 9_000.5, lastUsed: 7, hits: 3, bytes: 6 },
      ...{ rawBytes: 12, costMs: 0.25, tokens: 4, tags: ["x", "y"], pinned: true, source: "me" },
    };
    await page.evaluate((facts) => cache.put("k", "record", { ...facts, layers: ["memory"] }), facts);
    assert.deepEqual(await page.evaluate(() => cache.entries()), [{ key: "k", ...facts, layers: [] }]);
  });

  test(`${kind}: uses are added to the facts, those of unknown keys passed over`, LIMIT, async () => {
    const { page } = await openKind();
    const facts = await page.evaluate(async () => {
      await cache.put("a", "record", { lastUsed: 50, hits: 2 });
      await cache.put("b", "record", { lastUsed: 50, hits: 2 });
      await cache.opened().used([
        { key: "a", lastUsed: 70, hits: 1 },
        { key: "gone", lastUsed: 70, hits: 1 },
        { key: "b", lastUsed: 40, hits: 3 },
        { key: "a", lastUsed: 60, hits: 1 },
      ]);
      return (await cache.entries()).map(({ key, lastUsed, hits }) => [key, lastUsed, hits]).sort();
    });
    assert.deepEqual(facts, [["a", 70, 4], ["b", 50, 5]]);
    assert.equal(await page.evaluate(() => cache.get("a")), "record");
  });

  test(`${kind}: an entry is pinned where there is one`, LIMIT, async () => {
    const { page } = await openKind();
    const [pinned, facts, loosened, unknown] = await page.evaluate(async () => {
      await cache.put("a", "record");
      const pinned = await cache.opened().setPinned("a", true);
      const facts = (await cache.entries()).map((entry) => entry.pinned);
      return [pinned, facts, await cache.opened().setPinned("a", false), await cache.opened().setPinned("b", true)];
    });
    assert.deepEqual([pinned, facts, loosened, unknown], [true, [true], true, false]);
    assert.deepEqual(await page.evaluate(async () => [await cache.keys(), await cache.get("a")]), [["a"], "record"]);
  });

  test(`${kind}: a clean-up deletes what was chosen of all rows, also of many`, LIMIT, async () => {
    const limits = { maxEntries: 7, maxBytes: 1_000 };
    const { page } = await openKind(limits);
    const names = numbered(1_200);
    await page.evaluate(async (names) => {
      await Promise.all(names.map((name, index) => cache.put(name, "record", { expires: index, lastUsed: 2 * index, pinned: index === 1, tags: ["t"] })));
    }, names);
    const plan = { expired: names.slice(0, 700), evicted: names.slice(700, 1_199) };
    const { rows, limits: given, result } = await page.evaluate((plan) => cache.cleanUp(plan), plan);
    assert.deepEqual([given, result], [limits, plan]);
    const byKey = (a, b) => (a.key < b.key ? -1 : 1);
    const wanted = names.map((key, index) => ({ key, bytes: 6, lastUsed: 2 * index, expires: index, pinned: index === 1, tags: ["t"] }));
    assert.deepEqual(rows.sort(byKey), wanted);
    assert.deepEqual(await page.evaluate(() => cache.keys()), names.slice(1_199));
    assert.deepEqual(await page.evaluate((names) => Promise.all(names.map(cache.get)), [names[0], names[1_199]]), [null, "record"]);
  });

  test(`${kind}: what is deleted or cleared is gone`, LIMIT, async () => {
    const { page } = await openKind();
    const left = await page.evaluate(async () => {
      for (const key of ["a", "b", "c"]) await cache.put(key, "record");
      await cache.opened().delete(["a", "gone", "b"]);
      const left = [await cache.keys(), await cache.get("a")];
      await cache.opened().clear();
      return [...left, await cache.keys(), await cache.get("c"), await cache.opened().usage()];
    });
    assert.deepEqual(left, [["c"], null, [], null, { entries: 0, bytes: 0 }]);
  });

  test(`${kind}: a record larger than the whole layer is refused`, LIMIT, async () => {
    const { page } = await openKind({ maxEntries: 5, maxBytes: 10 });
    const error = await page.evaluate(() => kit.failure(cache.put("k", "eleven byte")));
    assert.equal(error?.code, "storage-full");
    await page.evaluate(() => cache.put("k", "ten bytes."));
    assert.equal(await page.evaluate(() => cache.get("k")), "ten bytes.");
  });
}

test("indexeddb: listing and cleaning up reads no record", LIMIT, async () => {
  const { page } = await openLayer(browser, server, "indexeddb");
  const touched = await page.evaluate(async () => {
    await cache.put("a", "record");
    return cache.storesTouched(async () => {
      await cache.entries();
      await cache.keys();
      await cache.opened().usage();
      await cache.opened().used([{ key: "a", lastUsed: 1, hits: 1 }]);
      await cache.cleanUp({ expired: [], evicted: ["a"] });
    });
  });
  assert.deepEqual(touched, ["entries"]);
});

test("indexeddb: it is not waited for until an answer is on the disk", LIMIT, async () => {
  const { page } = await openLayer(browser, server, "indexeddb");
  const durabilities = await page.evaluate(async () => {
    const { transaction } = IDBDatabase.prototype;
    const seen = [];
    IDBDatabase.prototype.transaction = function (...values) {
      const made = transaction.apply(this, values);
      seen.push([made.mode, made.durability]);
      return made;
    };
    await cache.put("a", "record");
    IDBDatabase.prototype.transaction = transaction;
    return seen;
  });
  assert.deepEqual(durabilities, [["readwrite", "relaxed"]]);
});

test("indexeddb: a vector lies beside its entry, and goes with it", LIMIT, async () => {
  const { page } = await openLayer(browser, server, "indexeddb");
  const row = (key) => ({ key, family: "f", prompt: `prompt of ${key}`, vector: [1, -0.5, 0] });
  await page.evaluate(async (rows) => {
    await cache.put("a", "record");
    await cache.put("b", "record");
    for (const row of rows) await cache.setVector(row);
  }, ["a", "b", "gone"].map(row));
  assert.deepEqual(await page.evaluate(() => cache.vectors()), [row("a"), row("b")]);
  await page.evaluate(() => cache.opened().delete(["a"]));
  assert.deepEqual(await page.evaluate(() => cache.vectors()), [row("b")]);
  await page.evaluate(() => cache.opened().clear());
  assert.deepEqual(await page.evaluate(() => cache.vectors()), []);
});

test("indexeddb: rows that other code has written are deleted and counted", LIMIT, async () => {
  const { page } = await openLayer(browser, server, "indexeddb");
  const found = await page.evaluate(async () => {
    await cache.put("good", "record");
    const wrong = [
      { key: "w1" },
      { ...cache.entry("w2"), lastUsed: NaN },
      { ...cache.entry("w3"), bytes: -1 },
      { ...cache.entry("w4"), tags: "tag" },
      { ...cache.entry("w5"), tags: [5] },
      { ...cache.entry("w6"), expires: "never" },
      { ...cache.entry("w7"), pinned: 1 },
      { ...cache.entry("w8"), kind: "page" },
      { ...cache.entry("w9"), created: Infinity },
      { ...cache.entry("x"), key: 5 },
      { ...cache.entry("x"), key: ["a"] },
    ];
    for (const facts of wrong) {
      await cache.rawPut("entries", facts);
      await cache.rawPut("records", new Uint8Array(3), facts.key);
    }
    const entries = (await cache.entries()).map(({ key }) => key);
    const left = (await cache.rawEntries("records")).map(([key]) => key);
    return { entries, left, told: cache.told.splice(0) };
  });
  assert.deepEqual(found, { entries: ["good"], left: ["good"], told: ["rejected 11"] });

  const records = await page.evaluate(async () => {
    await cache.put("a", "record");
    await cache.rawPut("records", "a text", "a");
    await cache.put("b", "record");
    await cache.rawPut("vectors", { key: "b", family: "f", prompt: "p", vector: Float32Array.of(NaN) });
    return { record: await cache.get("a"), vectors: await cache.vectors(), keys: await cache.keys(), told: cache.told };
  });
  assert.deepEqual(records, { record: null, vectors: [], keys: ["good"], told: ["rejected 1", "rejected 1"] });
});

test("indexeddb: what other code has added to a row stays out", LIMIT, async () => {
  const { page } = await openLayer(browser, server, "indexeddb");
  const [names] = await page.evaluate(async () => {
    await cache.put("a", "record");
    await cache.rawPut("entries", { ...cache.entry("a"), layers: ["memory"], extra: "x".repeat(1000) });
    return (await cache.entries()).map(({ layers, extra }) => ({ layers, extra: extra ?? null }));
  });
  assert.deepEqual(names, { layers: [], extra: null });
});

test("indexeddb: the database of a newer version is left as it is", LIMIT, async () => {
  const { context, page } = await openLayer(browser, server, "indexeddb");
  await page.evaluate(() => cache.put("a", "record"));
  const { page: newer } = await openLayer(context, server, "indexeddb");
  // The first page closes its connection to let the upgrade through.
  await newer.evaluate(async () => (await cache.rawOpen(2)).close());
  const error = await page.evaluate(() => kit.failure(cache.put("b", "record")));
  assert.deepEqual([error?.code, error?.details], ["storage-newer", { found: 2, supported: 1 }]);
  assert.deepEqual(await newer.evaluate(async () => (await cache.rawEntries("records")).map(([key]) => key)), ["a"]);
});

test("indexeddb: a layer whose database was deleted begins anew", LIMIT, async () => {
  const { context, page } = await openLayer(browser, server, "indexeddb");
  await page.evaluate(() => cache.put("a", "record"));
  const { page: tab } = await openLayer(context, server, "indexeddb");
  await tab.evaluate(() => cache.settled(indexedDB.deleteDatabase("test")));
  assert.equal(await page.evaluate(() => cache.get("a")), null);
  await page.evaluate(() => cache.put("b", "record"));
  assert.equal(await tab.evaluate(() => cache.get("b")), "record");
});

for (const kind of ["indexeddb", "localstorage"]) {
  /** A page with room for some megabytes; that of `localStorage` is always so. */
  const openSmall = async () => {
    const opened = await openLayer(browser, server, kind);
    const devtools = await opened.context.newCDPSession(opened.page);
    // Before anything is stored: the browser remembers for a while how much room there is.
    await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(server.url).origin, quotaSize: 8 * MEGABYTE });
    return opened;
  };

  test(`${kind}: where the room ends, what has expired and was used least recently goes`, LIMIT, async () => {
    const { page } = await openSmall();
    const { count, keys, told } = await page.evaluate(async () => {
      let count = 0;
      for (; cache.told.length === 0; count++) {
        const key = `k${String(count).padStart(3, "0")}`;
        await cache.put(key, 1 << 18, { lastUsed: 1_000 + count, pinned: count === 0, expires: count === 7 ? 1 : null });
      }
      return { count, keys: await cache.keys(), told: cache.told };
    });
    const all = Array.from({ length: count }, (_, index) => `k${String(index).padStart(3, "0")}`);
    const gone = all.filter((key) => !keys.includes(key));
    assert.deepEqual(told, [`evicted ${gone.join(" ")}`]);
    const tenth = gone.filter((key) => key !== "k007");
    assert.equal(gone.length, tenth.length + 1);
    assert.deepEqual(tenth, all.slice(1, 1 + tenth.length));
    assert.ok(tenth.length >= 1 && tenth.length <= Math.ceil(count / 10), `${tenth.length} of ${count}`);
  });

  test(`${kind}: where no room can be made, the write fails and what is there stays`, LIMIT, async () => {
    const { page } = await openSmall();
    const { error, keys, read } = await page.evaluate(async () => {
      let error = null;
      for (let count = 0; error === null; count++) {
        error = await kit.failure(cache.put(`k${count}`, 1 << 18, { pinned: true }));
      }
      const keys = await cache.keys();
      const records = await Promise.all(keys.map((key) => cache.opened().get(key)));
      return { error, keys, read: records.every((record) => record.length === 1 << 18) };
    });
    assert.equal(error.code, "storage-full");
    assert.ok(keys.length > 5, String(keys.length));
    assert.equal(read, true);
  });
}

test("localstorage: items that other code has written are deleted and counted, those of other names left", LIMIT, async () => {
  const { page } = await openLayer(browser, server, "localstorage");
  const found = await page.evaluate(async () => {
    const facts = JSON.stringify(cache.entry("x"));
    const items = { a: "", b: "no JSON\nAQ==", c: "null\nAQ==", d: `${facts}\nAQ==`, e: `${JSON.stringify(cache.entry("e"))}\n<b>` };
    for (const [key, item] of Object.entries(items)) localStorage.setItem(`test/${key}`, item);
    localStorage.setItem("test", "mine");
    localStorage.setItem("test2/a", "mine");
    await cache.put("good", "record");
    const entries = (await cache.entries()).map(({ key }) => key).sort();
    const record = await cache.get("e");
    await cache.opened().clear();
    return { entries, record, told: cache.told, left: Object.keys(localStorage).sort() };
  });
  assert.deepEqual(found, { entries: ["e", "good"], record: null, told: ["rejected 4", "rejected 1"], left: ["test", "test2/a"] });
});

test("localstorage: where it is forbidden or missing, that is an error of storage", LIMIT, async () => {
  const { page } = await openLayer(browser, server, "localstorage");
  const codes = await page.evaluate(async () => {
    const attempt = async (get) => {
      Object.defineProperty(globalThis, "localStorage", { configurable: true, get });
      const failures = [cache.get("a"), cache.put("a", "record"), cache.entries(), cache.opened().clear()].map(kit.failure);
      return (await Promise.all(failures)).map((error) => error?.code);
    };
    return [
      await attempt(() => {
        throw new DOMException("not here", "SecurityError");
      }),
      await attempt(() => undefined),
    ];
  });
  assert.deepEqual(codes, Array(2).fill(Array(4).fill("storage-error")));
});
