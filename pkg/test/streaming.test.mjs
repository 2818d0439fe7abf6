/** What a reader has in hand: backpressure, pause, stopWhen, progress, and the web's forms. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Cacher } from "../dist/cacher.js";
import { ProgressMeter } from "../dist/streaming/progress.js";
import { fakePlatform, weights } from "./fake-engine.mjs";

async function load(options = {}) {
  const platform = fakePlatform();
  const cacher = await Cacher.loadOn(platform, { model: [new File([weights()], "model.gguf")], ...options });
  const count = (start) => platform.log.filter((line) => line.startsWith(start)).length;
  return { cacher, log: platform.log, count };
}

/** Long enough for an engine that is not held up to get far ahead. */
const settle = async () => {
  for (let turn = 0; turn < 300; turn++) await new Promise((resolve) => setImmediate(resolve));
};

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

test("once somebody reads, the engine is at most highWaterMark chunks ahead, and goes on as they are read", async () => {
  const { cacher, count } = await load();
  for (const highWaterMark of [1, 2, 5, 64]) {
    const before = count("token");
    const generation = cacher.generate("a", { maxTokens: 200, highWaterMark });
    const iterator = generation[Symbol.asyncIterator]();
    await iterator.next();
    for (let readSoFar = 1; readSoFar < 20; readSoFar++) {
      await settle();
      const ahead = count("token") - before - readSoFar;
      assert.ok(ahead <= highWaterMark && ahead >= Math.floor(highWaterMark / 2), `${ahead} ahead of ${highWaterMark}`);
      await iterator.next();
    }
    await iterator.return();
    assert.equal((await generation.result).finishReason, "aborted");
  }
});

test("an engine that is held up does not spin", async () => {
  const { cacher, count } = await load();
  const generation = cacher.generate("a", { maxTokens: 200, highWaterMark: 2 });
  await generation[Symbol.asyncIterator]().next();
  await settle();
  const steps = count("step");
  await settle();
  assert.equal(count("step"), steps);
  generation.abort();
  assert.equal((await generation.result).finishReason, "aborted");
});

test("who awaits only the result is never held up; nor is one beside a reader that is", async () => {
  const { cacher } = await load();
  const held = cacher.generate("a", { maxTokens: 200, highWaterMark: 1 });
  await held[Symbol.asyncIterator]().next();
  const free = cacher.generate("bb", { maxTokens: 200, highWaterMark: 1 });
  assert.equal((await free.result).tokens.length, 200);
  held.abort();
});

test("chunks that were made before the reading begins count, and none is lost", async () => {
  const { cacher, count } = await load();
  const generation = cacher.generate("a", { maxTokens: 2000, highWaterMark: 4 });
  await settle();
  const iterator = generation[Symbol.asyncIterator]();
  await iterator.next();
  await settle();
  const made = count("token");
  await settle();
  assert.ok(made > 20 && count("token") === made, "far ahead, and then held up");
  generation.abort();
  const { tokens } = await generation.result;
  const rest = [];
  for (let each = await iterator.next(); !each.done; each = await iterator.next()) rest.push(...each.value.tokens);
  assert.deepEqual([1, ...rest], tokens);
});

test("large chunks do not hold up the small ones that they are made of", async () => {
  const { cacher } = await load();
  for (const chunk of [{ tokens: 50 }, "line", "sentence", { ms: 10_000 }]) {
    const generation = cacher.generate("a", { maxTokens: 120, highWaterMark: 1, chunk });
    const chunks = await read(generation);
    const { text, tokens } = await generation.result;
    assert.equal(chunks.map((each) => each.text).join(""), text);
    assert.deepEqual(chunks.flatMap((each) => each.tokens), tokens);
    assert.ok(chunks.length <= 3);
  }
});

test("by time, what is there is given on even if nothing more comes", async () => {
  const { cacher } = await load();
  const onProgress = ({ generatedTokens }) => generatedTokens === 1 && generation.pause();
  const generation = cacher.generate("a", { maxTokens: 3000, chunk: { ms: 30 }, onProgress });
  const iterator = generation[Symbol.asyncIterator]();
  const { value } = await iterator.next();
  assert.ok(value.tokens.length >= 1);
  assert.ok(generation.paused);
  await iterator.return();
});

