/**
 * Records in a real Redis: through a real Webdis, and through a server with
 * Upstash's interface.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { GuardedLayer } from "../../pkg/dist/cache-layers/guarded.js";
import { RemoteLayer } from "../../pkg/dist/cache-layers/remote.js";
import { Upstash } from "../../pkg/dist/cache-layers/upstash.js";
import { Webdis } from "../../pkg/dist/cache-layers/webdis.js";
import { startRedis, startWebdis } from "../lib/redis.mjs";
import { startUpstash } from "../lib/upstash.mjs";

/** A machine that is busy takes its time; a test that hangs still ends. */
const LIMIT = { timeout: 120_000 };
const never = new AbortController().signal;
const PASSWORD = "user:password";

const redis = await startRedis();
const servers = {
  webdis: await startWebdis(redis, { password: PASSWORD }),
  upstash: await startUpstash(redis),
};
test.after(async () => {
  for (const server of Object.values(servers)) await server.close();
  await redis.close();
});
test.beforeEach(() => redis.command("FLUSHALL"));

const KINDS = {
  webdis: { make: (server) => new Webdis(server), authorization: `Basic ${btoa(PASSWORD)}` },
  upstash: { make: (server) => new Upstash(server), authorization: `Bearer ${servers.upstash.token}` },
};

const entry = (expires = null) => ({ expires });
const bytes = (length) => Uint8Array.from({ length }, (_, at) => (at * 7 + (at >> 8)) % 256);

async function listed(layer) {
  const all = [];
  for await (const keys of layer.keys(never)) all.push(...keys);
  return [...new Set(all)].sort();
}

