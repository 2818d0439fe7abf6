/**
 * Answers that browsers, Node and the command share through a real Redis:
 * behind a real Webdis, and behind a server with Upstash's interface.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import test from "node:test";
import { Cacher } from "../../pkg/dist/node.js";
import { startRedis, startWebdis } from "../lib/redis.mjs";
import { startUpstash } from "../lib/upstash.mjs";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { ask, computed, FRESH, generate, layerStats, openCache, openModel, OPTIONS, origin, PROMPT, untilTold } from "./lib/cached.mjs";
import { POLICY, serveLibrary } from "./lib/library.mjs";
import { MODELS, PACKAGE } from "./lib/paths.mjs";
import { waitUntil } from "./lib/wait.mjs";

const PASSWORD = "user:password";
const LIMIT = { timeout: TIMEOUT_MS };

/** Two that have nothing in common but the servers. */
const browsers = [await launch(), await launch()];
const redis = await startRedis();
const servers = { webdis: await startWebdis(redis, { password: PASSWORD }), upstash: await startUpstash(redis) };
const policy = `${POLICY}; connect-src 'self' ${servers.webdis.url} ${servers.upstash.url}`;
const site = await serveLibrary({ headers: { "Content-Security-Policy": policy } });
test.after(async () => {
  for (const each of [site, servers.upstash, servers.webdis, redis]) await each.close();
});
test.beforeEach(() => redis.command("FLUSHALL"));

const AUTHORIZATION = { webdis: `Basic ${btoa(PASSWORD)}`, upstash: `Bearer ${servers.upstash.token}` };
const LOGIN = { webdis: { CACHER_REDIS_AUTH: PASSWORD }, upstash: { CACHER_REDIS_TOKEN: servers.upstash.token } };

/** Memory, and Redis behind it. On a busy machine a server that lives may take its time. */
const behind = (kind, options = {}) => ({
  layers: [{ kind, url: servers[kind].url, headers: { Authorization: AUTHORIZATION[kind] }, timeoutMs: 30_000, ...options }],
});

const stored = (key) => redis.command("GET", `cacher:${key}`);
const untilInRedis = (key) => waitUntil(async () => (await redis.command("EXISTS", `cacher:${key}`)) === 1);
const keysInRedis = async () => (await redis.command("KEYS", "*")).sort();

/** Runs `cacher run` to its end; what it says in JSON. */
async function runCommand(kind, prompt, options) {
  const given = ["--max-tokens", options.maxTokens, "--seed", options.seed, "--temperature", options.temperature].map(String);
  const cache = ["--cache-backend", "redis", "--redis-kind", kind, "--redis-url", servers[kind].url];
  const args = [join(PACKAGE, "cli.js"), "run", prompt, "--model", join(MODELS, "tiny-gpt2"), ...given, ...cache, "--json"];
  const child = spawn(process.execPath, args, { env: { ...process.env, ...LOGIN[kind] }, timeout: TIMEOUT_MS });
  const printed = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].setEncoding("utf8").on("data", (text) => (printed[name] += text));
  const code = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  assert.deepEqual([code, printed.stderr], [0, ""]);
  return JSON.parse(printed.stdout);
}

/** The answer of a model in this process. */
async function generateInNode(t, kind, prompt, options) {
  const cacher = await Cacher.load({ model: join(MODELS, "tiny-gpt2", "model.q8_0.gguf"), cache: behind(kind), states: { persist: false } });
  t.after(() => cacher.dispose());
  const { text, cache } = await cacher.generate(prompt, options).result;
  return { text, cache };
}

const flipped = (bytes) => bytes.map((byte, at) => (at === bytes.length - 9 ? byte ^ 4 : byte));

