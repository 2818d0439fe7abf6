/**
 * The demo's look inside the model, as a visitor works it: each view shows
 * figures of the embedded model, by mouse and by keyboard; what is long can be
 * cancelled; and all of it can be saved as files.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { serve } from "../../scripts/serve.mjs";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openDemo } from "./lib/demo.mjs";
import { DEMO } from "./lib/paths.mjs";

const browser = await launch();

const TEXT = "Once upon a time there was a little girl. The little girl had a dog. The little girl loved the dog.";

async function open(t) {
  const server = await serve(DEMO);
  t.after(() => server.close());
  const requests = [];
  const context = await browser.newContext();
  const opened = await openDemo(context, server.url);
  opened.page.on("request", (request) => requests.push(request.url()));
  await opened.demo.until("idle");
  return { ...opened, requests, analysis: opened.demo.analysis };
}

/** A figure's file, as text. */
async function saved(page, figure, format) {
  const [download] = await Promise.all([page.waitForEvent("download"), figure.getByRole("button", { name: new RegExp(`as ${format}$`) }).click()]);
  const bytes = await readFile(await download.path());
  return { name: download.suggestedFilename(), bytes, text: bytes.toString("utf8") };
}

/** What is wrong with a drawing as a file, and how much is in it. */
const readSvg = (page, text) =>
  page.evaluate((text) => {
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
    const drawing = parsed.documentElement;
    return {
      wrong: parsed.querySelector("parsererror")?.textContent ?? "",
      name: drawing.localName,
      shapes: drawing.querySelectorAll("path, rect, line, circle").length,
      words: [...drawing.querySelectorAll("text")].map(({ textContent }) => textContent),
      bound: /var\(|class=/.test(text),
    };
  }, text);

async function assertDrawing(page, figure) {
  const { text } = await saved(page, figure, "SVG");
  const drawing = await readSvg(page, text);
  assert.equal(drawing.wrong, "");
  assert.equal(drawing.name, "svg");
  assert.ok(drawing.shapes > 1 && drawing.words.length > 1, JSON.stringify(drawing));
  assert.equal(drawing.bound, false, "it needs nothing of the page");
  return drawing;
}

test("tokens", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const { page, demo, problems, requests, analysis } = await open(t);

  await t.test("it is fetched only once it is opened", async () => {
    const own = () => requests.filter((url) => /AnalysisPanel/.test(url)).length;
    assert.equal(own(), 0);
    await demo.openAnalysis();
    assert.ok(own() > 0);
  });

  await t.test("each token has its surprisal, the text its perplexity", async () => {
    const view = await demo.analyseOwn(TEXT, "Tokens", "tokens");
    const count = Number(await view.locator('[data-fact="tokens"]').textContent());
    assert.ok(count > 20);
    const strip = view.getByRole("listbox").getByRole("option");
    assert.equal(await strip.count(), count);
    const perplexity = Number(await view.locator('[data-fact="perplexity"]').textContent());
    assert.ok(perplexity > 1 && perplexity < 100, String(perplexity));
    assert.ok(Number(await view.locator('[data-fact="bits-per-byte"]').textContent()) > 0);
    assert.equal(await view.getByTestId("ngrams").locator("tbody tr").count(), 4);
    assert.match(await view.getByTestId("ngrams").textContent(), /little girl” ×3/);
  });

  await t.test("by keyboard one goes from token to token, and sees what else might have come", async () => {
    const view = await demo.analysisView("Tokens");
    const strip = view.getByRole("listbox").getByRole("option");
    await strip.nth(1).focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    assert.equal(await strip.nth(3).evaluate((element) => element === document.activeElement), true);
    assert.match(await view.getByTestId("looked").textContent(), /^\s*Token 3, ·time: \d+ %/);
    const bars = view.locator('[data-figure="alternatives"] svg.chart');
    await bars.waitFor();
    const figure = view.locator('[data-figure="alternatives"]');
    await figure.getByText("As a table").click();
    await figure.locator("tbody tr").first().waitFor();
    assert.equal(await figure.locator("tbody tr").count(), 10);
    assert.match(await figure.locator("tbody").textContent(), /·time \(came\)/);
    await page.keyboard.press("Home");
    await view.getByLabel("Coloured by").selectOption("probability");
    assert.match(await strip.nth(3).textContent(), /%/);
  });

  await t.test("tokens and bars are saved as files", async () => {
    const view = await demo.analysisView("Tokens");
    const figure = view.locator('[data-figure="tokens"]');
    const { words } = await assertDrawing(page, figure);
    assert.ok(words.includes("·girl"));
    const { name, text } = await saved(page, figure, "JSON");
    assert.equal(name, "tokens.json");
    const { tokens, perplexity, ngrams } = JSON.parse(text);
    assert.ok(tokens.length > 20 && perplexity.logprobs.data.length === tokens.length - 1 && ngrams.ngrams.length === 4);
    await assertDrawing(page, view.locator('[data-figure="alternatives"]'));
  });

  await t.test("a text of no tokens is an error, told in the panel", async () => {
    await demo.analyseOwn("", "Tokens", "tokens");
    assert.match(await analysis.getByTestId("analysis-error").textContent(), /There is no text to analyse\.\s+Error code: invalid-argument/);
    await demo.analyseOwn(TEXT, "Tokens", "tokens");
    assert.equal((await analysis.getByTestId("analysis-error").textContent()).trim(), "");
  });

  await t.test("the text that is open is analysed as it stands", async () => {
    await demo.run({ prompt: "Once upon a time", seed: 42, maxTokens: 12 });
    await analysis.getByLabel("Analyse", { exact: true }).selectOption("page");
    const view = await demo.analyse("Tokens", "tokens");
    assert.equal(await view.locator('[data-fact="tokens"]').textContent(), "16");
  });

  assert.deepEqual(problems, [], "no error and no violation of the page's policy");
});