test("pause holds it up within a step, resume lets it go on, and the text is the same", async () => {
  const { cacher, count } = await load();
  const generation = cacher.generate("a", { maxTokens: 300 });
  const chunks = [];
  let made;
  for await (const chunk of generation) {
    chunks.push(chunk);
    if (chunks.length !== 5) continue;
    generation.pause();
    assert.equal(generation.paused, true);
    await settle();
    made = count("token");
    await settle();
    assert.equal(count("token"), made);
    assert.ok(made < 12, `${made} tokens`);
    generation.resume();
    assert.equal(generation.paused, false);
  }
  const { tokens } = await generation.result;
  assert.equal(tokens.length, 300);
  assert.deepEqual(chunks.flatMap((chunk) => chunk.tokens), tokens);
  generation.pause();
  assert.equal(generation.paused, false, "there is nothing left to pause");
});

test("paused before it begins, nothing is made until it is resumed", async () => {
  const { cacher, count } = await load();
  const generation = cacher.generate("a", { maxTokens: 3 });
  generation.pause();
  await settle();
  assert.equal(count("token"), 0);
  generation.resume();
  assert.equal((await generation.result).text, "1 2 3 ");
});

test("paused in its prompt, it goes on in its prompt", async () => {
  const { cacher, count } = await load();
  const prompt = Array.from({ length: 100 }, () => 1);
  const seen = [];
  const generation = cacher.generate(prompt, {
    maxTokens: 2,
    onProgress: ({ promptTokens }) => {
      seen.push(promptTokens.done);
      if (seen.length === 1) generation.pause();
    },
  });
  await settle();
  assert.deepEqual([seen, count("token")], [[32], 0]);
  generation.resume();
  assert.equal((await generation.result).text, "100 101 ");
});

test("an abort ends a paused generation with what there is, in its prompt too", async () => {
  const { cacher } = await load();
  for (const [prompt, expected] of [["a", 1], [Array.from({ length: 1000 }, () => 1), 0]]) {
    const controller = new AbortController();
    const generation = cacher.generate(prompt, { maxTokens: 500, signal: controller.signal });
    if (expected > 0) await generation[Symbol.asyncIterator]().next();
    generation.pause();
    await settle();
    controller.abort();
    const { finishReason, tokens, promptTokens } = await generation.result;
    assert.equal(finishReason, "aborted");
    assert.ok(expected === 0 ? tokens.length === 0 : tokens.length >= expected, `${tokens.length} tokens`);
    assert.ok(promptTokens.length > 0, "the engine's own result");
    assert.equal(generation.paused, false);
  }
});

test("breaking out of the loop aborts, at once even while it is paused", async () => {
  const { cacher } = await load();
  const generation = cacher.generate("a", { maxTokens: 500 });
  for await (const _ of generation) {
    generation.pause();
    break;
  }
  assert.equal((await generation.result).finishReason, "aborted");
});

test("dispose rejects a paused generation", async () => {
  const { cacher } = await load();
  const generation = cacher.generate("a", { maxTokens: 500 });
  generation.pause();
  await settle();
  await cacher.dispose();
  await assert.rejects(generation.result, { code: "disposed" });
});

test("a crash rejects paused generations too", async () => {
  const { cacher } = await load();
  const paused = cacher.generate("a", { maxTokens: 500 });
  paused.pause();
  await assert.rejects(cacher.generate("trap later", { maxTokens: 9 }).result, { code: "engine-crashed" });
  await assert.rejects(paused.result, { code: "engine-crashed" });
});

test("stopWhen ends the text with the very chunk that it chose", async () => {
  const { cacher, log, count } = await load();
  const asked = [];
  const stopWhen = (text, chunk) => {
    asked.push([text, chunk.tokens]);
    return text.endsWith("7 ");
  };
  const generation = cacher.generate("a", { maxTokens: 100, stopWhen });
  const chunks = await read(generation);
  const result = await generation.result;
  assert.equal(result.finishReason, "callback");
  assert.equal(result.text, "1 2 3 4 5 6 7 ");
  assert.deepEqual(chunks.flatMap(({ tokens }) => tokens), result.tokens);
  assert.equal(count("token"), 7, "nothing was made beyond");
  assert.ok(log.includes("cancel 1 callback"));
  assert.deepEqual(asked[1], ["1 2 ", [2]]);
  assert.equal(asked.length, 7);
});

