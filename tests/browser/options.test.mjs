/**
 * Every option of a generation: refused by name, value and range where it may
 * not be, from a page, for texts, states and many texts at once; and what each
 * does where it may.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

const { page } = await openLibrary(browser, server);
await page.evaluate(async () => {
  globalThis.cacher = await kit.Cacher.load({ model: "tiny-gpt2" });
});

/** Option, what it may not be, and a word of its range. */
const BAD = [
  ["maxTokens", -5, "whole number"],
  ["maxTokens", 1.5, "whole number"],
  ["temperature", -1, "at least 0"],
  ["temperature", "hot", "number"],
  ["temperatureSchedule", { type: "sideways" }, "linear"],
  ["temperatureSchedule", { type: "linear", to: 0, tokens: 5 }, "above 0"],
  ["temperatureSchedule", { type: "cosine", to: 1, tokens: 0 }, "at least 1"],
  ["temperatureSchedule", { type: "entropy", min: 1, max: 0.5 }, "at least min"],
  ["topH", 0, "above 0"],
  ["topK", -1, "whole number"],
  ["adaptiveTopK", { min: 0, max: 5 }, "1 <= min"],
  ["topP", 1.5, "at most 1"],
  ["adaptiveTopP", { min: 0.9, max: 0.5 }, "min <= max"],
  ["minP", 2, "from 0 to 1"],
  ["typicalP", 0, "above 0"],
  ["epsilonCutoff", 1, "below 1"],
  ["etaCutoff", -0.1, "at least 0"],
  ["mirostat", { tau: -1 }, "above 0"],
  ["mirostat", { eta: 2 }, "from 0 to 1"],
  ["seed", -1, "2^64"],
  ["repetitionPenalty", 0, "above 0"],
  ["frequencyPenalty", "x", "number"],
  ["presencePenalty", Number.NaN, "finite"],
  ["noRepeatNgramSize", -2, "whole number"],
  ["badWords", [""], "some length"],
  ["badWords", [[50257]], "below 50257"],
  ["sequenceBias", [["a", "b"]], "number"],
  ["logitBias", { 50257: 1 }, "below 50257"],
  ["logitBias", { 5: true }, "number or false"],
  ["logitBias", { "two words": 1 }, "one token"],
  ["suppressTokens", [50257], "below 50257"],
  ["beginSuppressTokens", [-1], "whole number"],
  ["minLength", -1, "whole number"],
  ["minNewTokens", -1, "whole number"],
  ["forcedBosTokenId", 50257, "below 50257"],
  ["forcedEosTokenId", "x", "token id"],
  ["exponentialDecayLengthPenalty", [3, 0], "above 0"],
  ["removeInvalidValues", 1, "true or false"],
  ["renormalizeLogits", "yes", "true or false"],
  ["guidanceScale", Number.POSITIVE_INFINITY, "finite"],
  ["negativePrompt", [50257], "below 50257"],
  ["constraint", { regex: "(" }, ""],
  ["constraint", { choices: [] }, ""],
  ["constraint", {}, ""],
  ["stop", [""], "some length"],
  ["stop", 3, "string"],
  ["includeStop", "no", "true or false"],
  ["eosTokenIds", [50257], "below 50257"],
  ["stopTokenIds", [50257], "below 50257"],
  ["stopAt", "word", "line"],
  ["maxTimeMs", -1, "at least 0"],
  ["stopBelowProbability", 2, "from 0 to 1"],
  ["stopAboveEntropy", -1, "at least 0"],
  ["stopOnLoop", { repeats: 1 }, "from 2"],
  ["stopOnLoop", { maxPeriod: 0 }, "from 1"],
  ["logprobs", 101, "from 0 to 100"],
  ["parseSpecial", "no", "true or false"],
  ["contextPolicy", "shift", "truncate-start"],
  ["keepPrefixTokens", -1, "whole number"],
  ["promptLookupNumTokens", 33, "from 0 to 32"],
  ["cachePrompt", 0, "true or false"],
  ["chunk", "page", "word"],
  ["onProgress", 5, "function"],
  ["stopWhen", "never", "function"],
  ["highWaterMark", 0, "from 1"],
  ["topk", 5, "topK"],
];

