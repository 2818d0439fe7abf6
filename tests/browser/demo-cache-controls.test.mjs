/**
 * The demo's controls of the response cache beside the plain ones: answers
 * are computed ahead, deleted by what they have in common, pinned by tag, and
 * shared through a server that is signed for, only read, or asked for its list.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { serve } from "../../scripts/serve.mjs";
import { startRedis } from "../lib/redis.mjs";
import { startUpstash } from "../lib/upstash.mjs";
import { assertAccessible, assertFits } from "./lib/accessible.mjs";
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

const LIMIT = { timeout: 3 * TIMEOUT_MS };
const SEED = 7;
const RUN = { prompt: "The old lighthouse", seed: SEED, maxTokens: 8 };

const open = async () => openDemo(await browser.newContext(), site.url);

async function setOptions(page, { seed = SEED, maxTokens = 8 } = {}) {
  await page.getByLabel("Seed", { exact: true }).fill(String(seed));
  await page.getByLabel("Max tokens", { exact: true }).fill(String(maxTokens));
}

async function setTags(page, tags) {
  const field = page.getByTestId("request-cache").getByLabel("Tags", { exact: true });
  if (!(await field.isVisible())) await page.getByText("How the answer is kept").click();
  await field.fill(tags);
}

/** The list is read a moment after what changes it. */
const untilListed = (demo, title) => demo.cache.getByTestId("entries").locator("th .open").filter({ hasText: title }).waitFor();

const titles = async (rows) => (await rows.locator("th .open").allTextContents()).sort();

test("answers are computed ahead", LIMIT, async (t) => {
  const { page, demo, problems } = await open();
  await setOptions(page);

  await t.test("without a model: it is loaded, and each prompt is computed", async () => {
    assert.equal(await demo.warm(["A red fox", "Two ships\\nat sea"]), "Warmed: 2 computed, 0 kept already, 0 failed.");
    assert.equal(await demo.status.textContent(), "Warmed: 2 computed, 0 kept already, 0 failed.");
    assert.deepEqual(await titles(await demo.cacheRows(2)), ["A red fox", "Two ships at sea"]);
  });

  await t.test("the same prompt is then answered from memory", async () => {
    await demo.run({ prompt: "A red fox", seed: SEED, maxTokens: 8 });
    assert.equal((await demo.answer()).name, "From memory");
    await demo.run({ prompt: "Two ships\nat sea" });
    assert.equal((await demo.answer()).name, "From memory");
  });

  await t.test("what is kept is not computed again, and a prompt that fails ends nothing", async () => {
    assert.equal(await demo.warm(["A red fox", "word ".repeat(3000), "A blue fox"], 2), "Warmed: 1 computed, 1 kept already, 1 failed.");
  });

  await t.test("where the options are refused, they are marked as for a generation", async () => {
    await (await demo.group("constraint")).getByLabel("The output is", { exact: true }).selectOption("regex");
    await page.getByLabel("Pattern", { exact: true }).fill("(");
    await demo.beginWarming(["A green fox"]);
    await demo.until("error");
    assert.match(await demo.error.textContent(), /Error code: invalid-option/);
    await page.locator('[data-option="constraint.regex"] [aria-invalid="true"]').waitFor();
    await (await demo.group("constraint")).getByLabel("The output is", { exact: true }).selectOption("");
  });

  await t.test("without a seed, “On” finds what was computed ahead", async () => {
    await page.getByLabel("Seed", { exact: true }).fill("");
    assert.equal(await demo.warm(["A grey fox"]), "Warmed: 1 computed, 0 kept already, 0 failed.");
    await demo.useCache("On");
    await demo.run({ prompt: "A grey fox" });
    assert.equal((await demo.answer()).name, "From memory");
    await demo.useCache("As set up");
  });

  await t.test("it is cancelled by the keyboard; what was computed stays", async () => {
    await setOptions(page, { seed: 11, maxTokens: 16 });
    const prompts = Array.from({ length: 1000 }, (_, index) => `Number ${index}`);
    await demo.beginWarming(prompts);
    const progress = page.getByTestId("warm-progress");
    await progress.filter({ hasText: /^\s*[1-9]\d* of 1,000 prompts: [1-9]/ }).waitFor();
    assert.ok(Number(await page.getByLabel(/of 1,000 prompts/).getAttribute("value")) > 0, "the bar has the label");
    await assertAccessible(page);
    await page.getByTestId("warm").getByRole("button", { name: "Cancel" }).focus();
    await page.keyboard.press("Enter");
    await demo.until("ready");
    const [, computed] = /^Stopped by you: ([\d,]+) computed, 0 kept already, 0 failed\.$/.exec(await page.getByTestId("warm-outcome").textContent());
    assert.ok(Number(computed) >= 1 && Number(computed) < 1000, computed);
    await demo.run({ prompt: "Number 0", seed: 11, maxTokens: 16 });
    assert.equal((await demo.answer()).name, "From memory");
    assert.equal((await demo.error.textContent()).trim(), "");
  });

  assert.deepEqual(problems, []);
});