for (const [kind, { make, authorization }] of Object.entries(KINDS)) {
  const through = (headers) => make({ url: new URL(servers[kind].url), headers, timeoutMs: 30_000 });
  const layerOf = (prefix = "cacher:", headers = { authorization }) => new RemoteLayer(through(headers), prefix);

  test(`${kind}: what is put comes back, whatever its bytes`, LIMIT, async () => {
    const layer = layerOf();
    const records = [bytes(256), bytes(1), bytes(3), bytes(0x6000 * 2 + 1), Uint8Array.of(0, 0, 0), Uint8Array.of(255, 254, 251, 239, 190)];
    for (const [index, record] of records.entries()) await layer.set(`k${index}`, record, entry(), never);
    for (const [index, record] of records.entries()) assert.deepEqual(await layer.get(`k${index}`, never), record);
    assert.equal(await layer.get("another", never), undefined);
    assert.equal(await redis.command("PTTL", "cacher:k0"), -1);
  });

  test(`${kind}: a record of a mebibyte comes back`, LIMIT, async () => {
    const layer = layerOf();
    const record = bytes(1 << 20);
    await layer.set("large", record, entry(), never);
    assert.deepEqual(await layer.get("large", never), record);
  });

  test(`${kind}: a record is put in place of what is there, with its time`, LIMIT, async () => {
    const layer = layerOf();
    await layer.set("k", bytes(3), entry(Date.now() + 60_000), never);
    await layer.set("k", bytes(4), entry(), never);
    assert.deepEqual(await layer.get("k", never), bytes(4));
    assert.equal(await redis.command("PTTL", "cacher:k"), -1);
  });

  test(`${kind}: Redis deletes a record when it expires`, LIMIT, async () => {
    const layer = layerOf();
    await layer.set("long", bytes(3), entry(Date.now() + 60_000), never);
    const left = await redis.command("PTTL", "cacher:long");
    assert.ok(left > 0 && left <= 60_000, `${left} ms`);
    await layer.set("short", bytes(3), entry(Date.now() + 50), never);
    while ((await redis.command("EXISTS", "cacher:short")) !== 0) await delay(20);
    assert.equal(await layer.get("short", never), undefined);
    assert.deepEqual(await listed(layer), ["long"]);
  });

  test(`${kind}: of 10,000 keys all are listed and cleared, and no other is touched`, LIMIT, async () => {
    const names = Array.from({ length: 10_000 }, (_, index) => `k${String(index).padStart(5, "0")}`);
    const others = Array.from({ length: 500 }, (_, index) => `other:${index}`);
    const similar = ["cacher", "cacher;x", "xcacher:x", "CACHER:x"];
    const all = [...names.map((name) => `cacher:${name}`), ...others, ...similar];
    await redis.command("MSET", ...all.flatMap((name) => [name, "AQ=="]));
    const layer = layerOf();
    assert.deepEqual(await listed(layer), names);
    await layer.delete(names.slice(0, 2_500), never);
    assert.deepEqual(await listed(layer), names.slice(2_500));
    await layer.clear(never);
    assert.deepEqual((await redis.command("KEYS", "*")).sort(), [...others, ...similar].sort());
    assert.deepEqual(await listed(layer), []);
  });

  for (const prefix of ["a*b:", "a?b:", "a[bc]:", "a\\b:", "[^a]:", "a.b/c%2F d+:", "ü→😀:"]) {
    test(`${kind}: the prefix ${prefix} means itself alone`, LIMIT, async () => {
      const others = ["axb:1", "ab:1", "a:1", "a\\\\b:1", "x:1", "a.b", "a.b/c/ d+:1"];
      await redis.command("MSET", ...others.flatMap((name) => [name, "AQ=="]));
      const layer = layerOf(prefix);
      await layer.set("k.json", bytes(9), entry(), never);
      assert.equal(await redis.command("EXISTS", `${prefix}k.json`), 1);
      assert.deepEqual(await layer.get("k.json", never), bytes(9));
      assert.deepEqual(await listed(layer), ["k.json"]);
      await layer.clear(never);
      assert.deepEqual((await redis.command("KEYS", "*")).sort(), others.sort());
    });
  }

  test(`${kind}: what others have put there is no record`, LIMIT, async () => {
    const layer = layerOf();
    await redis.command("SET", "cacher:page", "<b>hello</b>");
    await redis.command("RPUSH", "cacher:list", "a", "b");
    await redis.command("HSET", "cacher:hash", "a", "b");
    for (const key of ["page", "list", "hash"]) await assert.rejects(layer.get(key, never), { code: "invalid-cache-record" });
    assert.deepEqual(await listed(layer), ["hash", "list", "page"]);
  });

  test(`${kind}: where Redis has no memory left, what is there is still read`, LIMIT, async (t) => {
    const layer = layerOf();
    await layer.set("k", bytes(9), entry(), never);
    t.after(() => redis.command("CONFIG", "SET", "maxmemory", "0"));
    await redis.command("CONFIG", "SET", "maxmemory", "1");
    await assert.rejects(layer.set("k2", bytes(9), entry(), never), { code: "storage-full" });
    assert.deepEqual(await layer.get("k", never), bytes(9));
  });

  for (const [what, headers] of [["no", {}], ["a wrong", { authorization: "Bearer wrong-token" }]]) {
    test(`${kind}: with ${what} token the layer is down, and says so without it`, LIMIT, async () => {
      const guarded = guard(layerOf("cacher:", headers)).layer;
      assert.equal(await guarded.get("k", never), undefined);
      assert.equal(guarded.health.health, "down");
      assert.match(guarded.health.reason, /refuses access \(status 40[13]\)/);
      assert.doesNotMatch(guarded.health.reason, /wrong-token/);
    });
  }

  test(`${kind}: while Redis is away there are misses, and it is found again`, LIMIT, async () => {
    const { layer, clock, told } = guard(layerOf());
    await layer.set("k", bytes(9), entry(), never);
    assert.deepEqual(await layer.get("k", never), bytes(9));
    await redis.stop();
    try {
      for (let trial = 0; trial < 3; trial++) {
        assert.equal(await layer.get("k", never), undefined);
        assert.equal(await layer.set("k", bytes(9), entry(), never), false);
        assert.equal(layer.health.health, "down");
        clock.now = layer.health.retryAt;
      }
    } finally {
      await redis.start();
    }
    // Webdis finds Redis again in its own time.
    while (layer.health.health === "down") {
      assert.equal(await layer.get("k", never), undefined);
      clock.now = layer.health.retryAt ?? clock.now;
      await delay(20);
    }
    assert.equal(await layer.set("k", bytes(9), entry(), never), true);
    assert.deepEqual(await layer.get("k", never), bytes(9));
    assert.deepEqual(told, ["down", "ok"]);
  });
}

/** A guard with a clock that is set by hand. */
function guard(remote) {
  const clock = { now: 0 };
  const told = [];
  const layer = new GuardedLayer(remote, {
    timeoutMs: null,
    writable: true,
    observe: () => undefined,
    onhealth: (health) => told.push(health),
    now: () => clock.now,
  });
  return { layer, clock, told };
}
