/** The response cache around functions, with the real wasm module, in Node. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { CacherError, ResponseCache } from "../dist/node.js";

async function open(t, options = {}) {
  const cache = await ResponseCache.open(options);
  t.after(() => cache.close());
  return cache;
}

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function deferred() {
  let settle;
  const promise = new Promise((resolve, reject) => (settle = { resolve, reject }));
  return { promise, ...settle };
}

/** A function that counts its calls and waits to be let go. */
function gate(value = "answer") {
  const gate = { calls: 0, signals: [] };
  gate.open = undefined;
  const opened = new Promise((resolve, reject) => {
    gate.open = resolve;
    gate.fail = reject;
  });
  gate.compute = async ({ signal }) => {
    gate.calls++;
    gate.signals.push(signal);
    await opened;
    return value;
  };
  return gate;
}

test("an answer is computed once and then given from memory", async (t) => {
  const cache = await open(t);
  let calls = 0;
  const compute = () => ({ calls: ++calls });
  const first = await cache.fetch({ q: "a" }, compute);
  const second = await cache.fetch({ q: "a" }, compute);
  assert.deepEqual(first.value, { calls: 1 });
  assert.deepEqual(second.value, { calls: 1 });
  assert.equal(first.cache.hit, false);
  assert.equal(second.cache.hit, "exact");
  assert.equal(second.cache.layer, "memory");
  assert.equal(first.cache.key, second.cache.key);
  const stats = await cache.stats();
  assert.deepEqual([stats.hits.exact, stats.misses, stats.sets], [1, 1, 1]);
});

test("requests that are spelt differently and mean the same have one key", async (t) => {
  const cache = await open(t);
  const { key, json } = await cache.explainKey({ b: 1.0, a: [true, null] });
  assert.equal((await cache.explainKey({ a: [true, null], b: 1 })).key, key);
  assert.equal(json, '{"kind":"value","request":{"a":[true,null],"b":1}}');
  assert.notEqual((await cache.explainKey({ a: [true, null], b: 2 })).key, key);
  await assert.rejects(cache.explainKey({ at: new Date() }), { code: "invalid-argument" });
});

test("values come back as they were given", async (t) => {
  const cache = await open(t, { compressOver: 64 });
  const values = [null, 0, "", "½ 🦀", [1, [2]], { a: { b: [] } }, "long ".repeat(5000), new Uint8Array([0, 255, 128])];
  for (const [i, value] of values.entries()) {
    await cache.set(i, value);
    assert.deepEqual((await cache.get(i)).value, value);
  }
  const { items } = await cache.entries({ search: "6" });
  const long = items.find(({ title }) => title === "6");
  assert.ok(long.bytes < long.rawBytes / 10, `${long.bytes} of ${long.rawBytes}`);
});

test("what JSON cannot hold is given, not kept, and counted", async (t) => {
  const cache = await open(t);
  for (const value of [new Date(0), { at: new Map() }, [undefined], NaN, 1n, () => 1, Symbol("s")]) {
    await assert.rejects(cache.set("x", value), { code: "not-cacheable" });
  }
  const date = new Date(0);
  assert.equal((await cache.fetch("x", () => date)).value, date);
  assert.equal(await cache.get("x"), undefined);
  await later(5);
  assert.equal((await cache.stats()).errors, 1);
});

test("equal requests at the same time are computed once", async (t) => {
  const cache = await open(t);
  const slow = gate();
  const calls = Array.from({ length: 5 }, () => cache.fetch("q", slow.compute));
  await later(20);
  slow.open();
  const answers = await Promise.all(calls);
  assert.equal(slow.calls, 1);
  assert.deepEqual(answers.map(({ value }) => value), Array(5).fill("answer"));
  assert.equal(answers.filter(({ cache }) => cache.shared).length, 4);
  assert.equal((await cache.stats()).shared, 4);
});

test("one waiter's abort is its own; that of the last ends the work", async (t) => {
  const cache = await open(t);
  const slow = gate();
  const [a, b] = [new AbortController(), new AbortController()];
  const first = cache.fetch("q", slow.compute, { signal: a.signal });
  const second = cache.fetch("q", slow.compute, { signal: b.signal });
  await later(10);
  a.abort();
  await assert.rejects(first, { code: "aborted", name: "AbortError" });
  assert.equal(slow.signals[0].aborted, false);
  b.abort();
  await assert.rejects(second, { code: "aborted" });
  assert.equal(slow.signals[0].aborted, true);
  slow.open();
  await later(10);
  assert.equal(await cache.get("q"), undefined);
  assert.equal((await cache.fetch("q", () => "new")).value, "new");
});

