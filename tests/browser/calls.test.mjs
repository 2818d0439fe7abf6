/**
 * Tokens, logits, and what is refused, on small models with known numbers,
 * which are those of f32.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";
import { fixtureJson, floats } from "./lib/paths.mjs";

const FORWARD = fixtureJson("mini-a/forward.json").cases.filter((each) => each.logits !== undefined);
const LONG = fixtureJson("mini-a/forward.json").cases.filter((each) => each.logits_tail !== undefined);
const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

/** Equal within what single precision allows; relative above 1. */
function assertClose(actual, expected, tolerance = 1e-4) {
  assert.equal(actual.length, expected.length);
  expected.forEach((value, index) => {
    const difference = Math.abs(actual[index] - value) / Math.max(1, Math.abs(value));
    assert.ok(difference <= tolerance, `value ${index}: ${actual[index]}, expected ${value}`);
  });
}

for (const worker of [true, false]) {
  test(worker ? "in a worker" : "on the page's thread", { timeout: 2 * TIMEOUT_MS }, async (t) => {
    const { page, problems } = await openLibrary(browser, server);
    const model = await page.evaluate(async (worker) => {
      globalThis.cacher = await kit.Cacher.load({ model: "/fixtures/mini-a/", worker, dtype: "f32" });
      return cacher.model;
    }, worker);
    const logits = (tokens, options) =>
      page.evaluate(([tokens, options]) => kit.plainLogits(cacher.logits(tokens, options)), [tokens, options]);

    await t.test("the model is described", () => {
      const { vocabSize, nPositions, nEmbd, nLayer, nHead, dtype, hasTokenizer, eosTokenId, sha256 } = model;
      assert.deepEqual(
        { vocabSize, nPositions, nEmbd, nLayer, nHead, dtype, hasTokenizer, eosTokenId },
        { vocabSize: 512, nPositions: 128, nEmbd: 48, nLayer: 3, nHead: 4, dtype: "f32", hasTokenizer: true, eosTokenId: 511 },
      );
      assert.match(sha256, /^[0-9a-f]{64}$/);
      assert.ok(model.parameters > 0 && model.weightBytes >= 4 * model.parameters);
    });

    await t.test("logits of all positions are those of transformers", async () => {
      assert.ok(FORWARD.length > 0);
      for (const { input_ids: ids, logits: expected } of FORWARD) {
        const { data, shape, tokens } = await logits(ids, { positions: "all" });
        assert.deepEqual(shape, expected.shape);
        assert.deepEqual(tokens, ids);
        assertClose(data, floats(expected));
      }
    });

    await t.test("logits of chosen positions, counted from either end", async () => {
      assert.ok(LONG.length > 0);
      for (const { input_ids: ids, logits_tail: expected } of LONG) {
        const { data, shape } = await logits(ids, { positions: [-3, ids.length - 2, -1] });
        assert.deepEqual(shape, [3, 512]);
        assertClose(data, floats(expected));
        const last = await logits(ids, {});
        assert.deepEqual(last.shape, [1, 512]);
        assertClose(last.data, floats(expected).slice(-512));
      }
    });

    await t.test("what cannot be is refused with a sentence that names it", async () => {
      const refused = await page.evaluate(async () => {
        const generate = (options, prompt = "Hello") => kit.failure(cacher.generate(prompt, options).result);
        const load = (options) => kit.failure(kit.Cacher.load({ model: "/fixtures/mini-a/", ...options }));
        return Promise.all([
          generate({}, {}),
          load({ dtype: "f16" }),
          load({ store: "cloud" }),
          load({ modle: "x" }),
          load({ model: 5 }),
          kit.failure(cacher.tokenize(5)),
          kit.failure(cacher.logits([1], { positions: [0.5] })),
          kit.failure(cacher.logits([1], { positions: [3] })),
        ]);
      });
      const named = [
        ...["prompt", "dtype", "store", "modle", "model", "text", "positions", "positions"],
      ];
      named.forEach((name, index) => {
        assert.equal(refused[index]?.code, "invalid-argument", `${name}: ${JSON.stringify(refused[index])}`);
        assert.ok(refused[index].message.includes(name), `"${refused[index].message}" names ${name}`);
      });
    });

    await t.test("tokens that the vocabulary lacks are refused by id and place", async () => {
      const refused = await page.evaluate(() =>
        Promise.all([
          kit.failure(cacher.generate([1, 512]).result),
          kit.failure(cacher.logits([1, 512])),
          kit.failure(cacher.detokenize([1, 512])),
          kit.failure(cacher.logits([1, -1])),
        ]),
      );
      assert.deepEqual(refused.map((error) => error?.code), Array(4).fill("invalid-token"));
      for (const { details } of refused.slice(0, 3)) assert.deepEqual([details.id, details.index], [512, 1]);
    });

    await t.test("a prompt over the context is refused, one that fills it up ends there", async () => {
      const [over, full] = await page.evaluate(async () => {
        const ids = (length) => Array.from({ length }, (_, index) => index % 500);
        return [
          await kit.failure(cacher.generate(ids(129), { maxTokens: 1 }).result),
          await kit.plainResult(cacher.generate(ids(120), { maxTokens: 500, eosTokenIds: [], seed: 1 })),
        ];
      });
      assert.equal(over?.code, "context-overflow");
      assert.equal(full.finishReason, "context");
      assert.ok(full.tokens.length >= 8 && full.tokens.length <= 9, `${full.tokens.length} tokens`);
    });

    // The folder has no manifest, which a browser notes when it is asked for.
    assert.deepEqual(problems.filter((line) => !line.includes("/mini-a/manifest.json")), []);
  });
}

test("a model without a tokenizer works on ids, and says so where text is given", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openLibrary(browser, server);
  const { model, result, refused } = await page.evaluate(async () => {
    const files = {};
    for (const name of ["config.json", "model.safetensors"]) {
      files[name] = await (await fetch(`/fixtures/mini-a/${name}`)).blob();
    }
    const cacher = await kit.Cacher.load({ model: files });
    return {
      model: cacher.model,
      result: await kit.plainResult(cacher.generate([102, 222], { temperature: 0, maxTokens: 5 })),
      refused: await Promise.all([
        kit.failure(cacher.generate("Hello").result),
        kit.failure(cacher.tokenize("Hello")),
        kit.failure(cacher.detokenize([1])),
        kit.failure(cacher.logits("Hello")),
        kit.failure(cacher.generate([1], { stop: ["a"] }).result),
      ]),
    };
  });
  assert.equal(model.hasTokenizer, false);
  // Case greedy-000 of the fixtures.
  assert.deepEqual(result.tokens, fixtureJson("mini-a/greedy.json").cases[0].tokens);
  assert.equal(result.text, "");
  assert.deepEqual(refused.map((error) => error?.code), Array(5).fill("no-tokenizer"));
});