test("stopWhen sees each token whatever the chunking, with or without a reader", async () => {
  const { cacher } = await load();
  for (const chunk of ["line", { tokens: 4 }, { ms: 5000 }]) {
    let calls = 0;
    const generation = cacher.generate("a", { maxTokens: 100, chunk, highWaterMark: 1, stopWhen: () => ++calls === 6 });
    assert.equal((await read(generation)).flatMap(({ tokens }) => tokens).length, 6);
    assert.equal((await generation.result).tokens.length, 6);
  }
  const unread = cacher.generate("a", { maxTokens: 100, stopWhen: (text) => text.length > 3 });
  assert.equal((await unread.result).text, "1 2 ");
});

test("where the text has ended of itself, stopWhen comes too late", async () => {
  const { cacher } = await load();
  const { finishReason } = await cacher.generate("a", { maxTokens: 3, stopWhen: (text) => text.endsWith("3 ") }).result;
  assert.equal(finishReason, "length");
});

test("an error that stopWhen or onProgress throws is the generation's, as it is, and ends the work", async () => {
  const { cacher, count } = await load();
  const mistake = new TypeError("a mistake");
  const thrower = () => {
    throw mistake;
  };
  for (const options of [{ stopWhen: thrower }, { onProgress: thrower }, { stopWhen: () => Promise.resolve(false) }]) {
    const cancelled = count("cancel");
    const generation = cacher.generate("a", { maxTokens: 100, ...options });
    const expected = (error) => error === mistake || (error.code === "invalid-option" && error.details.option === "stopWhen");
    await assert.rejects(() => read(generation), expected);
    await assert.rejects(generation.result, expected);
    assert.equal(count("cancel"), cancelled + 1);
  }
  assert.equal((await cacher.generate("a", { maxTokens: 2 }).result).text, "1 2 ");
});

test("progress tells of the prompt and then of the text, with the last numbers at the end", async () => {
  const { cacher } = await load();
  const told = [];
  const prompt = Array.from({ length: 70 }, () => 1);
  await cacher.generate(prompt, { maxTokens: 40, onProgress: (progress) => told.push(progress) }).result;
  const [first] = told;
  assert.deepEqual([first.phase, first.promptTokens, first.maxTokens], ["prefill", { done: 32, cached: 0, total: 70 }, 40]);
  assert.ok(told.some(({ phase, promptTokens }) => phase === "prefill" && promptTokens.done === 70));
  const last = told.at(-1);
  assert.deepEqual([last.phase, last.generatedTokens, last.remainingMs], ["generate", 40, 0]);
  for (const [index, { phase }] of told.entries()) assert.ok(phase === "generate" || told[index - 1]?.phase !== "generate");
});

test("progress is told ten times a second, and leaves pauses out of its speed", () => {
  let now = 0;
  const told = [];
  const meter = new ProgressMeter((progress) => told.push(progress), () => now);
  const prompt = (done) => meter.prompt({ done, cached: 10, total: 110, maxTokens: 21 });
  now = 50;
  prompt(60);
  assert.deepEqual([told.at(-1).tokensPerSecond, told.at(-1).remainingMs], [1000, 50]);
  now = 60;
  prompt(70);
  assert.equal(told.length, 1, "too soon");
  now = 100;
  prompt(110);
  assert.deepEqual([told.length, told.at(-1).remainingMs], [2, 0]);
  meter.generated(1);
  assert.deepEqual([told.at(-1).phase, told.at(-1).tokensPerSecond, told.at(-1).remainingMs], ["generate", 0, null]);
  for (let token = 0; token < 4; token++) {
    now += 25;
    meter.generated(1);
  }
  assert.deepEqual([told.length, told.at(-1).tokensPerSecond, told.at(-1).remainingMs], [4, 40, 400]);
  meter.paused = true;
  now += 10_000;
  meter.paused = false;
  for (let token = 0; token < 4; token++) {
    now += 25;
    meter.generated(1);
  }
  assert.equal(told.at(-1).tokensPerSecond, 40);
  meter.end();
  assert.equal(told.at(-1).generatedTokens, 9);
});