test("waiters with one signal end the work together", async (t) => {
  const cache = await open(t);
  const slow = gate();
  const both = new AbortController();
  const calls = [1, 2].map(() => cache.fetch("q", slow.compute, { signal: both.signal }));
  await later(10);
  both.abort();
  for (const call of calls) await assert.rejects(call, { code: "aborted" });
  assert.equal(slow.signals[0].aborted, true);
});

test("who leaves while layers are asked leaves nothing behind", async (t) => {
  const asked = deferred();
  const nothing = async () => undefined;
  const slow = { set: nothing, delete: nothing, clear: nothing, async *keys() {} };
  const gone = deferred();
  slow.get = async () => {
    asked.resolve();
    return gone.promise;
  };
  const cache = await open(t, { layers: [{ kind: "custom", name: "slow", layer: slow }] });
  const stop = new AbortController();
  const first = cache.fetch("q", () => "first", { signal: stop.signal });
  await asked.promise;
  stop.abort();
  await assert.rejects(first, { code: "aborted" });
  gone.resolve(undefined);
  const second = await cache.fetch("q", () => "second");
  assert.deepEqual([second.value, second.cache.shared], ["second", false]);
});

test("an error goes to all who wait, as it is, and is not kept", async (t) => {
  const cache = await open(t);
  const slow = gate();
  const calls = [cache.fetch("q", slow.compute), cache.fetch("q", slow.compute)];
  await later(10);
  const error = new TypeError("no such thing");
  slow.fail(error);
  for (const call of calls) await assert.rejects(call, (thrown) => thrown === error);
  assert.equal((await cache.fetch("q", () => "now")).value, "now");
});

test("modes: off, only, refresh", async (t) => {
  const cache = await open(t);
  let calls = 0;
  const compute = () => ++calls;
  await assert.rejects(cache.fetch("q", compute, { cache: "only" }), { code: "not-cached" });
  assert.equal((await cache.fetch("q", compute, { cache: false })).value, 1);
  assert.equal((await cache.fetch("q", compute)).value, 2);
  assert.equal((await cache.fetch("q", compute, { cache: "only" })).value, 2);
  assert.equal((await cache.fetch("q", compute, { cache: "refresh" })).value, 3);
  assert.equal((await cache.fetch("q", compute, { forceRefresh: true })).value, 4);
  assert.equal((await cache.fetch("q", compute)).value, 4);
  await assert.rejects(cache.fetch("q", compute, { cache: "never" }), { code: "invalid-argument" });
  await assert.rejects(cache.fetch("q", compute, { ttl: 1 }), { code: "invalid-argument", message: /ttl/ });
});

test("an answer expires; stale ones are given while they are computed anew", async (t) => {
  const cache = await open(t, { ttlJitter: 0 });
  let calls = 0;
  const compute = () => ++calls;
  await cache.fetch("q", compute, { cacheTtl: 30 });
  await later(50);
  assert.equal((await cache.fetch("q", compute, { cacheTtl: 30 })).value, 2);
  await cache.configure({ staleMs: 60_000 });
  await later(50);
  const stale = await cache.fetch("q", compute, { cacheTtl: 60_000 });
  assert.deepEqual([stale.value, stale.cache.hit], [2, "stale"]);
  await later(20);
  const fresh = await cache.fetch("q", compute);
  assert.deepEqual([fresh.value, fresh.cache.hit], [3, "exact"]);
  const stats = await cache.stats();
  assert.deepEqual([stats.hits.stale, stats.refreshes], [1, 1]);
});

test("a popular answer is computed anew before it expires, one that was not used is not", async (t) => {
  const cache = await open(t, { earlyRefresh: 100 });
  // So dear that it is due from the first on.
  const dear = { costMs: 1e9, cacheTtl: 600_000 };
  await cache.set("q", "old", dear);
  const ask = () => cache.fetch("q", () => "new");
  assert.equal((await ask()).value, "old");
  assert.equal((await cache.stats()).refreshes, 0);
  const second = await ask();
  assert.deepEqual([second.value, second.cache.hit], ["old", "exact"]);
  let value;
  for (let tries = 0; value !== "new"; tries++) {
    assert.ok(tries < 1_000);
    await later(5);
    value = (await cache.get("q")).value;
  }
  assert.equal((await cache.stats()).refreshes, 1);
});