test("entries are invalidated by tag, by age and by model", LIMIT, async (t) => {
  const { page, demo, problems } = await open();
  const form = page.getByTestId("invalidate");
  const submit = form.getByRole("button", { name: "Delete these entries" });
  await setOptions(page);
  await setTags(page, "sea, old");
  await demo.warm(["A ship", "A harbour"]);
  await setTags(page, "land");
  await demo.warm(["A hill", "A road"]);

  await t.test("a tag deletes just those that have it", async () => {
    await demo.cacheRows(4);
    assert.equal(await submit.getAttribute("aria-disabled"), "true", "nothing is typed yet");
    await form.getByLabel("Tags to delete").fill("sea, nobody has this");
    await demo.actOnCache(submit, "Deleted 2 entries.");
    assert.deepEqual(await titles(await demo.cacheRows(2)), ["A hill", "A road"]);
    await form.getByText("Deleted 2 entries.").waitFor();
    await demo.actOnCache(submit, "Deleted 0 entries.");
  });

  await t.test("an age deletes what is older, by the keyboard", async () => {
    await form.getByLabel("Delete by").selectOption("age");
    await form.getByLabel("Older than").fill("an hour");
    await form.getByText("A whole number of seconds.").waitFor();
    await form.getByLabel("Older than").fill("3600");
    await demo.actOnCache(submit, "Deleted 0 entries.");
    await demo.cacheRows(2);
    await page.waitForTimeout(5_000);
    await demo.warm(["A lake"]);
    await demo.cacheRows(3);
    await form.getByLabel("Delete by").selectOption("age");
    await form.getByLabel("Older than").fill("5");
    await page.keyboard.press("Enter");
    await demo.cache.getByTestId("cache-done").filter({ hasText: "Deleted 2 entries." }).waitFor();
    assert.deepEqual(await titles(await demo.cacheRows(1)), ["A lake"]);
  });

  await t.test("the model in use is filled in; another deletes nothing", async () => {
    await demo.warm(["A bridge"]);
    await demo.cacheRows(2);
    await form.getByLabel("Delete by").selectOption("model");
    const model = form.getByLabel("Model to delete");
    assert.match(await model.inputValue(), /^[0-9a-f]{64}$/);
    const own = await model.inputValue();
    await model.fill("0".repeat(64));
    await demo.actOnCache(submit, "Deleted 0 entries.");
    await model.fill(own);
    await demo.actOnCache(submit, "Deleted 2 entries.");
    await demo.cache.getByText("None yet.").waitFor();
  });

  assert.deepEqual(problems, []);
});

test("a pinned tag keeps its entries when room runs short", LIMIT, async () => {
  const { page, demo, problems } = await open();
  const settings = await demo.cacheView("Settings");
  await settings.getByText(/^Where it is kept/).click();
  await settings.getByLabel("On this device").selectOption("nowhere");
  await settings.getByLabel("Most entries", { exact: true }).fill("2");
  await settings.getByLabel("Pinned tags").fill("keep, never");
  await settings.getByLabel("Pinned tags").blur();
  await setTags(page, "keep");
  await demo.run({ ...RUN, prompt: "Keep me" });
  await setTags(page, "");
  for (const prompt of ["One", "Two", "Three"]) await demo.run({ ...RUN, prompt });
  let rows = await demo.cacheRows(2);
  await untilListed(demo, "Three");
  assert.deepEqual(await titles(rows), ["Keep me", "Three"]);
  await rows.getByRole("button", { name: "Pin Keep me" }).and(page.locator('[aria-pressed="true"]')).waitFor();
  await demo.actOnCache(rows.getByRole("button", { name: "Pin Keep me" }), "Still pinned, by its tag");

  // Pinned no longer, it goes as any other.
  await demo.cacheView("Settings");
  await settings.getByLabel("Pinned tags").fill("");
  await demo.actOnCache(settings.getByText("What is kept"), "Applied.");
  for (const prompt of ["Four", "Five"]) await demo.run({ ...RUN, prompt });
  rows = await demo.cacheRows(2);
  await untilListed(demo, "Five");
  assert.deepEqual(await titles(rows), ["Five", "Four"]);
  assert.deepEqual(problems, []);
});

test("a refresh is forced, whatever else is chosen but off", LIMIT, async () => {
  const { page, demo } = await open();
  await demo.run(RUN);
  await page.getByLabel("Force refresh").check();
  await demo.useCache("Only kept answers");
  await demo.run(RUN);
  assert.deepEqual(await demo.answer(), { name: "Computed", facts: "Kept for the next time." });
  await demo.useCache("Off");
  await demo.run(RUN);
  assert.equal((await demo.answer()).facts, "The cache was not asked.");
  await demo.useCache("Only kept answers");
  await page.getByLabel("Force refresh").uncheck();
  await demo.run(RUN);
  assert.equal((await demo.answer()).name, "From memory");
});

