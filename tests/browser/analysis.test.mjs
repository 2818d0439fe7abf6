/**
 * Analyses through the package: what crosses from the engine, of texts, token
 * ids and states; progress, aborts and errors. The numbers themselves are held
 * to transformers' by the golden checks.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";
import { fixtureJson } from "./lib/paths.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

const near = (found, expected, what) =>
  assert.ok(Math.abs(found - expected) <= 1e-4 * Math.max(1, Math.abs(expected)), `${what}: ${found}, not ${expected}`);

test("numbers are those of transformers", { timeout: 2 * TIMEOUT_MS }, async () => {
  const { page, problems } = await openLibrary(browser, server);
  await page.evaluate(async () => {
    globalThis.cacher = await kit.Cacher.load({ model: "/fixtures/mini-a/", dtype: "f32" });
  });
  const cases = fixtureJson("mini-a/forward.json").cases.filter(({ perplexity }) => perplexity !== undefined);
  assert.ok(cases.length > 0);
  for (const { name, input_ids: ids, loss, perplexity } of cases) {
    const [whole, tokens] = await page.evaluate(
      (ids) => Promise.all([cacher.analysis.perplexity(ids), cacher.analysis.tokens(Uint32Array.from(ids))]),
      [...ids],
    );
    near(whole.perplexity, perplexity, name);
    near(whole.bitsPerToken * Math.LN2, loss, name);
    near(tokens.logprob, -loss * (ids.length - 1), name);
    assert.deepEqual(tokens.tokens.map(({ id }) => id), ids);
  }
  assert.deepEqual(problems, []);
});

for (const worker of [true, false]) {
  test(worker ? "in a worker" : "on the page's thread", { timeout: 2 * TIMEOUT_MS }, async (t) => {
    const { page, problems } = await openLibrary(browser, server);
    await page.evaluate(async (worker) => {
      globalThis.cacher = await kit.Cacher.load({ model: "tiny-gpt2", worker });
      /** With plain arrays, and without what depends on the KV cache. */
      globalThis.plain = async (promise) => {
        const { tokensEvaluated: _, ...result } = await promise;
        for (const [name, value] of Object.entries(result)) {
          if (ArrayBuffer.isView(value?.data)) result[name] = { kind: value.data.constructor.name, shape: value.shape, data: [...value.data] };
        }
        return result;
      };
    }, worker);
    const TEXT = "Once upon a time there was a little girl. She had a café 😀 in the woods.";
    const ask = (kind, input, options = {}) =>
      page.evaluate(([kind, input, options]) => plain(cacher.analysis[kind](input, options)), [kind, input, options]);

    await t.test("tokens have the places that the tokenizer gives, and the likeliest come first", async () => {
      const { tokens, logprob } = await ask("tokens", TEXT, { top: 3 });
      const offsets = await page.evaluate(async (text) => [...(await cacher.tokenize(text)).offsets], TEXT);
      assert.deepEqual(tokens.flatMap(({ start, end }) => [start, end]), offsets);
      assert.equal(tokens[0].expected, null);
      let sum = 0;
      for (const { expected } of tokens.slice(1)) {
        sum += expected.logprob;
        assert.equal(expected.top.length, 3);
        assert.ok(expected.top[0].logprob >= expected.top[1].logprob && expected.entropy > 0);
        assert.equal(expected.rank === 1, expected.top[0].logprob === expected.logprob);
      }
      near(logprob, sum, "the sum");
    });

    await t.test("a state is analysed as its text is", async () => {
      const results = await page.evaluate(async (text) => {
        const state = await cacher.states.create({ text, persist: false });
        const both = [];
        for (const input of [state, text]) {
          const { tokensEvaluated: evaluated, ...tokens } = await cacher.analysis.tokens(input, { range: { start: -5 } });
          both.push({ evaluated, tokens, distribution: await plain(cacher.analysis.distribution(input, { options: { topK: 5 } })) });
        }
        const compared = await cacher.analysis.compare(state, { with: text });
        await state.delete();
        return { both, divergence: compared.firstDivergence };
      }, TEXT);
      const [ofState, ofText] = results.both;
      assert.deepEqual(ofState, ofText);
      assert.equal(ofState.evaluated, 5, "what the state has computed is not computed again");
      assert.equal(results.divergence, null);
      assert.equal(ofState.distribution.processed.left, 5);
    });

    await t.test("large results are typed arrays with shapes", async () => {
      const { vocabSize, nLayer } = await page.evaluate(() => cacher.model);
      const { logprobs, processedLogprobs } = await ask("distribution", TEXT, { full: true, options: { topP: 0.5 } });
      assert.deepEqual([logprobs.kind, logprobs.shape], ["Float32Array", [vocabSize]]);
      near(logprobs.data.reduce((sum, x) => sum + Math.exp(x), 0), 1, "the whole");
      assert.ok(processedLogprobs.data.includes(-Infinity));
      const correlation = await ask("correlation", TEXT, { layer: nLayer, range: { end: 6 }, influence: true });
      assert.deepEqual([correlation.cosines.kind, correlation.cosines.shape], ["Float32Array", [6, 6]]);
      for (let i = 0; i < 6; i++) near(correlation.cosines.data[7 * i], 1, "the diagonal");
      assert.deepEqual(correlation.influence.shape, [6, 6]);
      const { changes, tokens } = await ask("leaveOneOut", TEXT, { target: 5 });
      assert.deepEqual([changes.kind, changes.shape, tokens.length], ["Float64Array", [5], 5]);
    });

    await t.test("text longer than the context has a perplexity, and tells how far it is", async () => {
      const { progress, perplexity, tokens } = await page.evaluate(async (text) => {
        const progress = [];
        const long = text.repeat(Math.ceil((2.5 * cacher.model.nPositions) / 20));
        const tokens = (await cacher.tokenize(long)).ids.length;
        const perplexity = await plain(cacher.analysis.perplexity(long, { onProgress: (each) => progress.push(each) }));
        return { progress, perplexity, tokens };
      }, TEXT);
      assert.equal(perplexity.tokensScored, tokens - 1);
      assert.ok(perplexity.windows > 2 && perplexity.perplexity > 1 && perplexity.bitsPerByte > 0);
      assert.ok(progress.length > 10);
      assert.ok(progress.every(({ done, total }, i) => done <= total && (i === 0 || done >= progress[i - 1].done)));
      assert.equal(progress.at(-1).done, progress.at(-1).total);
    });

    await t.test("n-grams are counted against a prompt", async () => {
      const { ngrams } = await ask("ngrams", "the cat and the cat and the dog", { prompt: "the cat", maxN: 2 });
      assert.equal(ngrams.length, 2);
      assert.deepEqual(ngrams[0].top.slice(0, 2).map(({ text, count }) => [text, count]), [[" cat", 2], [" and", 2]]);
      assert.ok(ngrams[1].repetition > 0 && ngrams[1].novelty > 0 && ngrams[1].novelty < 1);
    });

    await t.test("two texts and two sets of options are compared", async () => {
      const texts = await ask("compare", "My friend and I went home.", { with: "My friend and you went home." });
      assert.ok(texts.firstDivergence > 0 && texts.positions.length > 0);
      assert.ok(texts.positions.every(({ kl }) => kl > 0));
      const settings = await ask("compare", TEXT, { options: [{ temperature: 0.5, topK: 0 }, { temperature: 1.5, topK: 0 }], range: { start: 3 } });
      assert.equal(settings.firstDivergence, 3);
      assert.ok(settings.positions.every(({ kl, js, rankA, rankB }) => kl > 0 && js < Math.LN2 && rankA === rankB));
    });

    await t.test("an abort ends it, and other work goes on", async () => {
      const { error, alone, beside } = await page.evaluate(async (text) => {
        const options = { temperature: 0, maxTokens: 20, cachePrompt: false, seed: 1 };
        const alone = await kit.plainResult(cacher.generate("The weather", options));
        const controller = new AbortController();
        let steps = 0;
        const onProgress = () => ++steps === 3 && controller.abort();
        const long = cacher.analysis.leaveOneOut(text.repeat(3), { signal: controller.signal, onProgress });
        const [error, beside] = await Promise.all([kit.failure(long), kit.plainResult(cacher.generate("The weather", options))]);
        return { error, alone, beside };
      }, TEXT);
      assert.equal(error.code, "aborted");
      assert.deepEqual(beside, alone);
    });

    await t.test("what may not be is refused with its code", async () => {
      const refused = (kind, input, options) =>
        page.evaluate(([kind, input, options]) => kit.failure(cacher.analysis[kind](input, options)), [kind, input, options]);
      for (const [code, kind, input, options, option] of [
        ["invalid-option", "tokens", "abc", { top: 101 }, "top"],
        ["invalid-option", "tokens", "abc", { topp: 1 }, "topp"],
        ["invalid-option", "tokens", "abc", { range: { start: 99 } }, "range.start"],
        ["invalid-option", "tokens", "abc", { onProgress: 1 }, "onProgress"],
        ["invalid-option", "distribution", "abc", { options: { topP: 2 } }, "options.topP"],
        ["invalid-option", "perplexity", "abc", { window: 1 }, "window"],
        ["invalid-argument", "tokens", null, {}],
        ["invalid-argument", "tokens", "abc", null],
        ["invalid-argument", "compare", "abc", {}],
        ["invalid-token", "tokens", [-1], {}],
        ["invalid-token", "tokens", [4_000_000], {}],
        ["context-overflow", "tokens", new Array(5000).fill(1), {}],
      ]) {
        const error = await refused(kind, input, options);
        assert.equal(error?.code, code, `${kind} ${JSON.stringify(options)}: ${error?.message}`);
        if (option !== undefined) assert.equal(error.details.option, option);
      }
      const gone = await page.evaluate(async () => {
        const state = await cacher.states.create({ text: "abc", persist: false });
        await state.delete();
        return kit.failure(cacher.analysis.tokens(state));
      });
      assert.equal(gone.code, "state-not-found");
    });

    assert.deepEqual(problems, []);
  });
}
