/**
 * The demo on hosts that send no headers for cross-origin isolation: its
 * service worker sends them from the second visit on, and threads follow.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { serve } from "../../scripts/serve.mjs";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openDemo } from "./lib/demo.mjs";
import { listedFolder, miniModel } from "./lib/models.mjs";
import { DEMO } from "./lib/paths.mjs";
import { startServer } from "./lib/server.mjs";

const browser = await launch();

const isIsolated = (page) => page.evaluate(() => crossOriginIsolated);

/** Until the service worker has taken the page over. */
const untilKept = (page) =>
  page.evaluate(async () => {
    const { serviceWorker } = navigator;
    if (!serviceWorker.controller) await new Promise((resolve) => serviceWorker.addEventListener("controllerchange", resolve));
  });

/** The builds of the engine that are kept for offline use. */
const keptBuilds = (page) =>
  page.evaluate(async () => {
    const requests = await Promise.all((await caches.keys()).map(async (name) => (await caches.open(name)).keys()));
    return requests.flat().flatMap(({ url }) => /cacher_wasm\w*_bg/.exec(url)?.[0] ?? []);
  });

test("a host that sends no headers", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const server = await serve(DEMO, { isolated: false });
  t.after(() => server.close());
  const otherSite = await startServer({
    files: listedFolder("/mini/", miniModel()),
    headers: { "Access-Control-Allow-Origin": "*" },
  });
  t.after(() => otherSite.close());
  const context = await browser.newContext();
  const { page, demo, problems } = await openDemo(context, server.url);
  let visits = 1;
  page.on("framenavigated", () => (visits += 1));
  const cores = await page.evaluate(() => navigator.hardwareConcurrency);
  const run = { prompt: "Once upon a time", seed: 42, maxTokens: 24 };
  let text;

  await t.test("the first visit has one thread and says why", async () => {
    await untilKept(page);
    assert.equal(await isIsolated(page), false);
    const kept = await keptBuilds(page);
    assert.deepEqual(kept, [cores > 1 ? "cacher_wasm_threads_bg" : "cacher_wasm_relaxed_bg"], "one build, not all");
    // Every visit is to compute the text itself.
    await demo.useCache("Off");
    text = await demo.run(run);
    assert.equal(await demo.speed("threads"), "1");
    if (cores > 1) assert.match(await demo.speed("threads-off"), /not cross-origin isolated.*From the next visit on/s);
    assert.ok((await keptBuilds(page)).includes("cacher_wasm_relaxed_bg"), "what was used is kept");
  });

  await t.test("the page never reloads by itself", () => assert.equal(visits, 1));

  await t.test("the second visit is isolated and has threads, with the same text", async () => {
    await page.reload();
    assert.equal(await isIsolated(page), true);
    assert.equal(await demo.run(run), text);
    assert.equal(await demo.speed("threads"), String(Math.min(cores, 8)));
    assert.equal(visits, 2);
  });

  await t.test("models of other sites still load", async () => {
    await page.getByRole("radio", { name: "From an address" }).check();
    await page.getByLabel(/^Address of a/).fill(`${otherSite.url}mini/`);
    await demo.run({ maxTokens: 4 });
    assert.equal((await demo.error.textContent()).trim(), "");
    await demo.until("ready");
    await page.getByRole("radio", { name: "tiny-gpt2" }).check();
  });

  await t.test("a visit without a network is isolated too", async () => {
    await server.close();
    await context.setOffline(true);
    await page.reload();
    assert.equal(await isIsolated(page), true);
    assert.equal(await demo.run(run), text);
    assert.equal(await demo.speed("threads"), String(Math.min(cores, 8)));
  });

  assert.deepEqual(problems.filter((line) => !/ERR_INTERNET_DISCONNECTED/.test(line)), []);
});

test("a host that refuses isolation is obeyed, without reloads or promises", { timeout: TIMEOUT_MS }, async (t) => {
  const server = await serve(DEMO, {
    isolated: false,
    headers: { "Cross-Origin-Opener-Policy": "unsafe-none", "Cross-Origin-Embedder-Policy": "unsafe-none" },
  });
  t.after(() => server.close());
  const { page, demo } = await openDemo(await browser.newContext(), server.url);
  await untilKept(page);
  await page.reload();
  let visits = 0;
  page.on("framenavigated", () => (visits += 1));
  assert.equal(await isIsolated(page), false);
  await demo.run({ prompt: "The old lighthouse", seed: 7, maxTokens: 8 });
  await demo.until("ready");
  assert.equal(await demo.speed("threads"), "1");
  assert.doesNotMatch(await demo.speed("threads-off"), /next visit/);
  assert.equal(visits, 0);
});
