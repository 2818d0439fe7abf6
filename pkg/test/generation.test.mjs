/** What callers see of a generation: streaming, abort, errors, crash, disposal. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Cacher } from "../dist/cacher.js";
import { fakePlatform, weights } from "./fake-engine.mjs";

async function load(platform = fakePlatform(), model = [new File([weights()], "model.gguf")]) {
  return { cacher: await Cacher.loadOn(platform, { model }), platform };
}

test("chunks concatenate to the result's text and tokens", async () => {
  const { cacher } = await load();
  const generation = cacher.generate([1, 2, 3], { maxTokens: 4 });
  let text = "";
  const tokens = [];
  for await (const chunk of generation) {
    text += chunk.text;
    tokens.push(...chunk.tokens);
  }
  const result = await generation.result;
  assert.equal(text, "3 4 5 6 ");
  assert.equal(result.text, text);
  assert.deepEqual(result.tokens, tokens);
  assert.deepEqual(result.promptTokens, [1, 2, 3]);
  assert.equal(result.finishReason, "length");
});

test("the result comes without iterating", async () => {
  const { cacher } = await load();
  assert.equal((await cacher.generate("ab", { maxTokens: 2 }).result).text, "2 3 ");
});

test("chunks made before the iteration begins are not lost", async () => {
  const { cacher } = await load();
  const generation = cacher.generate("a", { maxTokens: 3 });
  await generation.result;
  const chunks = [];
  for await (const { text } of generation) chunks.push(text);
  assert.deepEqual(chunks, ["1 ", "2 ", "3 "]);
});

test("break ends the generation and keeps what was made", async () => {
  const { cacher, platform } = await load();
  const generation = cacher.generate("a", { maxTokens: 1000 });
  for await (const { tokens } of generation) if (tokens[0] === 3) break;
  const result = await generation.result;
  assert.equal(result.finishReason, "aborted");
  assert.ok(result.tokens.length >= 3 && result.tokens.length < 10, `${result.tokens.length} tokens`);
  assert.ok(platform.log.includes("cancel 1"));
});

test("the signal and abort() end it, and the next generation is whole", async () => {
  const { cacher } = await load();
  const controller = new AbortController();
  const first = cacher.generate("a", { maxTokens: 1000, signal: controller.signal });
  const second = cacher.generate("a", { maxTokens: 1000 });
  for await (const chunk of first) if (chunk.tokens[0] === 2) controller.abort();
  second.abort();
  assert.equal((await first.result).finishReason, "aborted");
  assert.equal((await second.result).finishReason, "aborted");
  assert.equal((await cacher.generate("a", { maxTokens: 2 }).result).text, "1 2 ");
});

test("a signal aborted before the start makes nothing and does no work", async () => {
  const { cacher, platform } = await load();
  const generation = cacher.generate("a", { signal: AbortSignal.abort(), seed: 7 });
  for await (const _ of generation) assert.fail("a chunk came");
  const result = await generation.result;
  assert.equal(result.finishReason, "aborted");
  assert.equal(result.text, "");
  assert.equal(result.seed, 7);
  assert.ok(!platform.log.some((line) => line.startsWith("add")));
});

test("generations at once take turns and keep their own text", async () => {
  const { cacher, platform } = await load();
  const results = await Promise.all(["a", "bb", "ccc"].map((p) => cacher.generate(p, { maxTokens: 3 }).result));
  assert.deepEqual(results.map((r) => r.text), ["1 2 3 ", "2 3 4 ", "3 4 5 "]);
  const turns = platform.log.filter((line) => line.startsWith("token"));
  assert.deepEqual(turns.slice(0, 4), ["token 1", "token 2", "token 3", "token 1"]);
});

test("iterating twice is refused", async () => {
  const { cacher } = await load();
  const generation = cacher.generate("a", { maxTokens: 1 });
  for await (const _ of generation);
  assert.throws(() => generation[Symbol.asyncIterator](), { code: "invalid-argument" });
});

test("a bad option is an error in the loop and in the result, unhandled in neither", async () => {
  const { cacher } = await load();
  const unhandled = [];
  const listener = (error) => unhandled.push(error);
  process.on("unhandledRejection", listener);
  const generation = cacher.generate("a", { topKK: 3 });
  await assert.rejects(async () => {
    for await (const _ of generation);
  }, { name: "CacherError", code: "invalid-argument", message: /topKK/, details: { name: "topKK" } });
  await assert.rejects(generation.result, { code: "invalid-argument" });
  cacher.generate("a", { topKK: 3 });
  await new Promise((resolve) => setTimeout(resolve, 20));
  process.off("unhandledRejection", listener);
  assert.deepEqual(unhandled, []);
});

test("a job that fails while running fails alone", async () => {
  const { cacher } = await load();
  const other = cacher.generate("a", { maxTokens: 3 });
  await assert.rejects(cacher.generate("fail later").result, { code: "context-overflow", details: { needed: 65 } });
  assert.equal((await other.result).text, "1 2 3 ");
});

test("token ids are checked, not wrapped", async () => {
  const { cacher } = await load();
  for (const bad of [-1, 1.5, 2 ** 32, "1", NaN]) {
    await assert.rejects(cacher.generate([1, bad]).result, { code: "invalid-token", details: { id: bad, index: 1 } });
    await assert.rejects(cacher.logits([1, bad]), { code: "invalid-token" });
    await assert.rejects(cacher.detokenize([1, bad]), { code: "invalid-token" });
  }
  await assert.rejects(cacher.generate({}).result, { code: "invalid-argument" });
});

test("tokenize, detokenize and logits take and give what their types say", async () => {
  const { cacher } = await load();
  const { ids, offsets } = await cacher.tokenize("hi");
  assert.deepEqual([...ids], [104, 105]);
  assert.deepEqual([...offsets], [0, 1, 1, 2]);
  assert.equal(await cacher.detokenize(ids), "hi");
  assert.deepEqual((await cacher.logits("hi")).shape, [1, 10]);
  const all = await cacher.logits([1, 2, 3], { positions: "all" });
  assert.deepEqual(all.shape, [3, 10]);
  assert.equal(all.data.length, 30);
  assert.deepEqual(all.tokens, [1, 2, 3]);
  await assert.rejects(cacher.logits("hi", { positions: [0.5] }), { code: "invalid-argument" });
});

test("an aborted call rejects with the signal's reason as cause", async () => {
  const { cacher } = await load();
  const aborted = { name: "AbortError", code: "aborted", cause: "enough" };
  await assert.rejects(cacher.tokenize("hi", { signal: AbortSignal.abort("enough") }), aborted);
  const controller = new AbortController();
  const call = cacher.logits("hi", { signal: controller.signal });
  controller.abort("enough");
  await assert.rejects(call, aborted);
});

test("dispose rejects calls in progress and later ones, and may be repeated", async () => {
  const { cacher, platform } = await load();
  const generation = cacher.generate("a", { maxTokens: 1000 });
  await generation[Symbol.asyncIterator]().next();
  await cacher.dispose();
  await cacher.dispose();
  await assert.rejects(generation.result, { code: "disposed" });
  await assert.rejects(cacher.tokenize("a"), { code: "disposed" });
  assert.equal(platform.log.filter((line) => line === "free engine").length, 1);
});

test("a trap fails the calls in progress; the next one finds a new engine, once a minute", async () => {
  const { cacher, platform } = await load();
  const bystander = cacher.generate("a", { maxTokens: 1000 });
  await assert.rejects(cacher.generate("trap later", { maxTokens: 9 }).result, { code: "engine-crashed" });
  await assert.rejects(bystander.result, { code: "engine-crashed" });
  assert.equal(platform.log.filter((line) => line === "start").length, 1);
  const results = await Promise.all([1, 2].map(() => cacher.generate("a", { maxTokens: 1 }).result));
  assert.deepEqual(results.map((r) => r.text), ["1 ", "1 "]);
  assert.equal(platform.log.filter((line) => line === "start").length, 2);
  await assert.rejects(cacher.generate("trap").result, { code: "engine-crashed" });
  await assert.rejects(cacher.tokenize("a"), { code: "engine-crashed", message: /less than a minute/ });
});

test("after a trap, a model given as bytes says that it must be loaded anew", async () => {
  const { cacher } = await load(fakePlatform(), { "model.gguf": weights() });
  await assert.rejects(cacher.generate("trap").result, { code: "engine-crashed" });
  await assert.rejects(cacher.tokenize("a"), { code: "engine-crashed", message: /load the model anew/ });
});

test("load refuses unknown options and dtypes by name", async () => {
  await assert.rejects(Cacher.loadOn(fakePlatform(), { model: "gpt2", modelURL: "x" }), { code: "invalid-argument", message: /modelURL/ });
  await assert.rejects(Cacher.loadOn(fakePlatform(), { model: "gpt2", dtype: "q3" }), { code: "invalid-argument", message: /q3/ });
});
