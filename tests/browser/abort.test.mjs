/**
 * Abort at every point of a call, by signal and by leaving the loop; each time
 * the next generation works as if nothing had been.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";
import { fixtureJson, tinyModel } from "./lib/paths.mjs";

const { prompt: PROMPT, greedy32: GREEDY } = fixtureJson("tiny-gpt2/golden-q8_0.json").prompts[0];
const MODEL = "/models/tiny-gpt2/model.q8_0.gguf";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

/** What a generation gives after whatever happened before. */
async function assertWorks(page) {
  const tokens = await page.evaluate(
    async (prompt) => (await cacher.generate(prompt, { temperature: 0, maxTokens: 32, eosTokenIds: [] }).result).tokens,
    PROMPT,
  );
  assert.deepEqual(tokens, GREEDY);
}

for (const worker of [true, false]) {
  test(worker ? "in a worker" : "on the page's thread", { timeout: 2 * TIMEOUT_MS }, async (t) => {
    const { page, problems } = await openLibrary(browser, server);
    await page.evaluate(async (worker) => {
      globalThis.cacher = await kit.Cacher.load({ model: "tiny-gpt2", worker });
      // Long enough that reading it takes many steps.
      globalThis.longPrompt = Array.from({ length: 900 }, (_, index) => (index * 37) % 5000);
      /** Begins a generation and waits until the engine has it, which answers calls in their order. */
      globalThis.beginPrefill = async (signal) => {
        const generation = cacher.generate(longPrompt, { maxTokens: 100, eosTokenIds: [], signal });
        await cacher.tokenize("");
        return generation;
      };
    }, worker);

    await t.test("in prefill, by signal", async () => {
      const result = await page.evaluate(async () => {
        const controller = new AbortController();
        const generation = await beginPrefill(controller.signal);
        controller.abort();
        return kit.plainResult(generation);
      });
      assert.equal(result.finishReason, "aborted");
      assert.deepEqual(result.tokens, []);
      assert.equal(result.promptTokens.length, 900, "the engine had begun");
      await assertWorks(page);
    });

    await t.test("in prefill, by leaving the loop", async () => {
      const result = await page.evaluate(async () => {
        const generation = await beginPrefill();
        // What `break` does in a loop that waits for its first chunk.
        const iterator = generation[Symbol.asyncIterator]();
        void iterator.next();
        await iterator.return();
        return kit.plainResult(generation);
      });
      assert.equal(result.finishReason, "aborted");
      assert.deepEqual(result.tokens, []);
      assert.equal(result.promptTokens.length, 900, "the engine had begun");
      await assertWorks(page);
    });

    await t.test("in decode, by signal", async () => {
      const { chunks, result } = await page.evaluate(async () => {
        const controller = new AbortController();
        const generation = cacher.generate("Once upon a time", {
          maxTokens: 900,
          seed: 1,
          eosTokenIds: [],
          signal: controller.signal,
        });
        const chunks = [];
        for await (const chunk of generation) {
          chunks.push(chunk);
          if (chunks.length === 3) controller.abort();
        }
        return { chunks, result: await kit.plainResult(generation) };
      });
      assert.equal(result.finishReason, "aborted");
      assert.ok(result.tokens.length >= 3 && result.tokens.length < 900, `${result.tokens.length} tokens`);
      assert.equal(chunks.map((chunk) => chunk.text).join(""), result.text, "what was made is kept");
      await assertWorks(page);
    });

    await t.test("in decode, by break", async () => {
      const result = await page.evaluate(async () => {
        const generation = cacher.generate("Once upon a time", { maxTokens: 900, eosTokenIds: [] });
        let chunks = 0;
        for await (const _ of generation) if (++chunks === 3) break;
        return kit.plainResult(generation);
      });
      assert.equal(result.finishReason, "aborted");
      assert.ok(result.tokens.length >= 3 && result.tokens.length < 900, `${result.tokens.length} tokens`);
      await assertWorks(page);
    });

    await t.test("before it begins", async () => {
      const result = await page.evaluate(() =>
        kit.plainResult(cacher.generate("Hello", { signal: AbortSignal.abort() })),
      );
      assert.equal(result.finishReason, "aborted");
      assert.deepEqual(result.tokens, []);
    });

    await t.test("one of two: the other goes on unharmed", async () => {
      const tokens = await page.evaluate(async (prompt) => {
        const other = cacher.generate("The weather", { maxTokens: 900, eosTokenIds: [] });
        const kept = cacher.generate(prompt, { temperature: 0, maxTokens: 32, eosTokenIds: [] });
        for await (const _ of other) break;
        return (await kept.result).tokens;
      }, PROMPT);
      assert.deepEqual(tokens, GREEDY);
    });

    await t.test("logits reject with an AbortError that has the signal's reason", async () => {
      const error = await page.evaluate(async () => {
        const controller = new AbortController();
        const failure = kit.failure(cacher.logits(longPrompt, { positions: "all", signal: controller.signal }));
        controller.abort("enough");
        return failure;
      });
      assert.deepEqual([error?.name, error?.code, error?.cause], ["AbortError", "aborted", "enough"]);
      await assertWorks(page);
    });

    assert.deepEqual(problems, []);
  });
}

for (const worker of [true, false]) {
  const where = worker ? "in a worker" : "on the page's thread";
  test(`a load aborted in its download ${where} goes on from there`, { timeout: TIMEOUT_MS }, async () => {
    const bytes = tinyModel();
    const half = bytes.length >> 1;
    server.files[MODEL] = { body: bytes, holdAt: [half] };
    server.forget();
    const { page } = await openLibrary(browser, server);
    const error = await page.evaluate(async (worker) => {
      const controller = new AbortController();
      return kit.failure(
        kit.Cacher.load({
          model: "tiny-gpt2",
          worker,
          signal: controller.signal,
          onProgress: ({ phase, loaded }) => {
            if (phase === "download" && loaded > 0) controller.abort(new Error("changed my mind"));
          },
        }),
      );
    }, worker);
    assert.deepEqual([error?.name, error?.code, error?.cause], ["AbortError", "aborted", "Error: changed my mind"]);

    await page.evaluate(async (worker) => {
      globalThis.cacher = await kit.Cacher.load({ model: "tiny-gpt2", worker });
    }, worker);
    await assertWorks(page);
    assert.ok(server.requests.some(({ path, range }) => path === MODEL && range !== undefined), "it was resumed");
    delete server.files[MODEL];
  });
}
