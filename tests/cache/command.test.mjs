/**
 * The command `cacher` and a real Redis: what is warmed, run, told and deleted
 * through a real Webdis, and through a server with Upstash's interface.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { startRedis, startWebdis } from "../lib/redis.mjs";
import { startUpstash } from "../lib/upstash.mjs";

/** A machine that is busy takes its time; a test that hangs still ends. */
const LIMIT = { timeout: 240_000 };
const PASSWORD = "user:password";
const CLI = fileURLToPath(new URL("../../pkg/dist/cli.js", import.meta.url));
const MODEL = fileURLToPath(new URL("../../www/models/tiny-gpt2/", import.meta.url));
const GENERATION = ["--model", MODEL, "--max-tokens", "8", "--seed", "7"];

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

const LOGIN = { webdis: { CACHER_REDIS_AUTH: PASSWORD }, upstash: { CACHER_REDIS_TOKEN: servers.upstash.token } };

/** Runs the command to its end. */
async function cacher(kind, args, { input = "", env = {} } = {}) {
  const backend = ["--cache-backend", "redis", "--redis-kind", kind, "--redis-url", servers[kind].url];
  const child = spawn(process.execPath, [CLI, ...args, ...backend], { env: { ...process.env, ...LOGIN[kind], ...env } });
  child.stdin.end(input);
  const printed = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].setEncoding("utf8").on("data", (text) => (printed[name] += text));
  const code = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return { code, ...printed };
}

async function json(kind, args, settings) {
  const { code, stdout, stderr } = await cacher(kind, [...args, "--json"], settings);
  assert.deepEqual([code, stderr], [0, ""]);
  return JSON.parse(stdout);
}

for (const kind of Object.keys(servers)) {
  test(`${kind}: what one process has warmed, others have, list and delete`, LIMIT, async () => {
    await redis.command("SET", "another", "program's");
    const warm = ["cache-warm", "-", ...GENERATION, "--tag", "story", "--cache-ttl", "1h"];
    assert.deepEqual(await json(kind, warm, { input: "One\nTwo\n" }), { computed: 2, present: 0, failed: 0 });
    const { cache, model } = await json(kind, ["run", "One", ...GENERATION]);
    assert.deepEqual([cache.hit, cache.layer], ["exact", kind]);
    const ttl = await redis.command("PTTL", `cacher:${cache.key}`);
    assert.ok(ttl > 0 && ttl <= 3_600_000, String(ttl));
    await json(kind, ["run", "Three", ...GENERATION]);

    const { entries, bytes, hits, models, layer } = await json(kind, ["cache-stats"]);
    assert.deepEqual([entries, hits, models], [3, null, [{ model: model.sha256, entries: 3 }]]);
    assert.ok(bytes > 0);
    assert.deepEqual([layer.name, layer.health], [kind, "ok"]);
    const { items, total } = await json(kind, ["cache-list", "--search", "one"]);
    assert.deepEqual([total, items[0].key, items[0].title, items[0].tags, items[0].layers], [1, cache.key, "One", ["story"], [kind]]);
    assert.match((await cacher(kind, ["cache-list"])).stdout, /^([0-9a-f]{12} .*(One|Two|Three)\n){3}$/);

    assert.equal((await cacher(kind, ["cache-clear"])).code, 2);
    assert.deepEqual(await json(kind, ["cache-clear", "--remote", "--tag", "story"]), { deleted: null });
    assert.deepEqual((await json(kind, ["cache-list"])).items.map(({ title }) => title), ["Three"]);
    assert.deepEqual(await json(kind, ["cache-clear", "--remote"]), { deleted: null });
    assert.equal((await json(kind, ["cache-stats"])).entries, 0);
    assert.deepEqual(await redis.command("KEYS", "*"), ["another"]);
  });

  test(`${kind}: where the server refuses access, that is said, and a run computes`, LIMIT, async () => {
    const strangers = { env: { CACHER_REDIS_AUTH: "", CACHER_REDIS_TOKEN: "wrong" } };
    for (const command of ["cache-stats", "cache-list"]) {
      const { code, stdout, stderr } = await cacher(kind, [command], strangers);
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(stderr, /refuses access.*\(http-error\)\n$/);
      assert.doesNotMatch(stderr, /wrong/);
    }
    const { cache } = await json(kind, ["run", "One", ...GENERATION], strangers);
    assert.equal(cache.hit, false);
  });

  test(`${kind}: with a secret, only answers that are signed with it are told`, LIMIT, async () => {
    const team = { env: { CACHER_CACHE_SECRET: "of the team" } };
    await json(kind, ["run", "One", ...GENERATION], team);
    assert.equal((await json(kind, ["cache-stats"], team)).entries, 1);
    assert.equal((await json(kind, ["cache-stats"])).entries, 0);
    assert.equal((await json(kind, ["run", "One", ...GENERATION], team)).cache.hit, "exact");
  });
}
