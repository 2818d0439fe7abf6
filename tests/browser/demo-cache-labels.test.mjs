/**
 * Whence an answer of the demo can come, and that it says so: made here, from
 * memory, expired, from a similar prompt, from a server, or stopped.
 * From storage and the rest is in demo-cache.test.mjs.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { serve } from "../../scripts/serve.mjs";
import { startRedis } from "../lib/redis.mjs";
import { startUpstash } from "../lib/upstash.mjs";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openDemo } from "./lib/demo.mjs";
import { DEMO } from "./lib/paths.mjs";

const browser = await launch();
const site = await serve(DEMO);
const redis = await startRedis();
const upstash = await startUpstash(redis);
test.after(async () => {
  for (const each of [upstash, redis, site]) await each.close();
});

const LIMIT = { timeout: 2 * TIMEOUT_MS };
const RUN = { prompt: "The old lighthouse", seed: 7, maxTokens: 8 };

const open = async () => openDemo(await browser.newContext(), site.url);

/** Runs until the answer is called `name`. */
async function runUntil(demo, run, name) {
  do await demo.run(run);
  while ((await demo.answer()).name !== name);
}

test("an expired answer is given as stale while it is computed anew", LIMIT, async () => {
  const { page, demo, problems } = await open();
  const settings = await demo.cacheView("Settings");
  await settings.getByText("Expiry, refreshing").click();
  await settings.getByLabel("Stale for").fill("3600");
  await page.getByText("How the answer is kept").click();
  const kept = page.getByTestId("request-cache").getByLabel("Kept for");
  await kept.fill("1");
  const text = await demo.run(RUN);
  await kept.fill("600");
  await page.waitForTimeout(1_100);
  assert.equal(await demo.run(RUN), text);
  const { name, facts } = await demo.answer();
  assert.equal(name, "Stale, from memory");
  assert.match(facts, /^Made \d+ s ago\. Saved /);
  await runUntil(demo, RUN, "From memory");
  assert.deepEqual(problems, []);
});

test("the answer of a similar prompt says whose it is", LIMIT, async () => {
  const { page, demo, problems } = await open();
  const settings = await demo.cacheView("Settings");
  await settings.getByLabel("Answer prompts that mean the same").check();
  const prompt = "How do I open a tin without an opener?";
  const text = await demo.run({ ...RUN, prompt });
  assert.equal((await demo.answer()).name, "Computed");
  assert.equal(await demo.run({ prompt: "how do I open a tin without an opener" }), text);
  assert.equal((await demo.answer()).name, "Similar prompt, from memory");
  assert.match(await page.getByTestId("matched").textContent(), /^Similarity (0\.\d{3}|1\.000) to “How do I open a tin without an opener\?”$/);
  assert.deepEqual(problems, []);
});

test("an answer of a server says so", LIMIT, async () => {
  const texts = [];
  for (const name of ["Computed", "Remote, upstash"]) {
    const { page, demo, problems } = await open();
    const settings = await demo.cacheView("Settings");
    await settings.getByText(/^Where it is kept/).click();
    await settings.getByLabel("Server", { exact: true }).selectOption("upstash");
    await settings.getByLabel("Address of the server").fill(upstash.url);
    await settings.getByLabel("Token").fill(upstash.token);
    texts.push(await demo.run(RUN));
    assert.equal((await demo.answer()).name, name);
    while ((await redis.command("DBSIZE")) === 0) await page.waitForTimeout(20);
    assert.deepEqual(problems, []);
  }
  assert.equal(texts[0], texts[1]);
});

test("of one that was stopped, nothing is kept", LIMIT, async () => {
  const { demo } = await open();
  await demo.beginLongRun();
  await demo.stop.click();
  await demo.until("ready");
  assert.deepEqual(await demo.answer(), { name: "Computed", facts: "Stopped before its end, so not kept." });
});
