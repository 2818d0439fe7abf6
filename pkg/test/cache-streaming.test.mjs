/** Streams through the response cache around the small model, in Node: kept ones obey their readers as computed ones do. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Cacher } from "../dist/node.js";

const MODEL = new URL("../../www/models/tiny-gpt2/", import.meta.url);
const PROMPT = "The bridge over the river";
const OPTIONS = { maxTokens: 40, seed: 7, temperature: 0.8, eosTokenIds: [] };

async function load(t, options = {}) {
  const cacher = await Cacher.load({ model: MODEL, cache: true, states: { persist: false }, ...options });
  t.after(() => cacher.dispose());
  return cacher;
}

const said = ({ text, tokens, promptTokens, finishReason, matched, seed }) => ({ text, tokens, promptTokens, finishReason, matched, seed });

async function read(generation) {
  const chunks = [];
  for await (const chunk of generation) chunks.push(chunk);
  return chunks;
}

const turns = async () => {
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
};

test("how a stream is chunked or watched is no part of its key", async (t) => {
  const cacher = await load(t);
  const first = await cacher.generate(PROMPT, OPTIONS).result;
  const extras = { chunk: "sentence", highWaterMark: 3, onProgress: () => {}, stopWhen: () => false };
  const second = await cacher.generate(PROMPT, { ...OPTIONS, ...extras }).result;
  assert.equal(second.cache.hit, "exact");
  assert.deepEqual(said(second), said(first));
  const { key } = await cacher.cache.explainGeneration(PROMPT, { ...OPTIONS, ...extras });
  assert.equal(key, first.cache.key);
});

test("stopWhen: the same of a kept answer as of a computed one, at every place, and it is not kept", async (t) => {
  const [cacher, plain] = [await load(t), await load(t, { cache: false })];
  const options = { ...OPTIONS, stop: ["never comes", " th"], maxTokens: 12 };
  await cacher.generate(PROMPT, options).result;
  for (let count = 1; count <= 12; count++) {
    const stopper = () => {
      let calls = 0;
      return () => ++calls === count;
    };
    const kept = cacher.generate(PROMPT, { ...options, stopWhen: stopper() });
    const chunks = await read(kept);
    const result = await kept.result;
    const computed = await plain.generate(PROMPT, { ...options, stopWhen: stopper() }).result;
    assert.equal(result.cache.hit, "exact");
    assert.deepEqual(said(result), said(computed), `after ${count}`);
    assert.equal(chunks.map(({ text }) => text).join(""), result.text);
    const { draftTokens, acceptedDraftTokens, tokensEvaluated, ...usage } = result.usage;
    for (const [name, value] of Object.entries(usage)) assert.equal(value, computed.usage[name], name);
  }
  const fresh = { ...OPTIONS, seed: 8 };
  assert.equal((await cacher.generate(PROMPT, { ...fresh, stopWhen: (text) => text.length > 9 }).result).finishReason, "callback");
  const whole = await cacher.generate(PROMPT, fresh).result;
  assert.deepEqual([whole.cache.hit, whole.tokens.length], [false, 40]);
});

test("equal requests at once, one of which stops early: each has its own answer", async (t) => {
  const cacher = await load(t);
  const stopWhen = (text) => text.length > 12;
  const [whole, short, other] = await Promise.all([{}, { stopWhen }, {}].map((more) => cacher.generate(PROMPT, { ...OPTIONS, ...more }).result));
  assert.deepEqual([whole.finishReason, short.finishReason, other.finishReason], ["length", "callback", "length"]);
  assert.ok(short.tokens.length < 40 && whole.text.startsWith(short.text));
});

test("a paused reader of a shared generation holds up nobody, and gets all when it goes on", async (t) => {
  const cacher = await load(t);
  const [paused, free] = [cacher.generate(PROMPT, OPTIONS), cacher.generate(PROMPT, OPTIONS)];
  paused.pause();
  const whole = await free.result;
  let ended = false;
  void paused.result.then(() => (ended = true));
  await turns();
  assert.equal(ended, false);
  paused.resume();
  assert.deepEqual(said(await paused.result), said(whole));
  assert.equal((await cacher.generate(PROMPT, OPTIONS).result).cache.hit, "exact");
});

test("a kept stream is given as it is read, paused and resumed", async (t) => {
  const cacher = await load(t);
  const whole = await cacher.generate(PROMPT, OPTIONS).result;
  const kept = cacher.generate(PROMPT, { ...OPTIONS, highWaterMark: 2 });
  let ended = false;
  void kept.result.then(() => (ended = true));
  const iterator = kept[Symbol.asyncIterator]();
  const tokens = [...(await iterator.next()).value.tokens];
  await turns();
  assert.equal(ended, false, "its reader holds it up");
  for (let each = await iterator.next(); !each.done; each = await iterator.next()) tokens.push(...each.value.tokens);
  assert.deepEqual([tokens, (await kept.result).cache.hit], [whole.tokens, "exact"]);

  const paused = cacher.generate(PROMPT, OPTIONS);
  paused.pause();
  await turns();
  paused.abort();
  assert.deepEqual([(await paused.result).finishReason, (await paused.result).tokens], ["aborted", []]);
});

test("a generation that stays paused keeps no equal request waiting: another state's is computed", async (t) => {
  const cacher = await load(t);
  const [one, two] = [await cacher.states.create({ text: PROMPT }), await cacher.states.create({ text: PROMPT })];
  const paused = one.generate({ maxTokens: 20 });
  for await (const _ of paused) {
    paused.pause();
    break;
  }
  const held = (await cacher.states.create({ text: PROMPT })).generate({ maxTokens: 21 });
  held.pause();
  const free = await two.generate({ maxTokens: 21 }).result;
  assert.equal(free.cache.hit, false);
  held.resume();
  assert.equal((await held.result).text, free.text);
});

test("progress of a kept answer has its prompt at once", async (t) => {
  const cacher = await load(t);
  await cacher.generate(PROMPT, OPTIONS).result;
  await cacher.generate(PROMPT, { seed: 1 }).result;
  for (const [options, maxTokens] of [[OPTIONS, 40], [{ seed: 1 }, 128]]) {
    const told = [];
    const { usage, cache } = await cacher.generate(PROMPT, { ...options, onProgress: (progress) => told.push(progress) }).result;
    const total = usage.promptTokens;
    assert.equal(cache.hit, "exact");
    assert.deepEqual([told[0].promptTokens, told[0].maxTokens], [{ done: total, cached: total, total }, maxTokens]);
    assert.equal(told.at(-1).generatedTokens, usage.completionTokens);
  }
});

test("what a kept answer says of its most tokens is the engine's own default", async (t) => {
  const cacher = await load(t);
  const told = [];
  const generation = cacher.generate(PROMPT, { cache: false, onProgress: (progress) => told.push(progress), stopWhen: () => true });
  await generation.result;
  assert.equal(told[0].maxTokens, 128);
});

test("samples without a seed are not kept, those with one are", async (t) => {
  const cacher = await load(t);
  await cacher.generateBatch([PROMPT], { maxTokens: 4, numSamples: 2 }).results;
  assert.equal((await cacher.cache.entries()).total, 0);
  const batch = () => cacher.generateBatch([PROMPT], { maxTokens: 4, numSamples: 2, seed: 3 }).results;
  const [[first], [second]] = [await batch(), await batch()];
  assert.deepEqual(first.value.samples.map(({ cache }) => cache.hit), [false, false]);
  assert.deepEqual(second.value.samples.map(({ cache }) => cache.hit), ["exact", "exact"]);
  assert.deepEqual(second.value.samples.map(said), first.value.samples.map(said));
  const alone = await cacher.generate(PROMPT, { maxTokens: 4, seed: 4 }).result;
  assert.deepEqual([alone.cache.hit, alone.text], ["exact", first.value.samples[1].text]);
});

test("the engine's seed makes requests without one reproducible, but not a state's", async (t) => {
  const cacher = await load(t, { seed: 99 });
  const { reproducible, key } = await cacher.cache.explainGeneration(PROMPT);
  assert.ok(reproducible);
  assert.equal(key, (await cacher.cache.explainGeneration(PROMPT, { seed: 99 })).key);
  const first = await cacher.generate(PROMPT, { maxTokens: 8 }).result;
  const second = await cacher.generate(PROMPT, { maxTokens: 8 }).result;
  assert.deepEqual([first.seed, first.cache.hit, second.cache.hit], [99, false, "exact"]);
  const state = await cacher.states.create({ text: PROMPT });
  assert.equal((await state.generate({ maxTokens: 2 }).result).seed, 0);
});

test("a stream of one's own function waits for its reader", async (t) => {
  const cacher = await load(t);
  let made = 0;
  async function* count() {
    for (; made < 500; ) yield made++;
  }
  const stream = cacher.cache.stream({ count: 500 }, count);
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  await turns();
  assert.ok(made < 100, `${made} parts`);
  stream.pause();
  stream.resume();
  let read = 1;
  for (let each = await iterator.next(); !each.done; each = await iterator.next()) read++;
  assert.equal(read, 500);
  assert.equal((await stream.result).parts.length, 500);
});
