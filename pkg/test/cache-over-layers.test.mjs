/** The response cache over layers that fail, lie, or belong to others, in Node. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ResponseCache } from "../dist/node.js";

async function open(t, options = {}) {
  const cache = await ResponseCache.open(options);
  t.after(() => cache.close());
  return cache;
}

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A layer in memory, whose faults are its test's. */
function customLayer() {
  const records = new Map();
  const layer = {
    records,
    broken: false,
    async get(key) {
      if (layer.broken) throw new Error("out of order");
      return records.get(key);
    },
    async set(key, record) {
      if (layer.broken) throw new Error("out of order");
      records.set(key, record.slice());
    },
    async delete(keys) {
      for (const key of keys) records.delete(key);
    },
    async *keys() {
      yield [...records.keys()];
    },
    async clear() {
      records.clear();
    },
  };
  return layer;
}

test("any object with five methods is a layer", async (t) => {
  const layer = customLayer();
  const layers = [{ kind: "custom", name: "mine", layer }];
  const [a, b] = [await open(t, { layers }), await open(t, { layers })];
  await a.set("q", "answer", { tags: ["t"] });
  const { value, cache } = await b.get("q");
  assert.deepEqual([value, cache.layer], ["answer", "mine"]);
  assert.equal((await b.get("q")).cache.layer, "memory");
  assert.equal(await b.invalidate({ tags: ["t"] }), 1);
  assert.equal(layer.records.size, 0);
  for (const bad of [{}, { ...layer, keys: undefined }]) {
    await assert.rejects(open(t, { layers: [{ kind: "custom", name: "mine", layer: bad }] }), { code: "invalid-argument" });
  }
});

test("what other layers have is listed where that is asked for", async (t) => {
  const layer = customLayer();
  const layers = [{ kind: "custom", name: "mine", layer }];
  const [writer, reader] = [await open(t, { layers }), await open(t, { layers })];
  const { key } = await writer.set("both", 1);
  const { key: other } = await writer.set("there", 2, { tags: ["t"], costMs: 7 });
  layer.records.set("f".repeat(64), layer.records.get(key));
  layer.records.set("e".repeat(64), new Uint8Array(9));
  layer.records.set("no key", layer.records.get(key));
  await reader.get("both");
  assert.deepEqual((await reader.entries()).items.map(({ key }) => key), [key]);
  const { items, total } = await reader.entries({ remote: true, sort: "cost" });
  assert.equal(total, 2);
  assert.deepEqual(items.map((entry) => [entry.key, entry.layers]), [[other, ["mine"]], [key, ["memory", "mine"]]]);
  assert.deepEqual([items[0].title, items[0].tags, items[0].hits], ['"there"', ["t"], 0]);
  assert.equal((await reader.entries({ remote: true, search: "there" })).total, 1);
  layer.keys = async function* () {
    throw new Error("out of order");
  };
  await assert.rejects(reader.entries({ remote: true }), /out of order/);
  await assert.rejects(reader.entries({ remote: 1 }), { code: "invalid-argument" });
});

test("the signals of a layer fire with its time, of what has one", async (t) => {
  const signals = {};
  const note = (name) => async (...args) => void (signals[name] = args.at(-1));
  async function* keys(signal) {
    signals.keys = signal;
  }
  const layer = { get: note("get"), set: note("set"), delete: note("delete"), clear: note("clear"), keys };
  const cache = await open(t, { layers: [{ kind: "custom", name: "mine", layer }] });
  await cache.get("q");
  const { key } = await cache.set("q", 1);
  await cache.delete(key);
  await cache.invalidate({ tags: ["t"] });
  await cache.clear({ remote: true });
  const fired = () => Object.entries(signals).map(([name, { aborted }]) => [name, aborted]);
  assert.deepEqual(fired(), ["get", "set", "delete", "keys", "clear"].map((name) => [name, false]));
  await later(2_200);
  assert.deepEqual(fired(), [["get", true], ["set", true], ["delete", true], ["keys", false], ["clear", false]]);
});

test("a layer that fails costs no answer, and its health says so", async (t) => {
  const layer = customLayer();
  const cache = await open(t, { layers: [{ kind: "custom", name: "mine", layer }] });
  layer.broken = true;
  assert.equal((await cache.fetch("q", () => "answer")).value, "answer");
  const [, stats] = (await cache.stats()).layers;
  assert.deepEqual([stats.health, stats.reason, stats.errors], ["down", "out of order", 1]);
  layer.broken = false;
  await later(1_100);
  assert.equal((await cache.fetch("r", () => "answer")).value, "answer");
  assert.equal((await cache.stats()).layers[1].health, "ok");
});