test("a server: signed records, read only, its list, and what is remembered of it", LIMIT, async (t) => {
  const openShared = async ({ secret = "", access = "read-write" } = {}) => {
    const opened = await open();
    const { page, demo } = opened;
    const settings = await demo.cacheView("Settings");
    await settings.getByText(/^Where it is kept/).click();
    await settings.getByLabel("Server", { exact: true }).selectOption("upstash");
    await settings.getByLabel("Address of the server").fill(upstash.url);
    await settings.getByLabel("Token").fill(upstash.token);
    await settings.getByLabel("Secret").fill(secret);
    await settings.getByLabel("Access").selectOption(access);
    await settings.getByLabel("Timeout").fill("20000");
    await settings.getByLabel("Timeout").blur();
    return { ...opened, settings, page };
  };
  const kept = () => redis.command("DBSIZE");

  await t.test("read only, nothing is written there", async () => {
    const { demo } = await openShared({ access: "read" });
    await demo.run(RUN);
    assert.equal((await demo.answer()).name, "Computed");
    await demo.page.waitForTimeout(500);
    assert.equal(await kept(), 0);
  });

  await t.test("who has the secret finds what was signed with it; others compute", async () => {
    const writer = await openShared({ secret: "the team's" });
    await writer.demo.run(RUN);
    while ((await kept()) === 0) await writer.page.waitForTimeout(20);
    const reader = await openShared({ secret: "the team's", access: "read" });
    await reader.demo.run(RUN);
    assert.equal((await reader.demo.answer()).name, "Remote, upstash");
    const stranger = await openShared({ secret: "a guess", access: "read" });
    await stranger.demo.run(RUN);
    assert.equal((await stranger.demo.answer()).name, "Computed");
    for (const { problems } of [writer, reader, stranger]) assert.deepEqual(problems, []);
  });

  await t.test("the list has what lies there alone on request, and invalidating reaches it", async () => {
    const { page, demo } = await openShared({ secret: "the team's" });
    await demo.loadModel();
    await demo.cacheRows(0);
    await demo.cache.getByLabel("Also what is on the server alone").check();
    const rows = await demo.cacheRows(1);
    assert.deepEqual(await rows.locator(".layers").allTextContents(), ["upstash"]);
    const form = page.getByTestId("invalidate");
    await form.getByLabel("Delete by").selectOption("age");
    await form.getByLabel("Older than").fill("0");
    await form.getByRole("button", { name: "Delete these entries" }).click();
    await demo.cacheRows(0);
    assert.equal(await kept(), 0);
  });

  await t.test("access and timeout are kept from visit to visit, the secret is not", async () => {
    const { page, demo, settings } = await openShared({ secret: "the team's", access: "read" });
    const field = settings.getByLabel("Secret");
    assert.equal(await field.getAttribute("type"), "password");
    assert.doesNotMatch(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage })), /the team/);
    await page.reload();
    await demo.cacheView("Settings");
    await settings.getByText(/^Where it is kept/).click();
    assert.equal(await field.inputValue(), "");
    assert.equal(await settings.getByLabel("Access").inputValue(), "read");
    assert.equal(await settings.getByLabel("Timeout").inputValue(), "20000");
    await settings.getByLabel("Secret").fill("another");
    await settings.getByRole("button", { name: "Reset settings" }).click();
    await settings.getByLabel("Server", { exact: true }).selectOption("upstash");
    assert.equal(await field.inputValue(), "");
  });
});

test("what is stored has limits and a name, which hold from the next load on", LIMIT, async () => {
  const { page, demo, problems } = await open();
  const settings = await demo.cacheView("Settings");
  await settings.getByText(/^Where it is kept/).click();
  await settings.getByLabel("Most stored entries").fill("none");
  await settings.getByText("Not used: a whole number").waitFor();
  await settings.getByLabel("Most stored entries").fill("1");
  await settings.getByLabel("Clean-up every").fill("1");
  await settings.getByLabel("Name", { exact: true }).fill("another-cache");
  // Memory has no room for the first either.
  await settings.getByLabel("Most entries", { exact: true }).fill("1");
  await settings.getByLabel("Most entries", { exact: true }).blur();
  await demo.run({ ...RUN, prompt: "First" });
  await demo.run({ ...RUN, prompt: "Second" });
  await demo.cacheView("Entries");
  await untilListed(demo, "Second");
  const rows = await demo.cacheRows(1);
  assert.deepEqual(await titles(rows), ["Second"]);
  const databases = await page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name));
  assert.ok(databases.includes("another-cache") && !databases.includes("cacher-answers"), databases.join());
  assert.deepEqual(problems, []);
});

test("warming is accessible and fits every width", LIMIT, async () => {
  const { page, demo } = await open();
  await setOptions(page);
  await demo.warm(["A long prompt ".repeat(20)]);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await assertAccessible(page);
  }
  for (const width of [320, 360, 768, 1280]) await assertFits(page, width);
});