test("options of a stream that are out of range are refused by name, value and range", async () => {
  const { cacher, count } = await load();
  const bad = [
    ...["letter", 5, null, {}, { ms: 0 }, { ms: 1.5 }, { ms: 2 ** 31 }, { tokens: -1 }, { characters: "5" }, { ms: 5, tokens: 5 }, { toString: 5 }].map((chunk) => ["chunk", chunk]),
    ...[0, -1, 1.5, "64", null, Infinity, 2 ** 32].map((mark) => ["highWaterMark", mark]),
    ["onProgress", true],
    ["stopWhen", "x"],
  ];
  for (const [option, value] of bad) {
    const generation = cacher.generate("a", { [option]: value });
    await assert.rejects(generation.result, (error) => {
      assert.deepEqual([error.code, error.details.option, error.details.value], ["invalid-option", option, value]);
      assert.ok(error.message.startsWith(`${option}: is `) && error.message.includes(error.details.range), error.message);
      return true;
    });
    await assert.rejects(() => read(generation), { code: "invalid-option" });
  }
  assert.equal(count("add"), 0);
});

test("as a web stream, the chunks come when they are asked for, and cancelling aborts", async () => {
  const { cacher, count } = await load();
  const whole = cacher.generate("a", { maxTokens: 50 });
  assert.deepEqual((await read(whole.toReadableStream())).map(({ text }) => text).join(""), (await whole.result).text);

  const generation = cacher.generate("a", { maxTokens: 500, highWaterMark: 3 });
  const before = count("token");
  const reader = generation.toReadableStream().getReader();
  await reader.read();
  await settle();
  assert.ok(count("token") - before <= 4);
  await reader.cancel();
  assert.equal((await generation.result).finishReason, "aborted");
  assert.throws(() => generation.toReadableStream(), { code: "invalid-argument" });
});

test("cancelling a web stream that waits for a chunk aborts at once", async () => {
  const { cacher } = await load();
  for (const form of ["toReadableStream", "textStream", "toEventStream"]) {
    const generation = cacher.generate("a", { maxTokens: 500 });
    generation.pause();
    const reader = generation[form]().getReader();
    const waiting = reader.read();
    await settle();
    await reader.cancel();
    assert.equal((await waiting).done, true);
    assert.equal((await generation.result).finishReason, "aborted");
  }
});

test("as text, the stream has the text alone", async () => {
  const { cacher } = await load();
  const texts = await read(cacher.generate("a", { maxTokens: 4, chunk: { tokens: 3 } }).textStream());
  assert.deepEqual(texts, ["1 2 3 ", "4 "]);
});

/** The data of the events of a stream of bytes. */
async function events(stream) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of stream) text += decoder.decode(bytes, { stream: true });
  assert.ok(text.endsWith("\n\n"));
  return text.slice(0, -2).split("\n\n").map((event) => {
    assert.ok(event.startsWith("data: ") && !event.includes("\n"), event);
    return event.slice(6);
  });
}

test("as server-sent events, there is one for each chunk, then the result, then the end", async () => {
  const { cacher } = await load();
  const seed = 2n ** 60n + 3n;
  const all = await events(cacher.generate("a", { maxTokens: 2, seed }).toEventStream());
  assert.deepEqual(all.slice(0, 2).map((each) => JSON.parse(each)), [{ text: "1 ", tokens: [1] }, { text: "2 ", tokens: [2] }]);
  const { result } = JSON.parse(all[2]);
  assert.deepEqual([result.text, result.seed], ["1 2 ", seed.toString()]);
  assert.deepEqual(all.slice(3), ["[DONE]"]);
});

test("server-sent events tell of an error, and end", async () => {
  const { cacher } = await load();
  const [event, ...rest] = await events(cacher.generate("fail later").toEventStream());
  assert.deepEqual(JSON.parse(event), { error: { code: "context-overflow", message: "too long", details: { needed: 65 } } });
  assert.deepEqual(rest, ["[DONE]"]);
});

test("the seed of `load` is that of generations without their own", async () => {
  const { cacher } = await load({ seed: 42 });
  assert.equal((await cacher.generate("a", { maxTokens: 1 }).result).seed, 42);
  assert.equal((await cacher.generate("a", { maxTokens: 1, seed: 7 }).result).seed, 7);
  assert.equal((await cacher.generate("a", { signal: AbortSignal.abort() }).result).seed, 42);
  for (const seed of [-1, 1.5, "1", null, 2n ** 64n]) {
    await assert.rejects(load({ seed }), { code: "invalid-option", details: { option: "seed", value: seed, range: "a whole number from 0 to 2^53-1, or a bigint up to 2^64-1" } });
  }
});
