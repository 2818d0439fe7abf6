/** Many generations at once. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Slots } from "../dist/batch/slots.js";
import { Cacher } from "../dist/cacher.js";
import { fakePlatform, weights } from "./fake-engine.mjs";

async function load(options = {}) {
  const platform = fakePlatform();
  const cacher = await Cacher.loadOn(platform, { model: [new File([weights()], "model.gguf")], ...options });
  return { cacher, log: platform.log };
}

const texts = async (batch) => (await batch.results).map(({ value, reason }) => value?.text ?? reason.code);

/** Most jobs that the engine had at a time, from its log. */
function mostAtOnce(log) {
  const steps = log.join("\n").split("step").map((step) => new Set(step.match(/token \d+/g)).size);
  return Math.max(...steps);
}

test("each prompt has its own answer, in the order of the prompts", async () => {
  const { cacher } = await load();
  assert.deepEqual(await texts(cacher.generateBatch(["a", [1, 2], "ccc"], { maxTokens: 2 })), ["1 2 ", "2 3 ", "3 4 "]);
  assert.deepEqual(await texts(cacher.generateBatch(["a", "bb"], [{ maxTokens: 1 }, { maxTokens: 3 }])), ["1 ", "2 3 4 "]);
  assert.deepEqual(await texts(cacher.generateBatch([], { maxTokens: 1 })), []);
});

test("so many at a time as `concurrency` says, 8 where it says nothing", async () => {
  for (const [options, settings, expected] of [
    [{ maxTokens: 9 }, {}, 8],
    [{ maxTokens: 9, concurrency: 3 }, {}, 3],
    [Array.from({ length: 20 }, () => ({ maxTokens: 9 })), { concurrency: 1 }, 1],
  ]) {
    const { cacher, log } = await load();
    const batch = cacher.generateBatch(Array.from({ length: 20 }, () => "a"), options, settings);
    assert.ok((await texts(batch)).every((text) => text === "1 2 3 4 5 6 7 8 9 "));
    assert.equal(mostAtOnce(log), expected);
  }
});

test("the chunks of all come tagged, and are each answer's", async () => {
  const { cacher } = await load();
  const batch = cacher.generateBatch(["a", "bb", "ccc"], { maxTokens: 5, concurrency: 2, numSamples: 2, seed: 1 });
  const said = {};
  for await (const { index, sample, chunk } of batch) said[`${index} ${sample}`] = (said[`${index} ${sample}`] ?? "") + chunk.text;
  for (const [index, { value }] of (await batch.results).entries()) {
    for (const [sample, { text }] of value.samples.entries()) assert.equal(said[`${index} ${sample}`], text);
  }
  assert.equal(Object.keys(said).length, 6);
});

test("what holds up the reader holds up all", async () => {
  const { cacher, log } = await load();
  const batch = cacher.generateBatch(["a", "bb"], { maxTokens: 500, highWaterMark: 8, concurrency: 2 });
  const iterator = batch[Symbol.asyncIterator]();
  await iterator.next();
  for (let turn = 0; turn < 300; turn++) await new Promise((resolve) => setImmediate(resolve));
  const made = log.filter((line) => line.startsWith("token")).length;
  assert.ok(made <= 8 + 3, `${made} tokens`);
  await iterator.return();
  assert.ok((await batch.results).every(({ value }) => value.finishReason === "aborted"));
});

test("one that fails fails alone", async () => {
  const { cacher } = await load();
  const batch = cacher.generateBatch(["a", "fail later", "bb"], { maxTokens: 1 });
  const chunks = [];
  for await (const each of batch) chunks.push(each.index);
  assert.deepEqual(chunks.sort(), [0, 2]);
  assert.deepEqual(await texts(batch), ["1 ", "context-overflow", "2 "]);
  await assert.rejects(batch.items[1], { code: "context-overflow" });
  assert.equal((await batch.items[2]).text, "2 ");
  assert.deepEqual(await texts(cacher.generateBatch(["a", "a"], [{ maxTokens: 1 }, { topKK: 1 }])), ["1 ", "invalid-argument"]);
});

test("an abort ends one or all, and those that have not begun never begin", async () => {
  const { cacher, log } = await load();
  const controller = new AbortController();
  const batch = cacher.generateBatch(Array.from({ length: 6 }, () => "a"), { maxTokens: 400, concurrency: 2 }, { signal: controller.signal });
  const reasons = async () => (await batch.results).map(({ value }) => value.finishReason);
  await batch.generations[0][0][Symbol.asyncIterator]().next();
  batch.abort(1);
  assert.equal((await batch.items[1]).finishReason, "aborted");
  controller.abort();
  assert.deepEqual(await reasons(), Array(6).fill("aborted"));
  assert.ok(log.filter((line) => line.startsWith("add")).length <= 3);
  assert.throws(() => batch.abort(6), { code: "invalid-argument" });
  const one = new AbortController();
  one.abort();
  const mixed = cacher.generateBatch(["a", "a"], [{ maxTokens: 2, signal: one.signal }, { maxTokens: 2 }]);
  assert.deepEqual(await texts(mixed), ["", "1 2 "]);
  const none = cacher.generateBatch(["a"], { maxTokens: 2 }, { signal: AbortSignal.abort() });
  assert.deepEqual(await texts(none), [""]);
});

