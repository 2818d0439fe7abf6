/**
 * The cache's remote layers from a page, whose origin is another than that of
 * the servers: a real Webdis, and one with Upstash's interface.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { startRedis, startWebdis } from "../lib/redis.mjs";
import { startUpstash } from "../lib/upstash.mjs";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, POLICY, serveLibrary } from "./lib/library.mjs";

const PASSWORD = "user:password";
const browser = await launch();
const redis = await startRedis();
const webdis = await startWebdis(redis, { password: PASSWORD });
const upstash = await startUpstash(redis);
const policy = `${POLICY}; connect-src 'self' ${webdis.url} ${upstash.url}`;
const server = await serveLibrary({ headers: { "Content-Security-Policy": policy } });
test.after(async () => {
  for (const each of [server, upstash, webdis, redis]) await each.close();
});

const OPTIONS = {
  webdis: { url: webdis.url, headers: { Authorization: `Basic ${btoa(PASSWORD)}` } },
  upstash: { url: upstash.url, headers: { Authorization: `Bearer ${upstash.token}` } },
};

/** A page with `remote`, the layer of these options, as a global. */
async function openRemote(options) {
  const opened = await openLibrary(browser, server);
  await opened.page.evaluate(async (options) => {
    const { openLayers } = await import("/pkg/cache-layers/open.js");
    const { planLayers } = await import("/pkg/cache-layers/plan.js");
    const ignore = () => undefined;
    const watch = { observe: ignore, onhealth: ignore, onrejected: ignore, onevicted: ignore };
    const [{ layer }] = openLayers(planLayers([{ timeoutMs: 30_000, ...options }]), { cacheName: "test", askPage: ignore, ...watch });
    const never = new AbortController().signal;
    globalThis.remote = {
      health: () => layer.health.health,
      set: (key, bytes) => layer.set(key, Uint8Array.from(bytes), { expires: null }, never),
      get: async (key) => Array.from((await layer.get(key, never)) ?? []),
      keys: async () => {
        const all = [];
        for await (const keys of layer.keys(never)) all.push(...keys);
        return all.sort();
      },
      clear: () => layer.clear(never),
    };
  }, options);
  return opened;
}

for (const [kind, options] of Object.entries(OPTIONS)) {
  test(`${kind}: what one browser puts, another has`, { timeout: TIMEOUT_MS }, async () => {
    const [{ page, problems }, { page: other }] = [await openRemote({ kind, ...options }), await openRemote({ kind, ...options })];
    const record = Array.from({ length: 70_000 }, (_, index) => index % 256);
    assert.equal(await page.evaluate((record) => remote.set("a.b/c", record), record), true);
    assert.equal(await page.evaluate(() => remote.set("second", [1])), true);
    assert.deepEqual(await other.evaluate(() => remote.get("a.b/c")), record);
    assert.deepEqual(await other.evaluate(() => remote.keys()), ["a.b/c", "second"]);
    await other.evaluate(() => remote.clear());
    assert.deepEqual(await page.evaluate(() => remote.get("a.b/c")), []);
    assert.deepEqual(problems, []);
  });

  test(`${kind}: without its token the layer is down, and the page goes on`, { timeout: TIMEOUT_MS }, async () => {
    const { page } = await openRemote({ kind, url: options.url });
    assert.deepEqual(await page.evaluate(async () => [await remote.get("a"), remote.health()]), [[], "down"]);
  });
}