test("a wrapped function answers from the cache", async (t) => {
  const cache = await open(t);
  let calls = 0;
  const add = cache.wrap((a, b) => (calls++, a + b), { name: "add" });
  assert.deepEqual([await add(1, 2), await add(1, 2), await add(2, 1)], [3, 3, 3]);
  assert.equal(calls, 2);
  const other = cache.wrap((a, b) => a - b, { name: "subtract" });
  assert.equal(await other(1, 2), -1);
  assert.throws(() => cache.wrap(() => 1, {}), { code: "invalid-argument", message: /name/ });
});

test("a stream is kept part by part, and comes back at once or as it came", async (t) => {
  const cache = await open(t);
  let runs = 0;
  async function* compute() {
    runs++;
    for (const part of ["a", { b: 1 }, 3]) {
      await later(15);
      yield part;
    }
  }
  const read = async (options) => {
    const stream = cache.stream("q", compute, options);
    const parts = [];
    for await (const part of stream) parts.push(part);
    return { parts, ...(await stream.result) };
  };
  const first = await read();
  assert.deepEqual(first.parts, ["a", { b: 1 }, 3]);
  const second = await read();
  assert.deepEqual(second.parts, first.parts);
  assert.equal(second.cache.hit, "exact");
  const begun = performance.now();
  const paced = await read({ replay: "recorded" });
  assert.deepEqual(paced.parts, first.parts);
  assert.ok(performance.now() - begun >= 30, "as slow as it was");
  assert.equal(runs, 1);
});

test("a stream that nobody read to its end is not kept", async (t) => {
  const cache = await open(t);
  let ended = false;
  async function* compute() {
    try {
      for (;;) {
        await later(2);
        yield 1;
      }
    } finally {
      ended = true;
    }
  }
  for await (const _ of cache.stream("q", compute)) break;
  await later(30);
  assert.ok(ended, "the function was ended");
  assert.equal((await cache.entries()).total, 0);
});

test("joiners of a stream get its parts from the first on", async (t) => {
  const cache = await open(t);
  async function* compute() {
    for (let i = 0; i < 5; i++) {
      await later(5);
      yield i;
    }
  }
  const first = cache.stream("q", compute);
  await later(12);
  const second = cache.stream("q", compute);
  const parts = [];
  for await (const part of second) parts.push(part);
  assert.deepEqual(parts, [0, 1, 2, 3, 4]);
  assert.equal((await second.result).cache.shared, true);
  assert.deepEqual((await first.result).parts, parts);
});

test("entries are listed, looked into, pinned, deleted and invalidated", async (t) => {
  const cache = await open(t, { maxEntries: 3 });
  for (const [i, tag] of ["x", "y", "x"].entries()) await cache.set({ i }, i, { tags: [tag], costMs: i });
  const { items, total } = await cache.entries({ sort: "cost", order: "asc" });
  assert.deepEqual([total, items.map(({ costMs }) => costMs)], [3, [0, 1, 2]]);
  assert.deepEqual(items[0].layers, ["memory"]);
  const key = items[0].key;
  assert.equal((await cache.entry(key)).value, 0);
  await cache.pin(key);
  for (let i = 10; i < 14; i++) await cache.set({ i }, i);
  assert.equal((await cache.get({ i: 0 })).value, 0);
  assert.equal(await cache.get({ i: 1 }), undefined);
  assert.equal(await cache.invalidate({ tags: ["x"] }), 1);
  assert.equal(await cache.get({ i: 0 }), undefined);
  assert.equal(await cache.delete((await cache.explainKey({ i: 13 })).key), 1);
  await assert.rejects(cache.pin("0".repeat(64)), { code: "not-cached" });
  await assert.rejects(cache.delete("x"), { code: "invalid-argument" });
  await assert.rejects(cache.invalidate({}), { code: "invalid-argument" });
  await cache.clear();
  assert.equal((await cache.entries()).total, 0);
  const { evictions } = await cache.stats();
  assert.equal(evictions.entries, 4);
});

test("events tell what happened", async (t) => {
  const cache = await open(t, { maxEntries: 1 });
  const events = [];
  const stop = cache.subscribe(({ type, hit, reason }) => events.push([type, hit ?? reason].filter(Boolean).join(" ")));
  await cache.fetch("a", () => 1);
  await cache.fetch("a", () => 1);
  await cache.fetch("b", () => 1);
  await later(5);
  stop();
  await cache.clear();
  assert.deepEqual(events, ["miss", "set", "hit exact", "miss", "set", "evict entries"]);
});

