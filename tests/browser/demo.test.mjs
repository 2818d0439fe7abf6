/**
 * The demo's page as a visitor works it, from the build that is deployed.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { serve } from "../../scripts/serve.mjs";
import { launch, launchProfile, TIMEOUT_MS } from "./lib/browser.mjs";
import { openDemo } from "./lib/demo.mjs";
import { DEMO, FIXTURES } from "./lib/paths.mjs";

const browser = await launch();

test("a visit", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const server = await serve(DEMO);
  t.after(() => server.close());
  const context = await browser.newContext();
  const { page, demo, problems } = await openDemo(context, server.url);
  const run = { prompt: "Once upon a time", seed: 42, maxTokens: 24 };
  let text;

  await t.test("nothing is downloaded before it is asked for", async () => {
    await demo.until("idle");
    const fetched = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
    assert.ok(fetched.length > 0);
    assert.deepEqual(fetched.filter((name) => /\.(gguf|wasm)$/.test(name)), []);
  });

  await t.test("the page generates from tiny-gpt2", async () => {
    text = await demo.run(run);
    await demo.until("ready");
    assert.ok(text.trim().length > 20, JSON.stringify(text));
    assert.equal(await demo.output.textContent(), run.prompt + text);
    assert.match(await demo.status.textContent(), /^Done: \d+ tokens/);
    assert.ok(Number(await page.getByTestId("tokens-per-second").textContent()) > 0);
    assert.equal(await page.getByTestId("used-seed").textContent(), "42");
    // The file as downloaded, and the weights as packed from it.
    assert.ok(parseFloat(await page.getByTestId("stored-bytes").textContent()) > 1.5 * 42.9);
  });

  await t.test("the speed panel has the figures of the run and of the engine", async () => {
    assert.ok(Number(await demo.speed("prefill-rate")) > 0);
    assert.equal(await demo.speed("decode-rate"), await page.getByTestId("tokens-per-second").textContent());
    const cores = await page.evaluate(() => navigator.hardwareConcurrency);
    assert.equal(await demo.speed("threads"), String(Math.min(cores, 8)));
    assert.equal(await page.getByTestId("threads-off").count(), cores > 1 ? 0 : 1);
    assert.equal(await demo.speed("simd"), "relaxed");
    assert.equal(await demo.speed("running-dtype"), "q8");
    assert.ok(parseFloat(await demo.speed("wasm-bytes")) > parseFloat(await demo.speed("weight-bytes")));
  });

  await t.test("another number format is loaded when it is used, and measurements compare the two", async () => {
    assert.equal((await demo.measure()).length, 1);
    const q8Bytes = parseFloat(await demo.speed("weight-bytes"));
    await page.getByRole("radio", { name: "q4", exact: true }).check();
    assert.equal(await demo.speed("running-dtype"), "q8", "choosing loads nothing");
    const [q4, q8, ...others] = await demo.measure();
    assert.deepEqual(others, []);
    assert.match(q8[0], /^q8, .*tiny-gpt2$/s);
    assert.match(q4[0], /^q4, .*tiny-gpt2$/s);
    for (const rate of [...q4.slice(1), ...q8.slice(1)]) assert.ok(Number(rate) > 0, rate);
    assert.match(await demo.status.textContent(), /^Measured: reads [\d.]+ tokens per second, writes [\d.]+\.$/);
    assert.equal(await demo.generated.textContent(), text, "the text stays");
    assert.equal(await demo.speed("running-dtype"), "q4");
    assert.ok(parseFloat(await demo.speed("weight-bytes")) < 0.7 * q8Bytes);
    await page.reload();
    assert.ok(await page.getByRole("radio", { name: "q4", exact: true }).isChecked(), "it is kept as the settings are");
    await page.getByRole("radio", { name: "q8", exact: true }).check();
  });

  await t.test("a measurement can be stopped", async () => {
    await page.getByTestId("measure").click();
    await demo.until("measuring");
    await demo.stop.click();
    await demo.until("ready");
    assert.equal(await demo.status.textContent(), "Measuring stopped.");
    assert.equal(await page.getByTestId("speed").locator("table").count(), 0);
  });

  await t.test("a model too small to be measured is answered in words", async () => {
    const files = ["config.json", "tokenizer.json", "model.safetensors"].map((name) => join(FIXTURES, "mini-a", name));
    await page.getByRole("radio", { name: "From this device" }).check();
    await page.locator("#model-files").setInputFiles(files);
    await demo.measure();
    await demo.until("error");
    assert.match(await demo.error.textContent(), /This model reads \d+ tokens at most.*invalid-argument/s);
    await page.getByRole("radio", { name: "tiny-gpt2" }).check();
  });

  await t.test("the same seed gives the same text, another seed another", async () => {
    // Computed each time.
    await demo.useCache("Off");
    assert.equal(await demo.run(run), text);
    assert.notEqual(await demo.run({ seed: 43 }), text);
  });

  for (const [how, stop] of [
    ["its button", () => demo.stop.click()],
    ["the Escape key", () => page.keyboard.press("Escape")],
  ]) {
    await t.test(`stop by ${how} keeps the text, and the page goes on`, async () => {
      await demo.beginLongRun();
      await demo.until("generating");
      await stop();
      await page.getByText(/^Stopped by you after/).waitFor();
      await demo.until("ready");
      assert.ok((await demo.generated.textContent()).length > 0);
      await page.getByRole("button", { name: "Reset", exact: true }).click();
      assert.equal(await demo.run(run), text, "the next generation is as ever");
    });
  }

  await t.test("an address without a model is answered in words, and the page goes on", async () => {
    await page.getByRole("radio", { name: "From an address" }).check();
    await page.getByLabel(/^Address of a/).fill(`${server.url}nowhere/model.gguf`);
    await demo.generate.click();
    await demo.until("error");
    assert.match(await demo.error.textContent(), /not found.*Check the address.*Error code: not-found/s);
    // The browser notes the missing file itself.
    assert.match(problems.splice(0).join(), /^(error: Failed to load resource: [^,]*404[^,]*)?$/);
    await page.getByRole("radio", { name: "tiny-gpt2" }).check();
    assert.equal(await demo.run(run), text);
    assert.equal((await demo.error.textContent()).trim(), "");
  });

  assert.deepEqual(problems, [], "no error and no violation of the page's policy");
});

test("with the network cut, the page and its model come from the device", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const profile = mkdtempSync(join(tmpdir(), "cacher-profile-"));
  t.after(() => rmSync(profile, { recursive: true, force: true }));
  const server = await serve(DEMO);
  const run = { prompt: "The old lighthouse", seed: 7, maxTokens: 24 };
  let text;

  await t.test("after a reload", async () => {
    const context = await launchProfile(profile);
    try {
      const { page, demo, problems } = await openDemo(context, server.url);
      // What is shown with the network cut is to come from the model.
      await demo.useCache("Off");
      text = await demo.run(run);
      assert.ok(text.length > 0);
      await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
      await server.close();
      await context.setOffline(true);
      await page.reload();
      assert.equal(await demo.run(run), text);
      assert.deepEqual(problems.filter((line) => !line.includes("ERR_INTERNET_DISCONNECTED")), []);
    } finally {
      await context.close();
    }
  });

  await t.test("after the browser was closed and started again", async () => {
    const context = await launchProfile(profile);
    try {
      await context.setOffline(true);
      const { demo } = await openDemo(context, server.url);
      assert.equal(await demo.run(run), text);
    } finally {
      await context.close();
    }
  });
});
