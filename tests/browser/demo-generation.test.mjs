/**
 * What the demo shows of a generation beside its text, as a visitor works it:
 * the output can be read token by token and taken another way at each; samples
 * and beams are written, drawn and kept; and all of it can be paused.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { serve } from "../../scripts/serve.mjs";
import { assertAccessible, assertFits } from "./lib/accessible.mjs";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openDemo } from "./lib/demo.mjs";
import { DEMO } from "./lib/paths.mjs";

const browser = await launch();

const RUN = { prompt: "Once upon a time", seed: 42, maxTokens: 24 };

async function open(t) {
  const server = await serve(DEMO);
  t.after(() => server.close());
  const opened = await openDemo(await browser.newContext(), server.url);
  const { page, demo } = opened;
  await demo.until("idle");
  return { ...opened, option: (label) => page.getByLabel(label, { exact: true }) };
}

test("the output, token by token", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const { page, demo, problems } = await open(t);
  const card = page.getByTestId("token-card");
  const toggle = page.getByTestId("show-tokens");
  let text;

  await t.test("it is the same text, with a number at each token", async () => {
    text = await demo.run(RUN);
    await toggle.click();
    await page.getByText("How likely each token was is told while a text is written").waitFor();
    await demo.generate.click();
    await demo.tokens.first().waitFor();
    await demo.until("ready");
    const tokens = await demo.tokens.locator(":scope > span").allTextContents();
    assert.equal(tokens.length, RUN.maxTokens);
    assert.equal(tokens.join("").replaceAll("↵", "\n"), text);
    for (const number of await demo.tokens.locator("small").allTextContents()) assert.match(number, /^(<1|\d{1,3})%$/);
  });

  await t.test("pointing at one shows what else might have come", async () => {
    await demo.tokens.nth(2).hover();
    await card.getByText(/^Token 3, /).waitFor();
    assert.ok((await card.locator("tbody tr").count()) >= 8);
    const shares = (await card.locator("tbody tr td:nth-child(2) .number").allTextContents()).slice(0, 8).map(parseFloat);
    assert.deepEqual(shares, [...shares].sort((a, b) => b - a), "best first");
    await page.getByLabel("Coloured by").selectOption("drawn");
    assert.match(await demo.tokens.nth(2).getAttribute("class"), /band\d/);
  });

  await t.test("by keyboard one goes to a token, to its alternatives, and forks there", async () => {
    const count = await demo.stateCount();
    await demo.tokens.first().focus();
    for (let step = 0; step < 4; step++) await page.keyboard.press("ArrowRight");
    await card.getByText(/^Token 5, /).waitFor();
    await page.keyboard.press("Enter");
    const name = await page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    assert.match(name, /^Fork and go on with “/);
    const before = (await demo.tokens.locator(":scope > span").allTextContents()).slice(0, 4).join("").replaceAll("↵", "\n");
    await page.keyboard.press("Enter");
    await demo.until("generating");
    await demo.until("ready");
    const [, other] = /“(.*)”$/.exec(name);
    const whole = (await demo.output.locator("strong").textContent()) ?? "";
    assert.equal(whole, RUN.prompt + before + other.replaceAll("↵", "\n"));
    assert.equal(await demo.tokens.count(), RUN.maxTokens, "it goes on from there");
    assert.equal(await demo.stateCount(), count + 1);
    assert.deepEqual((await demo.operations()).slice(0, 2), ["Generated", "Appended"]);
  });

  await t.test("the choice of view is kept", async () => {
    await page.reload();
    assert.equal(await toggle.getAttribute("aria-pressed"), "true");
    await toggle.click();
    assert.equal(await demo.run(RUN), text);
  });

  assert.deepEqual(problems, [], "no error and no violation of the page's policy");
});

test("several texts at once", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const { demo, problems, option } = await open(t);
  const { many, states } = demo;
  let single;

  await t.test("samples stand side by side, each the text of its seed", async () => {
    single = await demo.run(RUN);
    const panel = await demo.kind("Samples");
    await panel.getByLabel("Texts", { exact: true }).fill("3");
    await demo.runMany();
    await demo.status.getByText("Wrote 3 texts").waitFor();
    const texts = await many.getByTestId("sample-text").allTextContents();
    assert.equal(texts.length, 3);
    assert.equal(texts[0], single, "what the same seed gives alone");
    assert.equal(new Set(texts).size, 3);
    const facts = await many.getByTestId("samples").locator("li").allTextContents();
    for (const [index, words] of facts.entries()) assert.match(words, new RegExp(`Seed ?${RUN.seed + index} ?Mean log-probability ?-\\d+\\.\\d{3} ?Tokens ?\\d+ ?Ended by ?(length|end of text)`));
    assert.equal(await many.getByText("the likeliest").count(), 1);
  });

  await t.test("the one that is kept becomes a state", async () => {
    const count = await demo.stateCount();
    const text = await many.getByTestId("sample-text").nth(1).textContent();
    await demo.act(many.getByRole("button", { name: /^Keep this one text 2/ }), "Kept as a state");
    assert.equal(await demo.stateCount(), count + 1);
    assert.equal(await demo.output.textContent(), RUN.prompt + text);
    await many.getByRole("button", { name: /^Kept text 2/ }).waitFor();
  });

  await t.test("they go on from the open text as well", async () => {
    await option("Begin with").selectOption("text");
    await many.getByLabel("Texts", { exact: true }).fill("2");
    await demo.runMany();
    const text = await many.getByTestId("sample-text").first().textContent();
    const whole = await demo.output.textContent();
    await demo.act(many.getByRole("button", { name: /^Keep this one text 1/ }), "Kept as a state");
    assert.equal(await demo.output.textContent(), whole + text);
    await option("Begin with").selectOption("prompt");
  });

  await t.test("a beam search is drawn, and what it finds is listed, best first", async () => {
    const panel = await demo.kind("Beams");
    await demo.runMany();
    await demo.status.getByText(/^Found 3 texts in \d+ steps\.$/).waitFor();
    const drawn = panel.getByTestId("beam-tree").locator("[data-node]");
    const all = await drawn.count();
    assert.ok(all >= 4 * RUN.maxTokens, String(all));
    assert.equal(await panel.locator('[data-state="finished"]').count() > 0, true);
    const scores = (await panel.getByTestId("beam-list").locator("li .facts").allTextContents()).map((words) => parseFloat(/Score (-?[\d.]+)/.exec(words)[1]));
    assert.equal(scores.length, 3);
    assert.deepEqual(scores, [...scores].sort((a, b) => b - a));
    await panel.getByLabel("Show what was given up").uncheck();
    assert.ok((await drawn.count()) < all);
    assert.equal(await panel.locator('[data-state="pruned"]').count(), 0);
  });

  await t.test("a sequence that was found becomes a state", async () => {
    const count = await demo.stateCount();
    const text = await many.getByTestId("beam-list").locator("li .text").first().textContent();
    await demo.act(many.getByRole("button", { name: /^Make a state of this sequence 1/ }), "Kept as a state");
    assert.equal(await demo.stateCount(), count + 1);
    assert.equal(await demo.output.textContent(), RUN.prompt + text);
  });

  await t.test("options that do not go with beams are told at their controls", async () => {
    await many.getByLabel("Returned", { exact: true }).fill("9");
    await demo.runMany();
    await many.getByText("Must be from 1 to numBeams, 4.").waitFor();
    assert.match(await demo.error.textContent(), /Error code: invalid-option/);
    await many.getByRole("button", { name: "Reset Returned" }).click();
    await demo.group("stopping");
    await option("Stop after").selectOption("line");
    await demo.runMany();
    await demo.options.getByText("Must be left out with beams.").waitFor();
    await option("Stop after").selectOption("");
    await demo.runMany();
    assert.equal((await demo.error.textContent()).trim(), "");
  });

  await t.test("the states are told of what was kept", async () => {
    await states.getByTestId("states-total").filter({ hasText: /^4$/ }).waitFor();
  });

  assert.deepEqual(problems, [], "no error and no violation of the page's policy");
});

test("what runs can be paused", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const { page, demo, problems } = await open(t);
  const pause = page.getByTestId("pause");
  const length = async () => (await demo.generated.textContent()).length;

  await t.test("there is nothing to pause before", async () => {
    assert.equal(await pause.getAttribute("aria-disabled"), "true");
    assert.equal(await pause.textContent(), "Pause");
  });

  await t.test("a text stands still, says how far it is, and goes on", async () => {
    await demo.beginLongRun();
    await pause.click();
    await demo.status.getByText(/^Paused\.$/).waitFor();
    assert.equal(await pause.textContent(), "Resume");
    const progress = page.getByTestId("progress");
    assert.match(await progress.textContent(), /^Wrote \d+ of at most 1,000 tokens, [\d.]+ a second, at most [\d.]+ m?s left$/);
    // What was under way when it was paused comes still.
    let before = -1;
    while (before !== (before = await length())) await page.waitForTimeout(200);
    await page.waitForTimeout(500);
    assert.equal(await length(), before);
    await demo.until("generating");
    await pause.click();
    await page.waitForFunction((than) => document.querySelector('[data-testid="generated"]').textContent.length > than, before);
    await demo.stop.click();
    await demo.until("ready");
    assert.equal(await pause.getAttribute("aria-disabled"), "true");
  });

  await t.test("stopped while it stands, it ends at once", async () => {
    await demo.beginLongRun();
    await pause.click();
    await demo.status.getByText(/^Paused\.$/).waitFor();
    await demo.stop.click();
    await demo.status.getByText(/^Stopped by you after/).waitFor();
    assert.equal(await pause.textContent(), "Pause");
  });

  await t.test("samples and beams are paused alike", async () => {
    for (const kind of ["Samples", "Beams"]) {
      await demo.kind(kind);
      await demo.many.getByTestId("run-many").click();
      await demo.page.locator('main[data-state="sampling"], main[data-state="searching"]').waitFor();
      await pause.click();
      await demo.status.getByText("Paused.").waitFor();
      await pause.click();
      await demo.stop.click();
      await demo.until("ready");
      assert.match(await demo.status.textContent(), /^(Stopped by you|Wrote|Found)/);
    }
  });

  assert.deepEqual(problems, [], "no error and no violation of the page's policy");
});

test("all of it is accessible and fits every width", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const { page, demo } = await open(t);
  await page.emulateMedia({ reducedMotion: "reduce" });
  await demo.run({ ...RUN, maxTokens: 12 });

  const views = {
    async tokens() {
      await page.getByTestId("show-tokens").click();
      await demo.run({});
      await demo.tokens.nth(1).focus();
      await page.getByTestId("token-card").waitFor();
    },
    async samples() {
      await demo.kind("Samples");
      await demo.runMany();
    },
    async beams() {
      await demo.kind("Beams");
      await demo.runMany();
      await demo.many.getByText("Its tokens and their log-probabilities").first().click();
    },
  };
  for (const [name, reach] of Object.entries(views)) {
    await t.test(name, async () => {
      await page.setViewportSize({ width: 1280, height: 800 });
      await reach();
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await assertAccessible(page);
      }
      for (const width of [320, 768, 1280, 1440]) await assertFits(page, width);
    });
  }
});