test("the console is told of what happened, or of faults alone, or of nothing", async (t) => {
  const lines = [];
  for (const level of ["debug", "warn"]) t.mock.method(console, level, (line) => lines.push(`${level}: ${line.replace(/[0-9a-f]{12}/, "KEY")}`));
  const fault = async () => {
    throw new Error("out of order");
  };
  async function* none() {}
  const layer = { get: async () => undefined, set: fault, delete: fault, keys: none, clear: fault };
  const work = async (logLevel) => {
    const cache = await open(t, { logLevel, maxEntries: 1, layers: [{ kind: "custom", name: "mine", layer }] });
    await cache.fetch("a secret", () => 1);
    await cache.fetch("a secret", () => 1);
    await cache.set("b", 1);
    return lines.splice(0);
  };
  const faults = ["warn: cacher cache: error mine out of order", "warn: cacher cache: health mine out of order"];
  assert.deepEqual(await work("silent"), []);
  assert.deepEqual(await work("error"), faults);
  assert.deepEqual((await work("debug")).sort(), [
    "debug: cacher cache: evict memory KEY 1 entries",
    "debug: cacher cache: hit exact memory KEY",
    "debug: cacher cache: miss KEY",
    "debug: cacher cache: set KEY",
    "debug: cacher cache: set KEY",
    ...faults,
  ]);
});

test("the figures are there for Prometheus, and begin anew", async (t) => {
  const cache = await open(t);
  await cache.fetch("q", () => 1);
  await cache.fetch("q", () => 1);
  const text = await cache.prometheus();
  assert.match(text, /^cacher_cache_hits_total\{kind="exact"\} 1$/m);
  assert.match(text, /^cacher_cache_layer_hits_total\{layer="memory"\} 1$/m);
  const before = await cache.stats();
  assert.deepEqual([before.requests, before.hitRate, before.lookup.count], [2, 0.5, 2]);
  await later(5);
  await cache.resetStats();
  const { since, requests, hits, misses, sets, memory } = await cache.stats();
  assert.deepEqual([requests, hits.total, misses, sets, memory.entries], [0, 0, 0, 0, 1]);
  assert.ok(since > before.since);
  assert.match(await cache.prometheus(), /^cacher_cache_hits_total\{kind="exact"\} 0$/m);
});

test("tags are pinned in place of those before", async (t) => {
  const cache = await open(t, { maxEntries: 2 });
  const there = async () => (await cache.entries({ sort: "created", order: "asc" })).items.map(({ title, pinned }) => [title, pinned]);
  await cache.set("a", 1, { tags: ["keep"] });
  await cache.pinTags(["keep"]);
  for (const name of ["b", "c", "d"]) await cache.set(name, 1);
  assert.deepEqual((await there()).map(String).sort(), ['"a",true', '"d",false']);
  await cache.pinTags(["other"]);
  await cache.set("e", 1);
  assert.deepEqual((await there()).map(String).sort(), ['"d",false', '"e",false']);
});

test("the whole goes into a file and comes back", async (t) => {
  const [here, there] = [await open(t), await open(t)];
  for (let i = 0; i < 20; i++) await here.set({ i }, "v".repeat(i * 100), { tags: ["t"] });
  const file = await here.export();
  assert.equal(await there.import(file), 20);
  assert.equal((await there.get({ i: 7 })).value, "v".repeat(700));
  assert.deepEqual((await there.entries()).items[0].tags, ["t"]);
  const bytes = new Uint8Array(await file.arrayBuffer());
  for (const bad of [bytes.slice(0, -1), bytes.slice(0, 500), bytes.slice(1), new Uint8Array(3)]) {
    await assert.rejects(there.import(new Blob([bad])), { code: "invalid-cache-record" });
  }
  bytes[100] ^= 1;
  await assert.rejects(there.import(new Blob([bytes])), { code: "invalid-cache-record" });
});

test("options that are wrong are named", async (t) => {
  for (const [options, name] of [
    [{ maxEntrys: 1 }, "maxEntrys"],
    [{ maxEntries: 0 }, "maxEntries"],
    [{ ttlMs: -1 }, "ttlMs"],
    [{ ttlJitter: 2 }, "ttlJitter"],
    [{ layers: ["redis"] }, "layers"],
    [{ layers: [{ kind: "webdis", url: "ftp://x" }] }, "url"],
    [{ semantic: { threshold: 7 } }, "threshold"],
    [{ logLevel: "loud" }, "logLevel"],
  ]) {
    await assert.rejects(open(t, options), (error) => error instanceof CacherError && error.code === "invalid-argument" && error.message.includes(name), name);
  }
  const cache = await open(t);
  await assert.rejects(cache.configure({ name: "x" }), { code: "invalid-argument", message: /name/ });
});

test("after close there are no answers", async () => {
  const cache = await ResponseCache.open();
  await cache.close();
  await assert.rejects(cache.get("q"), { code: "disposed" });
});