test("what an option may not be is refused by name, value and range", { timeout: TIMEOUT_MS }, async (t) => {
  const refused = await page.evaluate(async (bad) => {
    const state = await cacher.states.create({ text: "Once", persist: false });
    const each = ([option, value]) => {
      const options = { [option]: value };
      return Promise.all([
        kit.failure(cacher.generate("Once", options).result),
        kit.failure((async () => state.generate(options).result)()),
      ]);
    };
    const all = [];
    for (const one of bad) all.push(await each(one));
    return all;
  }, BAD);
  for (const [index, [option, value, range]] of BAD.entries()) {
    await t.test(`${option}: ${JSON.stringify(value)}`, () => {
      for (const error of refused[index]) {
        assert.equal(error?.code, "invalid-option", JSON.stringify(error));
        const { details } = error;
        assert.equal(details.option.replace(/[.[].*/, ""), option);
        assert.ok(String(details.value).length > 0 && details.range.length > 0);
        assert.ok(details.range.includes(range), details.range);
        assert.ok(error.message.includes(details.option) && error.message.includes(details.range));
      }
    });
  }
});

/** Generates in the page; the result. */
const generate = (options, prompt = "Once upon a time") =>
  page.evaluate(([prompt, options]) => kit.plainResult(cacher.generate(prompt, options)), [prompt, options]);

const GREEDY = { temperature: 0, maxTokens: 40 };

test("each control does what it says", { timeout: TIMEOUT_MS }, async (t) => {
  const plain = await generate(GREEDY);
  const [first, second] = plain.tokens;

  await t.test("bans and biases", async () => {
    const words = plain.text.trim().split(/\s+/);
    const banned = words.find((word) => /^[a-z]{3,}$/.test(word));
    const without = await generate({ ...GREEDY, badWords: [banned] });
    assert.ok(!without.text.includes(banned), `${banned}: ${without.text}`);
    assert.notEqual((await generate({ ...GREEDY, suppressTokens: [first] })).tokens[0], first);
    assert.notEqual((await generate({ ...GREEDY, beginSuppressTokens: [first] })).tokens[0], first);
    assert.notEqual((await generate({ ...GREEDY, logitBias: { [first]: false } })).tokens[0], first);
    assert.equal((await generate({ ...GREEDY, logitBias: { " dog": 100 }, maxTokens: 1 })).text, " dog");
    const sequence = [[[first, 11], 100]];
    assert.equal((await generate({ ...GREEDY, sequenceBias: sequence })).tokens[1], 11);
    assert.notEqual(second, 11);
    const distinct = await generate({ ...GREEDY, noRepeatNgramSize: 1 });
    assert.equal(new Set(distinct.tokens).size, distinct.tokens.length);
  });

  await t.test("forced tokens and least lengths", async () => {
    const forced = await generate({ ...GREEDY, maxTokens: 5, forcedEosTokenId: 13 });
    assert.equal(forced.tokens[4], 13);
    assert.equal((await generate({ ...GREEDY, forcedBosTokenId: 13 }, [50256])).tokens[0], 13);
    const early = await generate({ ...GREEDY, eosTokenIds: [first] });
    assert.deepEqual([early.finishReason, early.matched, early.tokens.length], ["eos", first, 1]);
    assert.ok((await generate({ ...GREEDY, eosTokenIds: [first], minNewTokens: 4 })).tokens.length > 4);
  });

  await t.test("ends", async () => {
    const line = await generate({ ...GREEDY, stopAt: "sentence", maxTokens: 100 });
    assert.deepEqual([line.finishReason, line.matched], ["boundary", "sentence"]);
    assert.match(line.text, /[.!?]["”']?$/);
    const token = await generate({ ...GREEDY, stopTokenIds: [second] });
    assert.deepEqual([token.finishReason, token.matched, token.tokens.length], ["stop-token", second, 2]);
    const time = await generate({ ...GREEDY, maxTimeMs: 0 });
    assert.deepEqual([time.finishReason, time.tokens.length], ["time", 0]);
    const unsure = await generate({ temperature: 1, seed: 1, topK: 0, stopBelowProbability: 0.2, maxTokens: 100 });
    assert.equal(unsure.finishReason, "probability");
    assert.ok(unsure.matched < 0.2);
    const open = await generate({ ...GREEDY, stopAboveEntropy: 0.01 });
    assert.equal(open.finishReason, "entropy");
    const circles = await generate({ temperature: 0, maxTokens: 200, stopOnLoop: { repeats: 2 }, logitBias: { 13: 100 } });
    assert.deepEqual([circles.finishReason, circles.matched, circles.tokens], ["loop", 1, [13, 13]]);
  });

  await t.test("schedules, truncations and mirostat have a text each, the same each time", async () => {
    const sampled = { maxTokens: 20, topK: 0, seed: 3 };
    const controls = [
      { temperatureSchedule: { type: "linear", to: 2, tokens: 10 } },
      { temperatureSchedule: { type: "cosine", to: 2, tokens: 10 } },
      { temperatureSchedule: { type: "entropy", min: 0.2, max: 2 } },
      { adaptiveTopK: { min: 1, max: 50 } },
      { adaptiveTopP: { min: 0.2, max: 0.9 } },
      { mirostat: { tau: 2 } },
      { typicalP: 0.3 },
      { epsilonCutoff: 0.02 },
      { etaCutoff: 0.02 },
      { topH: 0.3 },
      { frequencyPenalty: 1.5 },
      { presencePenalty: 1.5 },
      { guidanceScale: 2 },
      { exponentialDecayLengthPenalty: [0, 1.5] },
    ];
    const free = await generate({ ...sampled, maxTokens: 40 });
    for (const control of controls) {
      const [once, again] = [await generate({ ...sampled, maxTokens: 40, ...control }), await generate({ ...sampled, maxTokens: 40, ...control })];
      assert.deepEqual(again, once, JSON.stringify(control));
      assert.notDeepEqual(once.tokens, free.tokens, JSON.stringify(control));
    }
    const cold = await generate({ ...sampled, topH: 0.0001 });
    assert.deepEqual(cold.tokens, (await generate({ ...GREEDY, maxTokens: 20 })).tokens);
  });

  await t.test("log-probabilities are those of the logits", async () => {
    const { logprobs, tokens } = await generate({ ...GREEDY, maxTokens: 3, logprobs: 5, repetitionPenalty: 1.3 });
    const row = await page.evaluate(async (tokens) => {
      const { ids } = await cacher.tokenize("Once upon a time");
      const { data } = await cacher.logits([...ids, ...tokens.slice(0, 2)]);
      const most = Math.max(...data);
      const logSum = most + Math.log(data.reduce((sum, value) => sum + Math.exp(value - most), 0));
      const ranked = [...data.keys()].sort((a, b) => data[b] - data[a]).slice(0, 5);
      return { chosen: data[tokens[2]] - logSum, ranked, top: ranked.map((id) => data[id] - logSum) };
    }, tokens);
    const told = logprobs[2];
    assert.equal(told.id, tokens[2]);
    assert.ok(Math.abs(told.logprob - row.chosen) < 1e-4);
    assert.deepEqual(told.top.map(({ id }) => id), row.ranked);
    told.top.forEach(({ logprob }, index) => assert.ok(Math.abs(logprob - row.top[index]) < 1e-4));
    assert.ok(told.entropy > 0 && told.rank >= 1 && told.processedLogprob <= 0);
  });
});

test("a text goes on past the context, and says when it drops something", { timeout: TIMEOUT_MS }, async () => {
  const { chunks, result } = await page.evaluate(async () => {
    const long = Array.from({ length: 1010 }, (_, index) => 200 + (index % 300));
    return kit.collect(cacher.generate(long, { maxTokens: 40, temperature: 0, eosTokenIds: [], contextPolicy: "truncate-middle" }));
  });
  assert.deepEqual([result.finishReason, result.tokens.length], ["length", 40]);
  assert.equal(result.promptTokens.length, 1010);
  const dropped = chunks.filter((chunk) => chunk.droppedTokens !== undefined);
  assert.equal(dropped.length, 1);
  assert.equal(dropped[0].droppedTokens, result.usage.droppedTokens);
  const over = await page.evaluate(async () => {
    const long = Array.from({ length: 1500 }, (_, index) => 200 + (index % 300));
    const refused = await kit.failure(cacher.generate(long, { maxTokens: 1 }).result);
    const cut = await kit.plainResult(cacher.generate(long, { maxTokens: 1, contextPolicy: "keep-prefix", keepPrefixTokens: 50 }));
    return { refused, cut };
  });
  assert.deepEqual([over.refused.code, over.refused.details], ["context-overflow", { needed: 1500, available: 1024 }]);
  assert.equal(over.cut.usage.droppedTokens, 476);
});

test("a state goes on past the context and keeps its whole text", { timeout: TIMEOUT_MS }, async () => {
  const { before, after, again } = await page.evaluate(async () => {
    const tokens = Array.from({ length: 1015 }, (_, index) => 200 + (index % 300));
    const config = { temperature: 0, maxTokens: 20, eosTokenIds: [], contextPolicy: "truncate-start" };
    const state = await cacher.states.create({ tokens, config, persist: false });
    const before = (await state.info()).tokens;
    await state.generate().result;
    const after = (await state.info()).tokens;
    const { finishReason } = await state.generate().result;
    return { before, after, again: finishReason };
  });
  assert.deepEqual([before, after, again], [1015, 1035, "length"]);
});

test("an answer is kept with its log-probabilities, and given again with them", { timeout: TIMEOUT_MS }, async () => {
  const [computed, kept] = await page.evaluate(async () => {
    const options = { maxTokens: 10, seed: 4, logprobs: 2, stopBelowProbability: 0.001, cache: true };
    return [
      await kit.collect(cacher.generate("The cat", options)),
      await kit.collect(cacher.generate("The cat", options)),
    ];
  });
  assert.equal(kept.result.cache.hit, "exact");
  assert.deepEqual(kept.chunks, computed.chunks);
  assert.deepEqual(kept.result.logprobs, computed.result.logprobs);
  assert.equal(kept.result.logprobs.length, kept.result.tokens.length);
});
