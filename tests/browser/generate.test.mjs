/**
 * Generating through the package, in a worker and on the page's own thread.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";
import { fixtureJson } from "./lib/paths.mjs";
import { waitUntil } from "./lib/wait.mjs";

const golden = fixtureJson("tiny-gpt2/golden-q8_0.json").prompts;
const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

for (const worker of [true, false]) {
  test(worker ? "in a worker" : "on the page's thread", { timeout: 2 * TIMEOUT_MS }, async (t) => {
    const { page, problems } = await openLibrary(browser, server);
    await page.evaluate(async (worker) => {
      globalThis.cacher = await kit.Cacher.load({ model: "tiny-gpt2", worker });
    }, worker);
    assert.equal(page.workers().length, worker ? 1 : 0);

    await t.test("greedy text is that of transformers", async () => {
      for (const { prompt, ids, greedy32, greedy32_text: text } of golden.slice(0, 2)) {
        const { chunks, result } = await page.evaluate(
          (prompt) => kit.collect(cacher.generate(prompt, { temperature: 0, maxTokens: 32, eosTokenIds: [] })),
          prompt,
        );
        assert.deepEqual(result.promptTokens, ids);
        assert.deepEqual(result.tokens, greedy32);
        assert.equal(result.text, text);
        assert.equal(result.finishReason, "length");
        // Prompts that begin alike share what was computed.
        const { tokensEvaluated, ...usage } = result.usage;
        assert.ok(tokensEvaluated >= 1 && tokensEvaluated <= ids.length);
        assert.deepEqual(usage, {
          promptTokens: ids.length,
          completionTokens: 32,
          totalTokens: ids.length + 32,
          droppedTokens: 0,
          draftTokens: 0,
          acceptedDraftTokens: 0,
        });
        assert.ok(chunks.length > 1, "the text comes in pieces");
        assert.equal(chunks.map((chunk) => chunk.text).join(""), text);
        assert.deepEqual(chunks.flatMap((chunk) => chunk.tokens), greedy32);
      }
    });

    await t.test("the same seed gives the same text, another seed another", async () => {
      const run = (seed) =>
        page.evaluate(async (seed) => {
          const generation = cacher.generate("My friend and I", { maxTokens: 24, seed });
          return (await kit.plainResult(generation)).text;
        }, seed);
      const first = await run(7);
      assert.equal(await run(7), first);
      assert.notEqual(await run(8), first);
    });

    await t.test("a fresh seed is reported and makes the same text again", async () => {
      const [first, again] = await page.evaluate(async () => {
        const first = await kit.plainResult(cacher.generate("The sea", { maxTokens: 16 }));
        const again = await kit.plainResult(cacher.generate("The sea", { maxTokens: 16, seed: first.seed }));
        return [first, again];
      });
      assert.deepEqual(again, first);
    });

    await t.test("two generations at once give the texts that each gives alone", async () => {
      const [alone, together, order] = await page.evaluate(async () => {
        const requests = [
          ["Once upon a time", { maxTokens: 20, seed: 1, cachePrompt: false }],
          ["The weather today", { maxTokens: 20, seed: 2, cachePrompt: false }],
        ];
        const alone = [];
        for (const request of requests) alone.push(await kit.plainResult(cacher.generate(...request)));
        const order = [];
        const together = await Promise.all(
          requests.map(async (request, index) => {
            const generation = cacher.generate(...request);
            for await (const _ of generation) order.push(index);
            return kit.plainResult(generation);
          }),
        );
        return [alone, together, order.join("")];
      });
      assert.deepEqual(together, alone);
      assert.match(order, /0.*1.*0.*1/, "they take turns");
    });

    await t.test("the text ends before a stop string, or with it where that is asked for", async () => {
      const [before, withIt] = await page.evaluate(async () => {
        const options = { temperature: 0, maxTokens: 32, stop: ["little girl"] };
        return [
          await kit.collect(cacher.generate("Once upon a time", options)),
          await kit.collect(cacher.generate("Once upon a time", { ...options, includeStop: true })),
        ];
      });
      assert.equal(before.result.text, ", there was a ");
      assert.equal(before.result.finishReason, "stop");
      assert.equal(before.result.matched, "little girl");
      assert.equal(withIt.result.text, ", there was a little girl");
      for (const { chunks, result } of [before, withIt]) {
        assert.equal(chunks.map((chunk) => chunk.text).join(""), result.text);
      }
    });

    await t.test("token ids in place of text give the same", async () => {
      const { prompt, ids } = golden[0];
      const [text, tokens] = await page.evaluate(
        async (inputs) => {
          const results = [];
          for (const input of inputs) {
            results.push(await kit.plainResult(cacher.generate(input, { maxTokens: 12, seed: 3 })));
          }
          return results;
        },
        [prompt, ids],
      );
      assert.deepEqual(tokens, text);
    });

    await t.test("dispose ends it: calls in progress and later ones are refused", async () => {
      const failures = await page.evaluate(async () => {
        const running = cacher.generate("Once upon a time", { maxTokens: 900, eosTokenIds: [] });
        await running[Symbol.asyncIterator]().next();
        const inProgress = kit.failure(running.result);
        await cacher.dispose();
        return [await inProgress, await kit.failure(cacher.tokenize("a"))];
      });
      assert.deepEqual(failures.map((error) => error?.code), ["disposed", "disposed"]);
      await waitUntil(() => page.workers().length === 0);
    });

    assert.deepEqual(problems, []);
  });
}

test("the page needs no cross-origin isolation, and uses none", async () => {
  const { page } = await openLibrary(browser, server);
  assert.equal(await page.evaluate(() => crossOriginIsolated), false);
});