test("attention", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const { page, demo, problems } = await open(t);
  await demo.openAnalysis();
  const view = await demo.analyseOwn(TEXT, "Attention", "attention");
  const told = view.getByTestId("attention-value");
  const weight = async () => Number(/: (\d\.\d+)\./.exec(await told.textContent())[1]);

  await t.test("all heads are there, and Enter shows one large", async () => {
    const grid = view.getByTestId("head-grid");
    const heads = grid.getByRole("button");
    assert.equal(await heads.count(), 60);
    await heads.first().focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    assert.equal(await grid.locator('[aria-pressed="true"]').getAttribute("aria-label"), "Layer 1, head 1");
    await view.getByRole("heading", { name: "Layer 1, head 1" }).waitFor();
    await heads.nth(0).click();
    await view.getByRole("heading", { name: "Layer 0, head 0" }).waitFor();
  });

  await t.test("arrow keys go from cell to cell, and never ahead", async () => {
    await view.getByTestId("heat-map").focus();
    await page.keyboard.press("Home");
    for (let step = 0; step < 60; step++) await page.keyboard.press("ArrowUp");
    assert.match(await told.textContent(), /^“Once” \(0\) looks at “Once” \(0\): 1\.0000/);
    await page.keyboard.press("ArrowRight");
    assert.match(await told.textContent(), /^“Once” \(0\) looks at “Once” \(0\)/);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowRight");
    assert.match(await told.textContent(), /^“·a” \(2\) looks at “·upon” \(1\): 0\.\d{4}\./);
    let sum = 0;
    await page.keyboard.press("Home");
    for (let key = 0; key < 3; key++) {
      sum += await weight();
      await page.keyboard.press("ArrowRight");
    }
    assert.ok(Math.abs(sum - 1) < 1e-3, `a row sums to 1, not ${sum}`);
  });

  await t.test("the numbers are behind it as a table, from the threshold up", async () => {
    const figure = view.locator('[data-figure="attention"]');
    await figure.getByText("As a table").click();
    const rows = figure.getByTestId("attention-table").locator("tbody tr");
    await rows.first().waitFor();
    const numbers = async () => (await rows.locator("td").allTextContents()).filter((cell) => cell !== "").map(Number);
    const size = await rows.count();
    assert.equal((await numbers()).length, (size * (size + 1)) / 2);
    await view.getByLabel(/^Weights from/).fill("0.2");
    const strong = await numbers();
    assert.ok(strong.length < 3 * size && strong.every((each) => each >= 0.199));
  });

  await t.test("means, rollout and lines are of the same text", async () => {
    for (const [kind, heading] of [["heads", "Layer 0, mean of its heads"], ["layers", "Head 0, mean over the layers"], ["all", "Mean of all heads and layers"], ["rollout", "Rollout over all layers"]]) {
      await view.getByLabel("Show", { exact: true }).selectOption(kind);
      await view.getByRole("heading", { name: heading }).waitFor();
    }
    await view.getByLabel("As", { exact: true }).selectOption("lines");
    await view.getByTestId("attention-lines").focus();
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowDown");
    assert.match(await told.textContent(), /^“·upon” \(1\) looks at/);
    assert.ok((await view.getByTestId("attention-lines").locator("line.own").count()) >= 1);
    await assertDrawing(page, view.locator('[data-figure="attention"]'));
  });

  await t.test("the map is saved as drawing, picture and numbers", async () => {
    const figure = view.locator('[data-figure="attention"]');
    await view.getByLabel("As", { exact: true }).selectOption("map");
    const { words } = await assertDrawing(page, figure);
    assert.ok(words.includes("·girl"));
    const { pieces, weights } = JSON.parse((await saved(page, figure, "JSON")).text);
    assert.deepEqual(weights.shape, [pieces.length, pieces.length]);
    const png = await saved(page, figure, "PNG");
    assert.equal(png.bytes.subarray(1, 4).toString(), "PNG");
    assert.ok(png.bytes.length > 2000);
  });

  await t.test("a stretch of the text can be looked at", async () => {
    await view.getByLabel("From token").fill("4");
    await view.getByLabel(/^Tokens, up to/).fill("6");
    await demo.analyse("Attention", "attention");
    assert.match(await told.textContent(), /\(9\) looks at .* \(4\)/);
  });

  assert.deepEqual(problems, [], "no error and no violation of the page's policy");
});