test("a record that is damaged, or under another key, is refused, dropped and counted", async (t) => {
  const layer = customLayer();
  const layers = [{ kind: "custom", name: "mine", layer }];
  const writer = await open(t, { layers });
  const { key } = await writer.set("q", "answer");
  const { key: other } = await writer.set("r", "another");
  const good = layer.records.get(key);
  const damaged = good.slice();
  damaged[damaged.length - 1] ^= 1;
  for (const bad of [damaged, layer.records.get(other), new Uint8Array(0), new Uint8Array(1000)]) {
    layer.records.set(key, bad);
    const reader = await open(t, { layers });
    assert.equal((await reader.fetch("q", () => "computed")).value, "computed");
    const [, stats] = (await reader.stats()).layers;
    assert.equal(stats.rejected, 1);
  }
});

test("a planted value that is no JSON, or no stream, is dropped and computed", async (t) => {
  const layer = customLayer();
  const layers = [{ kind: "custom", name: "mine", layer }];
  const writer = await open(t, { layers });
  const { key } = await writer.set("q", "answer");
  const { key: streamKey } = await writer.explainKey("q", { stream: true });
  // Records whose checksums are right, as who knows the format can make them.
  const { ResponseCacheCore } = await import("../dist/wasm/cacher_wasm.js");
  const settings = { maxEntries: 9, maxBytes: 1e6, ttlMs: 0, ttlJitter: 0, staleMs: 0, earlyRefresh: 0, compressOver: 0, pinnedTags: [], semanticThreshold: 1 };
  const forge = (forgedKey, value) => {
    const core = new ResponseCacheCore(JSON.stringify(settings), Date.now());
    const entry = { key: forgedKey, title: "", kind: "value", model: null, source: "", costMs: 0, tokens: 0, tags: [], ttlMs: 0, semantic: null };
    core.insert(JSON.stringify(entry), value, undefined, Date.now(), 0);
    layer.records.set(forgedKey, core.foundRecord());
    core.free();
  };
  forge(key, "{");
  forge(streamKey, '{"parts":7}');
  const reader = await open(t, { layers });
  assert.equal((await reader.fetch("q", () => "computed")).value, "computed");
  async function* compute() {
    yield "computed";
  }
  assert.deepEqual((await reader.stream("q", compute).result).parts, ["computed"]);
  const again = await open(t, { layers });
  assert.equal((await again.get("q")).value, "computed");
});

test("what is deleted while a layer is down is gone when it is well again", async (t) => {
  const layer = customLayer();
  const layers = [{ kind: "custom", name: "mine", layer }];
  const cache = await open(t, { layers });
  const { key } = await cache.set("q", "answer");
  const failing = layer.delete;
  layer.delete = async () => {
    throw new Error("out of order");
  };
  await cache.delete(key);
  assert.equal(layer.records.size, 1);
  layer.delete = failing;
  assert.equal(await cache.get("q"), undefined);
  await later(1_100);
  assert.equal(await cache.get("q"), undefined);
  await later(10);
  assert.equal(layer.records.size, 0);
});

test("who only looks, computes nothing", async (t) => {
  const cache = await open(t, { ttlJitter: 0, staleMs: 60_000 });
  await cache.fetch("q", () => 1, { cacheTtl: 10 });
  await later(20);
  const looked = await cache.fetch("q", () => assert.fail("computed"), { cache: "only" });
  assert.deepEqual([looked.value, looked.cache.hit], [1, "stale"]);
  await later(10);
  assert.equal((await cache.stats()).refreshes, 0);
});

test("records signed with another secret are neither taken nor deleted", async (t) => {
  const { createServer } = await import("node:http");
  const records = new Map();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const answers = JSON.parse(body).map(([command, key, value]) => {
      if (command === "GET") return { result: records.get(key) ?? null };
      if (command === "SET") records.set(key, value);
      if (command === "UNLINK") records.delete(key);
      return { result: "OK" };
    });
    response.setHeader("content-type", "application/json").end(JSON.stringify(answers));
  }).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const remote = (secret) => ({ layers: [{ kind: "upstash", url: `http://127.0.0.1:${server.address().port}`, ...(secret && { secret }) }] });
  const ours = await open(t, remote("ours"));
  await ours.set("q", "answer");
  assert.equal(records.size, 1);
  const before = [...records];
  for (const secret of ["theirs", undefined]) {
    const other = await open(t, remote(secret));
    assert.equal(await other.get("q"), undefined);
    assert.equal((await other.stats()).layers[1].rejected, 1);
  }
  assert.deepEqual([...records], before);
  const again = await open(t, remote("ours"));
  assert.equal((await again.get("q"))?.value, "answer");
});

test("an import counts what it takes, and gives it to nobody else", async (t) => {
  const layer = customLayer();
  const [here, there] = [await open(t, { ttlJitter: 0 }), await open(t, { layers: [{ kind: "custom", name: "mine", layer }] })];
  await here.set("old", 1, { cacheTtl: 20 });
  await here.set("new", 2);
  const file = await here.export();
  await later(30);
  assert.equal(await there.import(file), 1);
  assert.equal((await there.get("new")).value, 2);
  assert.equal(layer.records.size, 0);
});