test("pause holds all up, or one", async () => {
  const { cacher, log } = await load();
  const batch = cacher.generateBatch(["a", "bb"], { maxTokens: 5 });
  batch.pause(0);
  assert.equal((await batch.items[1]).text, "2 3 4 5 6 ");
  assert.ok(!log.includes("token 1"));
  batch.resume(0);
  assert.equal((await batch.items[0]).text, "1 2 3 4 5 ");
});

test("sample i has the seed plus i, beyond 2^53 and round 2^64 too", async () => {
  const { cacher } = await load();
  const seeds = async (options) => (await cacher.generateBatch(["a"], { maxTokens: 1, numSamples: 3, ...options }).results)[0].value.samples.map(({ seed }) => seed);
  assert.deepEqual(await seeds({ seed: 5 }), [5, 6, 7]);
  assert.deepEqual(await seeds({ seed: 2 ** 53 - 2 }), [2 ** 53 - 2, 2 ** 53 - 1, 2n ** 53n]);
  assert.deepEqual(await seeds({ seed: 2n ** 64n - 1n }), [2n ** 64n - 1n, 0, 1]);
  const [first, second, third] = await seeds({});
  assert.deepEqual([second - first, third - first], [1, 2]);
  const seeded = await load({ seed: 9 });
  assert.deepEqual((await seeded.cacher.generateBatch(["a"], { maxTokens: 1, numSamples: 2 }).results)[0].value.samples.map(({ seed }) => seed), [9, 10]);
});

test("the samples of a prompt begin when its prompt has been read", async () => {
  const { cacher, log } = await load();
  const prompt = Array.from({ length: 100 }, () => 1);
  await cacher.generateBatch([prompt, "bb"], { maxTokens: 3, numSamples: 3, seed: 0 }).results;
  const adds = log.filter((line) => line.startsWith("add") || /^token [12]$/.test(line));
  // The first of each prompt; the others of the second; those of the first, once it has given a token.
  const third = adds.indexOf("add 3");
  assert.ok(third > adds.indexOf("token 2"));
  assert.ok(adds.indexOf("add 5") > adds.indexOf("token 1"));
});

test("bestOf takes the likeliest by mean log-probability, of equal ones the first", async () => {
  const { cacher } = await load();
  const best = async (options) => (await cacher.generateBatch(["a"], { maxTokens: 4, bestOf: 4, ...options }).results)[0].value;
  // A token's log-probability is minus the seed's last digit here.
  const { sample, seed, samples, meanLogProbs } = await best({ seed: 7 });
  assert.deepEqual([sample, seed, meanLogProbs], [3, 10, [-7, -8, -9, 0]]);
  assert.deepEqual(samples.map((each) => each.seed), [7, 8, 9, 10]);
  assert.equal((await best({ seed: 10 })).sample, 0);
  const none = await best({ seed: 1, maxTokens: 0 });
  assert.deepEqual([none.sample, none.meanLogProbs], [0, [null, null, null, null]]);
  const plain = (await cacher.generateBatch(["a"], { maxTokens: 1, numSamples: 2, seed: 1 }).results)[0].value;
  assert.deepEqual([plain.sample, plain.meanLogProbs, plain.logprobs], [0, null, null]);
});

test("options of a batch that are out of range are refused by name, value and range", async () => {
  const { cacher } = await load();
  for (const [option, value] of [["concurrency", 0], ["concurrency", 257], ["numSamples", 0], ["numSamples", 1001], ["numSamples", "3"], ["bestOf", 1.5], ["highWaterMark", 0]]) {
    assert.throws(() => cacher.generateBatch(["a"], { [option]: value }), (error) => {
      assert.deepEqual([error.code, error.details.option, error.details.value], ["invalid-option", option, value]);
      return error.message.includes(error.details.range);
    });
  }
  assert.throws(() => cacher.generateBatch(["a"], { bestOf: 2, numSamples: 2 }), { code: "invalid-option" });
  assert.throws(() => cacher.generateBatch("a"), { code: "invalid-argument" });
  assert.throws(() => cacher.generateBatch(["a"], []), { code: "invalid-argument" });
  assert.throws(() => cacher.generateBatch(["a"], {}, { concurency: 2 }), { code: "invalid-argument" });
});

test("as server-sent events, the last has what became of each prompt", async () => {
  const { cacher } = await load();
  const stream = cacher.generateBatch(["a", "fail later"], { maxTokens: 1 }).toEventStream();
  const events = (await new Response(stream).text()).trim().split("\n\n").map((event) => event.slice(6));
  assert.deepEqual(JSON.parse(events[0]), { index: 0, sample: 0, chunk: { text: "1 ", tokens: [1] } });
  const [first, second] = JSON.parse(events[1]).result;
  assert.deepEqual([first.result.text, second.error.code, events[2]], ["1 ", "context-overflow", "[DONE]"]);
});

test("places are given by order and not by arrival", async () => {
  const slots = new Slots(1);
  const never = new AbortController().signal;
  const leave = await slots.enter(5, never);
  const entered = [];
  const controller = new AbortController();
  const gone = slots.enter(0, controller.signal);
  const waits = [3, 1, 2].map(async (order) => {
    const out = await slots.enter(order, never);
    entered.push(order);
    out();
    out();
  });
  controller.abort();
  await assert.rejects(gone, { code: "aborted" });
  leave();
  await Promise.all(waits);
  assert.deepEqual(entered, [1, 2, 3]);
  await assert.rejects(slots.enter(1, AbortSignal.abort()), { code: "aborted" });
});