test("heads and layers", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const { page, demo, problems, analysis } = await open(t);
  await demo.openAnalysis();

  await t.test("heads are scored, and ranked by any score", async () => {
    const view = await demo.analyseOwn(TEXT, "Heads", "heads");
    const rows = view.getByTestId("head-table").locator("tbody tr");
    assert.equal(await rows.count(), 60);
    await view.getByRole("button", { name: /^Entropy/ }).click();
    const column = async (number) => (await rows.locator(`td:nth-of-type(${number})`).allTextContents()).map(Number);
    // The first is the rank, then come the scores.
    const entropies = await column(5);
    assert.deepEqual(entropies, [...entropies].sort((a, b) => b - a));
    await view.getByRole("heading", { name: "Entropy of all heads" }).waitFor();
    await assertDrawing(page, view.locator('[data-figure="heads"]'));
  });

  await t.test("importance takes out each head", async () => {
    const view = await demo.analyse("Heads", "importance");
    await view.getByRole("heading", { name: "Importance of all heads" }).waitFor();
    const { words } = await assertDrawing(page, view.locator('[data-figure="head-ranking"]'));
    assert.ok(words.some((word) => /^L\d H\d$/.test(word)), words.join());
    const { importance } = JSON.parse((await saved(page, view.locator('[data-figure="heads"]'), "JSON")).text);
    assert.equal(importance.change.data.length, 60);
  });

  await t.test("it can be cancelled", async () => {
    await analysis.getByLabel("Text to analyse").fill(TEXT.repeat(12));
    await view("Heads").getByTestId("analyse-importance").click();
    await analysis.getByTestId("analysis-progress").waitFor();
    assert.match(await analysis.getByTestId("analysis-progress").textContent(), /^[\d,]+ of [\d,]+ tokens$/);
    await analysis.getByTestId("analysis-cancel").click();
    await demo.until("ready");
    await analysis.getByTestId("analysis-status").filter({ hasText: "Cancelled." }).waitFor();
    assert.equal(await demo.status.textContent(), "Cancelled.");
    await analysis.getByLabel("Text to analyse").fill(TEXT);
  });

  await t.test("each layer says what it would say, the last what the model says", async () => {
    const view = await demo.analyse("Layers", "layers");
    const lens = view.getByTestId("lens");
    assert.equal(await lens.locator("tbody tr").count(), 11, "ten layers and the embeddings");
    await lens.locator('[tabindex="0"]').focus();
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowRight");
    assert.match(await view.getByTestId("lens-value").textContent(), /^\s*After “·upon” \(1\), layer 10 says “·a”, 9\d %/);
    await page.keyboard.press("ArrowDown");
    assert.match(await view.getByTestId("lens-value").textContent(), /layer 9 says/);
    await view.locator('[data-figure="residual-norms"] svg.chart').waitFor();
    const { words } = await assertDrawing(page, view.locator('[data-figure="logit-lens"]'));
    assert.ok(words.includes("Emb."));
    const { norms, shape } = JSON.parse((await saved(page, view.locator('[data-figure="logit-lens"]'), "JSON")).text);
    assert.ok(norms.data.length > 100 && shape === undefined);
  });

  await t.test("a prediction is taken apart into what adds to it", async () => {
    const view = await demo.analyse("Layers", "attribution");
    const figure = view.locator('[data-figure="attribution"]');
    await figure.locator("svg.chart").waitFor();
    const { logit, sum, difference, layers } = JSON.parse((await saved(page, figure, "JSON")).text);
    assert.equal(layers.length, 10);
    assert.ok(Math.abs(logit - sum - difference) < 1e-6);
    await assertDrawing(page, view.locator('[data-figure="leave-one-out"]'));
  });

  function view(name) {
    return analysis.locator(`[data-view="${name.toLowerCase()}"]`);
  }

  assert.deepEqual(problems, [], "no error and no violation of the page's policy");
});

