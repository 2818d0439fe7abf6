/** The whole way with the real engine and the real small model, in Node. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Cacher, CacherError } from "cacher-wasm";

const folder = new URL("../../www/models/tiny-gpt2/", import.meta.url);
const phases = new Set();
let cacher;
before(async () => {
  cacher = await Cacher.load({ model: folder, dtype: "f32", onProgress: ({ phase }) => phases.add(phase) });
});
after(() => cacher.dispose());

test("a folder with a manifest loads, and its hash is the manifest's", async () => {
  const { files } = JSON.parse(await readFile(new URL("manifest.json", folder), "utf8"));
  assert.equal(cacher.model.sha256, files[0].sha256);
  assert.equal(cacher.model.dtype, "f32");
  assert.equal(cacher.model.hasTokenizer, true);
  assert.equal(cacher.storage.backend, "memory");
  assert.ok(phases.has("download") && phases.has("ready"));
});

test("text survives tokens, and offsets are those of the string", async () => {
  const text = "Ünïcode 🦀 and plain.";
  const { ids, offsets } = await cacher.tokenize(text);
  assert.ok(ids instanceof Uint32Array && offsets instanceof Uint32Array);
  assert.equal(offsets.length, 2 * ids.length);
  assert.equal(offsets.at(-1), text.length);
  assert.equal(await cacher.detokenize(ids), text);
  const plain = await cacher.tokenize("<|endoftext|>");
  const special = await cacher.tokenize("<|endoftext|>", { parseSpecial: true });
  assert.ok(plain.ids.length > 1);
  assert.deepEqual([...special.ids], [cacher.model.eosTokenId]);
});

test("text and its ids give the same generation, chunk by chunk", async () => {
  const prompt = "The sea was";
  const { ids } = await cacher.tokenize(prompt);
  const generation = cacher.generate(prompt, { maxTokens: 8, temperature: 0 });
  let text = "";
  for await (const chunk of generation) text += chunk.text;
  const result = await generation.result;
  assert.equal(result.text, text);
  assert.deepEqual(result.promptTokens, [...ids]);
  assert.deepEqual(result.usage, { promptTokens: ids.length, tokensEvaluated: ids.length, completionTokens: result.tokens.length, totalTokens: ids.length + result.tokens.length, droppedTokens: 0, draftTokens: 0, acceptedDraftTokens: 0 });
  assert.equal(result.matched, null);
  assert.ok(result.timings.prefillMs > 0);
  for (const input of [ids, [...ids]]) {
    assert.equal((await cacher.generate(input, { maxTokens: 8, temperature: 0 }).result).text, text);
  }
});

test("the reported seed makes the text again, also beside other generations", async () => {
  const first = await cacher.generate("One day", { maxTokens: 8 }).result;
  const again = await Promise.all([
    cacher.generate("One day", { maxTokens: 8, seed: first.seed }).result,
    cacher.generate("Another", { maxTokens: 8 }).result,
  ]);
  assert.deepEqual(again[0].tokens, first.tokens);
  const big = await cacher.generate("One day", { maxTokens: 1, seed: 2n ** 64n - 1n }).result;
  assert.equal(big.seed, 2n ** 64n - 1n);
});

test("the greedy token is the one with the highest logit", async () => {
  const { data, shape, tokens } = await cacher.logits("The sea was", { positions: [-1] });
  assert.deepEqual(shape, [1, cacher.model.vocabSize]);
  const best = data.reduce((top, value, id) => (value > data[top] ? id : top), 0);
  const { tokens: [next] } = await cacher.generate(tokens, { maxTokens: 1, temperature: 0 }).result;
  assert.equal(next, best);
});

test("an option that is undefined means its default", async () => {
  const { finishReason } = await cacher.generate("a", { maxTokens: 1, topK: undefined, stop: undefined }).result;
  assert.equal(finishReason, "length");
});

test("an abort keeps what was made and leaves the engine whole", async () => {
  const generation = cacher.generate("Long ago", { maxTokens: 500, temperature: 0, eosTokenIds: [] });
  let chunks = 0;
  for await (const _ of generation) if (++chunks === 2) break;
  const result = await generation.result;
  assert.equal(result.finishReason, "aborted");
  assert.ok(result.tokens.length >= 2 && result.tokens.length < 20);
  assert.equal((await cacher.generate("Long ago", { maxTokens: 2 }).result).finishReason, "length");
});

test("bad input is refused by name, with the engine's codes", async () => {
  const { vocabSize, nPositions } = cacher.model;
  const cases = [
    [() => cacher.generate("a", { topKK: 1 }).result, "invalid-option", /topKK/],
    [() => cacher.generate("a", { temperature: -1 }).result, "invalid-option", /temperature/],
    [() => cacher.generate([vocabSize]).result, "invalid-token", new RegExp(String(vocabSize))],
    [() => cacher.logits(new Uint32Array(nPositions + 1)), "context-overflow", /./],
  ];
  for (const [call, code, message] of cases) {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof CacherError);
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
  }
});
