/**
 * The demo's response cache as a visitor works it: an answer is computed once
 * and says afterwards where it comes from, its figures are drawn, and what is
 * kept can be found, read, pinned, deleted, carried over by file and cleared.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { serve } from "../../scripts/serve.mjs";
import { assertAccessible, assertFits } from "./lib/accessible.mjs";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openDemo } from "./lib/demo.mjs";
import { DEMO } from "./lib/paths.mjs";

const browser = await launch();
const folder = mkdtempSync(join(tmpdir(), "cacher-answers-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

const RUN = { prompt: "The old lighthouse", seed: 7, maxTokens: 16 };
const KEPT = "Kept for the next time.";

test("the response cache", { timeout: 4 * TIMEOUT_MS }, async (t) => {
  const server = await serve(DEMO);
  t.after(() => server.close());
  const { page, demo, problems } = await openDemo(await browser.newContext(), server.url);
  const { cache } = demo;
  const figure = (id, value) => cache.getByTestId(id).filter({ hasText: value }).waitFor();
  const row = (title) => cache.getByTestId("entries").locator("tbody tr").filter({ hasText: title });
  const inspect = async (title) => {
    await row(title).getByRole("button", { name: `Inspect ${title}` }).click();
    return page.getByTestId("entry");
  };
  const search = (text) => cache.getByRole("searchbox").fill(text);
  let text;
  let exported;

  await t.test("before a model is loaded, the panel says what is missing, and the settings are there", async () => {
    await cache.getByText("Kept answers are shown once a model is loaded").waitFor();
    await (await demo.cacheView("Settings")).getByLabel("Most entries").waitFor();
    await demo.cacheView("Figures");
  });

  await t.test("the first answer is computed, the second comes from memory and is the same", async () => {
    text = await demo.run(RUN);
    assert.deepEqual(await demo.answer(), { name: "Computed", facts: KEPT });
    const speed = await page.getByTestId("tokens-per-second").textContent();
    assert.equal(await demo.run(RUN), text);
    const { name, facts } = await demo.answer();
    assert.equal(name, "From memory");
    assert.match(facts, /^Made .+ ago\. Saved [\d.]+ (µs|ms|s)\.$/);
    assert.equal(await demo.output.textContent(), RUN.prompt + text);
    assert.equal(await page.getByTestId("tokens-per-second").textContent(), speed, "a kept answer says nothing of the engine's speed");
  });

  await t.test("the figures say what that saved, in numbers, drawn and as a table", async () => {
    await demo.cacheView("Figures");
    await figure("hits", /^1$/);
    await figure("misses", /^1$/);
    await figure("hit-rate", /^50\.0 %$/);
    await figure("tokens-saved", /^16$/);
    assert.ok(parseFloat(await cache.getByTestId("time-saved").textContent()) > 0);
    assert.deepEqual(await cache.getByTestId("layers").locator("tbody th").allTextContents(), ["memory", "IndexedDB"]);
    const plot = cache.getByTestId("cache-plot");
    await plot.locator("svg").nth(1).waitFor();
    for (const words of ["Hit rate (%)", "Time saved (s)"]) await plot.getByText(words).waitFor();
    assert.match(await plot.getAttribute("aria-label"), /^Hit rate from 0 % to 50\.0 %, time saved from /);
    await cache.getByText("As a table").click();
    await cache.getByRole("row").filter({ hasText: /50\.0 %/ }).first().waitFor();
  });

  await t.test("the entry is in the table and can be read in full, its text as text", async () => {
    const rows = await demo.cacheRows(1);
    await rows.getByText("memory, IndexedDB").waitFor();
    const dialog = await inspect(RUN.prompt);
    assert.equal(await dialog.getByTestId("entry-value").textContent(), text);
    const request = JSON.parse(await dialog.getByTestId("entry-request").textContent());
    assert.match(JSON.stringify(request), /"temperature":0\.7/);
    assert.match(await dialog.textContent(), /Key\s*[0-9a-f]{64}/);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    const focused = await page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    assert.equal(focused, `Inspect ${RUN.prompt}`, "the keyboard is back where it was");
  });

  await t.test("a search finds an entry by a word of its request", async () => {
    await search("no request has this");
    await cache.getByText("No entry has that.").waitFor();
    await search("LIGHTHOUSE");
    await demo.cacheRows(1);
    await search("");
  });

  await t.test("after a reload the answer comes from storage", async () => {
    await page.reload();
    assert.equal(await demo.run(RUN), text);
    assert.equal((await demo.answer()).name, "Stored in IndexedDB");
    assert.equal(await demo.run(RUN), text);
    assert.equal((await demo.answer()).name, "From memory");
  });

  await t.test("switched off, the cache is not asked", async () => {
    await demo.useCache("Off");
    assert.equal(await demo.run(RUN), text);
    assert.deepEqual(await demo.answer(), { name: "Computed", facts: "The cache was not asked." });
  });

  await t.test("only kept answers: one that is not there is a failure in words", async () => {
    await demo.useCache("Only kept answers");
    assert.equal(await demo.run(RUN), text);
    assert.equal((await demo.answer()).name, "From memory");
    await demo.run({ seed: 8 });
    assert.match(await demo.error.textContent(), /Error code: not-cached/);
  });

  await t.test("computed anew, the answer takes the place of what is there", async () => {
    await demo.useCache("Compute anew");
    assert.equal(await demo.run(RUN), text);
    assert.deepEqual(await demo.answer(), { name: "Computed", facts: KEPT });
    await demo.cacheRows(1);
    await demo.useCache("As set up");
  });

  await t.test("tags and a time to live are kept with the answer", async () => {
    await page.getByText("How the answer is kept").click();
    await page.getByLabel("Tags", { exact: true }).fill("sea, stories");
    await page.getByTestId("request-cache").getByLabel("Kept for").fill("7200");
    await demo.run({ prompt: "A cat", seed: 9 });
    await demo.cacheRows(2);
    assert.deepEqual(await row("A cat").locator(".tag").allTextContents(), ["sea", "stories"]);
    assert.match(await row("A cat").textContent(), /in 1 h/);
    await search("stories");
    await demo.cacheRows(1);
    await search("");
    await demo.cacheRows(2);
    await page.getByLabel("Tags", { exact: true }).fill("");
    await page.getByTestId("request-cache").getByLabel("Kept for").fill("");
  });

  await t.test("columns put the entries in order, either way", async () => {
    const titles = () => cache.getByTestId("entries").locator("tbody th .open").allTextContents();
    await cache.getByRole("button", { name: /^Made/ }).click();
    await cache.getByRole("columnheader", { name: /^Made/ }).and(cache.locator('[aria-sort="descending"]')).waitFor();
    await page.waitForFunction(() => document.querySelector('[data-testid="entries"] tbody .open')?.textContent === "A cat");
    await cache.getByRole("button", { name: /^Made/ }).click();
    await page.waitForFunction(() => document.querySelector('[data-testid="entries"] tbody .open')?.textContent !== "A cat");
    assert.deepEqual(await titles(), [RUN.prompt, "A cat"]);
  });

  await t.test("an entry is pinned, and deleted by the keyboard", async () => {
    await demo.actOnCache(row("A cat").getByRole("button", { name: "Pin A cat" }), "Pinned");
    await row("A cat").and(cache.locator('tr:has([aria-pressed="true"])')).waitFor();
    await row("A cat").getByRole("button", { name: "Delete A cat" }).focus();
    await page.keyboard.press("Enter");
    // The button that had the focus is gone.
    await page.waitForFunction(() => document.activeElement.id === "entries-heading");
    await demo.cacheRows(1);
    await demo.run({ prompt: "A cat", seed: 9 });
    assert.equal((await demo.answer()).name, "Computed");
    await demo.cacheRows(2);
  });

  await t.test("the cache goes into a file, is cleared, and comes back", async () => {
    const [download] = await Promise.all([page.waitForEvent("download"), demo.actOnCache(cache.getByTestId("export-cache"), "Exported.")]);
    exported = join(folder, download.suggestedFilename());
    await download.saveAs(exported);
    await cache.getByRole("button", { name: "Clear all…" }).click();
    await cache.getByRole("button", { name: "Keep", exact: true }).click();
    await demo.cacheRows(2);
    await cache.getByRole("button", { name: "Clear all…" }).click();
    await demo.actOnCache(cache.getByRole("button", { name: "Delete all for good" }), "The cache is empty.");
    await cache.getByText("None yet.").waitFor();
    await cache.getByLabel(/^Import:/).setInputFiles(exported);
    await cache.getByTestId("cache-done").filter({ hasText: "Imported 2 entries." }).waitFor();
    await demo.cacheRows(2);
    assert.equal(await demo.run(RUN), text);
    assert.notEqual((await demo.answer()).name, "Computed");
  });

  await t.test("a file that holds no answers is told in words", async () => {
    await cache.getByLabel(/^Import:/).setInputFiles({ name: "no", mimeType: "", buffer: Buffer.from("not answers") });
    await cache.getByTestId("cache-error").getByText(/^Error code: /).waitFor();
    await demo.cacheRows(2);
  });

  await t.test("the figures begin anew on request", async () => {
    await demo.cacheView("Figures");
    await demo.actOnCache(cache.getByRole("button", { name: "Reset figures" }), "Counting begins anew.");
    await figure("hits", /^0$/);
  });

  await t.test("a limit holds at once", async () => {
    const settings = await demo.cacheView("Settings");
    const field = settings.getByLabel("Most entries");
    await field.fill("1");
    await demo.actOnCache(settings.getByText("What is kept"), "Applied.");
    await demo.cacheView("Figures");
    await cache.getByText("1 of 1", { exact: true }).waitFor();
  });

  await t.test("requests do without the cache where it is not set up for them", async () => {
    const settings = await demo.cacheView("Settings");
    await settings.getByLabel("Reproducible requests use it").uncheck();
    await cache.getByTestId("cache-done").filter({ hasText: "Applied." }).waitFor();
    await demo.run(RUN);
    assert.equal((await demo.answer()).facts, "The cache was not asked.");
    await demo.useCache("On");
    assert.equal(await demo.run(RUN), text);
    assert.notEqual((await demo.answer()).facts, "The cache was not asked.");
  });

  await t.test("settings are kept from visit to visit, the token of a server is not", async () => {
    const settings = await demo.cacheView("Settings");
    await settings.getByText(/^Where it is kept/).click();
    await settings.getByLabel("Server", { exact: true }).selectOption("upstash");
    await settings.getByText("the address is not complete").waitFor();
    await settings.getByLabel("Address of the server").fill("http://example.org/");
    await settings.getByText("by https only").waitFor();
    await settings.getByLabel("Address of the server").fill(await unusedAddress());
    await settings.getByLabel("Token").fill("a secret token");
    await settings.getByText("Generate loads the model again").waitFor();
    assert.doesNotMatch(await page.evaluate(() => JSON.stringify({ ...localStorage })), /secret/);
    await page.reload();
    await demo.cacheView("Settings");
    assert.equal(await settings.getByLabel("Most entries").inputValue(), "1");
    assert.equal(await page.getByTestId("cache-mode").inputValue(), "on");
    await settings.getByText(/^Where it is kept/).click();
    assert.equal(await settings.getByLabel("Server", { exact: true }).inputValue(), "upstash");
    assert.equal(await settings.getByLabel("Token").inputValue(), "");
  });

  await t.test("a server that does not answer is told, and the text comes all the same", async () => {
    assert.equal(await demo.run(RUN), text);
    await demo.run({ prompt: "Nobody has asked this", seed: 10 });
    assert.deepEqual(await demo.answer(), { name: "Computed", facts: KEPT });
    await demo.cacheView("Figures");
    await cache.getByTestId("layer-down").filter({ hasText: /^upstash is down: .* tried again at .* The cache goes on without it\.$/ }).waitFor();
    assert.equal((await demo.error.textContent()).trim(), "");
  });

  // The browser notes the server that is not there itself.
  assert.deepEqual(problems.filter((line) => !/ERR_CONNECTION_REFUSED/.test(line)), [], "no error and no violation of the page's policy");
});

test("the panel of the cache is accessible in every view and fits every width", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const server = await serve(DEMO);
  t.after(() => server.close());
  const { page, demo } = await openDemo(await browser.newContext(), server.url);
  await page.emulateMedia({ reducedMotion: "reduce" });
  await demo.run(RUN);
  await demo.run(RUN);
  await page.getByText("How the answer is kept").click();

  const views = {
    async Figures(panel) {
      await panel.getByTestId("cache-plot").locator("svg").nth(1).waitFor();
      await panel.getByText("As a table").click();
    },
    async Entries(panel) {
      await panel.getByTestId("entries").waitFor();
      await panel.getByRole("button", { name: "Clear all…" }).click();
      await panel.getByLabel("Delete by").selectOption("model");
    },
    async Settings(panel) {
      await panel.getByLabel("Answer prompts that mean the same").check();
      for (const summary of await panel.locator("summary").all()) await summary.click();
      await panel.getByLabel("Server", { exact: true }).selectOption("webdis");
      await panel.getByLabel("Pinned tags").fill("a tag that is far too long ".repeat(4));
      await panel.getByLabel("Pinned tags").blur();
    },
  };
  for (const [name, reach] of Object.entries(views)) {
    await t.test(name, async () => {
      await page.setViewportSize({ width: 1280, height: 800 });
      await reach(await demo.cacheView(name));
      await assertForEveryone(page);
    });
  }

  await t.test("one entry", async () => {
    await page.setViewportSize({ width: 1280, height: 800 });
    await (await demo.cacheView("Entries")).getByRole("button", { name: /^Inspect/ }).first().click();
    await page.getByTestId("entry").getByText("The value as JSON").click();
    await assertForEveryone(page);
  });
});

async function assertForEveryone(page) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await assertAccessible(page);
  }
  for (const width of [320, 360, 768, 1280]) await assertFits(page, width);
}

/** Where no server is any more. */
async function unusedAddress() {
  const { url, close } = await serve(folder);
  await close();
  return url;
}