test("memory", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const { page, demo, problems, analysis } = await open(t);
  await demo.run({ prompt: TEXT, seed: 1, maxTokens: 16 });
  await demo.openAnalysis();
  const view = await demo.analyse("Memory", "memory");

  await t.test("memory has owners", async () => {
    const { memory } = JSON.parse((await saved(page, view.locator('[data-figure="memory"]'), "JSON")).text);
    const { wasmBytes, ...owners } = memory;
    assert.equal(Object.values(owners).reduce((sum, bytes) => sum + bytes, 0), wasmBytes);
    const { words } = await assertDrawing(page, view.locator('[data-figure="memory"]'));
    assert.ok(words.includes("Weights") && words.includes("KV cache"));
  });

  await t.test("blocks are told one by one", async () => {
    const told = view.getByTestId("block-value");
    await view.getByTestId("block-map").focus();
    await page.keyboard.press("Home");
    assert.match(await told.textContent(), /^Block [0-9a-f]{8}, number \d+ of its text: \d+ tokens, [\d.]+ MB, in memory/);
    const first = await told.textContent();
    await page.keyboard.press("End");
    assert.notEqual(await told.textContent(), first);
    await view.locator('[data-figure="kv-blocks"]').getByText("As a table").click();
    await view.getByTestId("blocks").waitFor();
    assert.ok((await view.getByTestId("blocks").locator("tbody tr").count()) >= 2);
    await assertDrawing(page, view.locator('[data-figure="kv-blocks"]'));
  });

  await t.test("what begins as before is found", async () => {
    await analysis.getByLabel("Analyse", { exact: true }).selectOption("page");
    await demo.run({ prompt: TEXT, seed: 2, maxTokens: 4 });
    await demo.analyse("Memory", "memory");
    assert.match(await view.locator('[data-fact="hits"]').textContent(), /^[1-9]\d* of \d+ \(\d+ %\)$/);
  });

  assert.deepEqual(problems, [], "no error and no violation of the page's policy");
});