for (const kind of ["webdis", "upstash"]) {
  test(`${kind}: what one browser has computed, another has`, LIMIT, async () => {
    const { page, problems } = await openModel(browsers[0], site, behind(kind));
    const first = await generate(page);
    assert.deepEqual(origin(first), FRESH);
    await untilInRedis(first.cache.key);

    const { page: other, problems: others } = await openModel(browsers[1], site, behind(kind));
    const answers = [await generate(other), await generate(other)];
    assert.deepEqual(answers.map(origin), [["exact", kind], ["exact", "memory"]]);
    for (const { text, tokens, chunks, evaluated } of answers) {
      assert.deepEqual([text, tokens, chunks, evaluated], [first.text, first.tokens, first.chunks, 0]);
    }
    const { hits, sets, entries } = await layerStats(other, kind);
    assert.deepEqual([hits, sets, entries], [1, 0, null]);
    assert.deepEqual([...problems, ...others], []);
  });

  test(`${kind}: what a browser has computed, Node and the command have`, LIMIT, async (t) => {
    const { page } = await openModel(browsers[0], site, behind(kind));
    const first = await generate(page);
    await untilInRedis(first.cache.key);
    for (const { text, cache } of [await generateInNode(t, kind, PROMPT, OPTIONS), await runCommand(kind, PROMPT, OPTIONS)]) {
      assert.deepEqual([cache.key, cache.hit, cache.layer, text], [first.cache.key, "exact", kind, first.text]);
    }
  });

  test(`${kind}: what Node or the command has computed, a browser has`, LIMIT, async (t) => {
    const command = await runCommand(kind, PROMPT, OPTIONS);
    assert.deepEqual(origin(command), FRESH);
    const other = { ...OPTIONS, seed: 8 };
    const node = await generateInNode(t, kind, PROMPT, other);
    await untilInRedis(node.cache.key);
    const { page } = await openModel(browsers[0], site, behind(kind));
    const answers = [await generate(page), await generate(page, PROMPT, other)];
    assert.deepEqual(answers.map(({ text, cache }) => [cache.hit, cache.layer, text]), [
      ["exact", kind, command.text],
      ["exact", kind, node.text],
    ]);
    // And it is what it would have computed.
    assert.equal((await generate(page, PROMPT, { ...OPTIONS, cache: false })).text, command.text);
  });

  test(`${kind}: the server drops an answer when it expires`, LIMIT, async () => {
    const { page } = await openCache(browsers[0], site, behind(kind));
    const { cache } = await ask(page, "short-lived", { cacheTtl: 2_000 });
    const { cache: kept } = await ask(page, "for ever");
    await untilInRedis(cache.key);
    await untilInRedis(kept.key);
    const ttl = await redis.command("PTTL", `cacher:${cache.key}`);
    assert.ok(ttl > 0 && ttl <= 2_000, String(ttl));
    assert.equal(await redis.command("PTTL", `cacher:${kept.key}`), -1);
    await waitUntil(async () => (await redis.command("EXISTS", `cacher:${cache.key}`)) === 0);
    const { page: other } = await openCache(browsers[1], site, behind(kind));
    assert.deepEqual([origin(await ask(other, "short-lived")), origin(await ask(other, "for ever"))], [FRESH, ["exact", kind]]);
  });

  const POISON = {
    "what is no base64": () => "<script>",
    "bytes that are no record": () => Buffer.from("answers of somebody else").toString("base64"),
    "a record with a flipped bit": (record) => Buffer.from(flipped(Buffer.from(record, "base64"))).toString("base64"),
    "the record of another request": (_, other) => other,
  };

  test(`${kind}: poisoned values are refused, and computed and kept anew`, LIMIT, async (t) => {
    const { page } = await openModel(browsers[0], site, behind(kind));
    const first = await generate(page);
    const another = await generate(page, "Once upon a time");
    await untilInRedis(first.cache.key);
    await untilInRedis(another.cache.key);
    const [record, others] = [await stored(first.cache.key), await stored(another.cache.key)];
    for (const [what, poison] of Object.entries(POISON)) {
      await t.test(what, async () => {
        const planted = poison(record, others);
        await redis.command("SET", `cacher:${first.cache.key}`, planted);
        const { context, page: victim } = await openModel(browsers[1], site, behind(kind));
        const second = await generate(victim);
        assert.deepEqual([origin(second), second.text], [FRESH, first.text]);
        assert.equal((await layerStats(victim, kind)).rejected, 1);
        await untilTold(victim, { type: "error", layer: kind });
        await waitUntil(async () => ![null, planted].includes(await stored(first.cache.key)));
        await context.close();

        const { context: third, page: next } = await openModel(browsers[1], site, behind(kind));
        const again = await generate(next);
        assert.deepEqual([origin(again), again.text], [["exact", kind], first.text]);
        await third.close();
      });
    }
  });

  test(`${kind}: with a secret, answers of who does not know it are refused`, LIMIT, async () => {
    const { page: stranger } = await openCache(browsers[0], site, behind(kind));
    const { value, cache } = await ask(stranger, "q");
    await untilInRedis(cache.key);
    const planted = await stored(cache.key);

    const signing = behind(kind, { secret: "of the team" });
    const { page } = await openCache(browsers[1], site, signing);
    assert.deepEqual(origin(await ask(page, "q")), FRESH);
    assert.deepEqual(await computed(page), ["q"]);
    assert.equal((await layerStats(page, kind)).rejected, 1);
    await waitUntil(async () => ![null, planted].includes(await stored(cache.key)));

    const { page: colleague } = await openCache(browsers[0], site, signing);
    const shared = await ask(colleague, "q");
    assert.deepEqual([origin(shared), shared.value], [["exact", kind], value]);
    const { page: other } = await openCache(browsers[0], site, behind(kind, { secret: "of others" }));
    assert.deepEqual(origin(await ask(other, "q")), FRESH);
  });

  test(`${kind}: a server that stops in the middle of a run takes no answer, and is found again`, LIMIT, async () => {
    const { page } = await openModel(browsers[0], site, behind(kind, { timeoutMs: 1_000 }));
    const expected = await generate(page, PROMPT, { ...OPTIONS, maxTokens: 200, cache: false });
    await page.evaluate(
      async ([prompt, options]) => {
        globalThis.generation = cacher.generate(prompt, options);
        globalThis.chunks = generation[Symbol.asyncIterator]();
        await chunks.next();
      },
      [PROMPT, { ...OPTIONS, maxTokens: 200 }],
    );
    await redis.stop();
    try {
      assert.equal(await page.evaluate(async () => (await generation.result).text), expected.text);
      await untilTold(page, { type: "health", layer: kind });
      const { health, reason, retryAt } = await layerStats(page, kind);
      assert.equal(health, "down");
      assert.ok(reason.length > 0 && retryAt > 0, `${reason} ${retryAt}`);
      assert.deepEqual(origin(await generate(page, PROMPT, { ...OPTIONS, maxTokens: 200 })), ["exact", "memory"]);
      assert.deepEqual(origin(await generate(page)), FRESH);
    } finally {
      await redis.start();
    }
    let seed = 100;
    await waitUntil(async () => {
      await generate(page, PROMPT, { ...OPTIONS, maxTokens: 1, seed: seed++ });
      return (await layerStats(page, kind)).health === "ok";
    });
    const after = await generate(page, "Once upon a time");
    await untilInRedis(after.cache.key);
    const { page: other } = await openModel(browsers[1], site, behind(kind));
    assert.deepEqual(origin(await generate(other, "Once upon a time")), ["exact", kind]);
  });

  test(`${kind}: deletions reach the server; clearing does where it is told to, and takes nothing of others`, LIMIT, async () => {
    await redis.command("SET", "cacher-not", "of another program");
    const { page } = await openCache(browsers[0], site, behind(kind));
    const { page: other } = await openCache(browsers[1], site, behind(kind));
    const keys = {};
    for (const request of ["delete", "invalidate", "clear"]) {
      const { cache } = await ask(page, request, { tags: [request] });
      await untilInRedis(cache.key);
      keys[request] = cache.key;
    }
    await page.evaluate((key) => cache.delete(key), keys.delete);
    // By one who has it neither in memory nor on the device.
    await other.evaluate(() => cache.invalidate({ tags: ["invalidate"] }));
    assert.deepEqual(await keysInRedis(), ["cacher-not", `cacher:${keys.clear}`]);
    await page.evaluate(() => cache.clear());
    assert.deepEqual(origin(await ask(page, "clear")), ["exact", kind]);
    await page.evaluate(() => cache.clear({ remote: true }));
    assert.deepEqual(await keysInRedis(), ["cacher-not"]);
  });

  test(`${kind}: who may only read writes nothing`, LIMIT, async () => {
    const { page } = await openCache(browsers[0], site, behind(kind));
    const { cache } = await ask(page, "there");
    await untilInRedis(cache.key);
    const { page: reader } = await openCache(browsers[1], site, behind(kind, { access: "read" }));
    assert.deepEqual([origin(await ask(reader, "there")), origin(await ask(reader, "not there"))], [["exact", kind], FRESH]);
    // Resolves once it is in all layers that take it.
    await reader.evaluate(() => cache.set("another", 1));
    await reader.evaluate(() => cache.clear({ remote: true }));
    assert.deepEqual(await keysInRedis(), [`cacher:${cache.key}`]);
  });
}

test("behind storage on the device, a shared answer is kept there too", LIMIT, async () => {
  const { page } = await openCache(browsers[0], site, behind("webdis"));
  const { cache } = await ask(page, "q");
  await untilInRedis(cache.key);
  const { page: other } = await openCache(browsers[1], site, { layers: ["indexeddb", ...behind("webdis").layers] });
  assert.deepEqual(origin(await ask(other, "q")), ["exact", "webdis"]);
  await waitUntil(() => other.evaluate(async () => (await cached.rawEntries("records")).length === 1));
  await redis.command("FLUSHALL");
  const { page: tab } = await openCache(other.context(), site, { layers: ["indexeddb", ...behind("webdis").layers] });
  assert.deepEqual(origin(await ask(tab, "q")), ["exact", "indexeddb"]);
});
