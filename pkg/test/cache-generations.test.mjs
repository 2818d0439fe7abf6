/** The response cache around a model, the small one, in Node. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Cacher } from "../dist/node.js";

const MODEL = new URL("../../www/models/tiny-gpt2/", import.meta.url);
const PROMPT = "The bridge over the river";
const OPTIONS = { maxTokens: 24, seed: 7, temperature: 0.8 };

async function load(t, cache, states = { persist: false }) {
  const cacher = await Cacher.load({ model: MODEL, cache, states });
  t.after(() => cacher.dispose());
  return cacher;
}

async function read(generation) {
  const chunks = [];
  for await (const chunk of generation) chunks.push(chunk);
  return { chunks, ...(await generation.result) };
}

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits for what comes by itself; a test that waits in vain times out. */
async function until(condition) {
  while (!(await condition())) await later(5);
}

/** What an answer says, whenever it was computed. */
const said = ({ text, tokens, promptTokens, finishReason, matched, seed }) => ({ text, tokens, promptTokens, finishReason, matched, seed });

test("a request that is repeated is answered with the same chunks, and nothing is computed", async (t) => {
  const cacher = await load(t, true);
  const first = await read(cacher.generate(PROMPT, OPTIONS));
  const second = await read(cacher.generate(PROMPT, OPTIONS));
  assert.equal(first.cache.hit, false);
  assert.equal(second.cache.hit, "exact");
  assert.equal(second.cache.layer, "memory");
  assert.ok(second.cache.savedMs > 0);
  assert.deepEqual(said(second), said(first));
  assert.deepEqual(second.chunks, first.chunks);
  assert.deepEqual(second.timings, first.timings);
  assert.equal(second.usage.tokensEvaluated, 0);
  const stats = await cacher.cache.stats();
  assert.equal(stats.savedTokens, 24);
  assert.deepEqual(stats.models.map(({ model, hits }) => [model, hits]), [[cacher.model.sha256, 1]]);
});

test("the cached text is the uncached one", async (t) => {
  const [cached, plain] = [await load(t, true), await load(t, false)];
  for (const options of [OPTIONS, { maxTokens: 40, temperature: 0 }, { ...OPTIONS, stop: [" the"], maxTokens: 60 }, { ...OPTIONS, maxTokens: 0 }]) {
    const expected = said(await plain.generate(PROMPT, options).result);
    await cached.generate(PROMPT, options).result;
    const hit = await cached.generate(PROMPT, options).result;
    assert.equal(hit.cache.hit, "exact");
    assert.deepEqual(said(hit), { ...expected, seed: hit.seed });
  }
});

test("requests that mean the same share an answer, others do not", async (t) => {
  const cacher = await load(t, true);
  await cacher.generate(PROMPT, OPTIONS).result;
  const { ids } = await cacher.tokenize(PROMPT);
  for (const [prompt, options] of [
    [PROMPT, { temperature: 0.8, seed: 7n, maxTokens: 24, topK: 50, topP: 1 }],
    [ids, { ...OPTIONS, topK: undefined }],
    [[...ids], { ...OPTIONS, cachePrompt: false, promptLookupNumTokens: 4 }],
  ]) {
    assert.equal((await cacher.generate(prompt, options).result).cache.hit, "exact");
  }
  for (const options of [{ ...OPTIONS, seed: 8 }, { ...OPTIONS, maxTokens: 23 }, { ...OPTIONS, topK: 49 }]) {
    assert.equal((await cacher.generate(PROMPT, options).result).cache.hit, false);
  }
  const { json, reproducible, key } = await cacher.cache.explainGeneration(PROMPT, OPTIONS);
  assert.ok(reproducible);
  assert.deepEqual(JSON.parse(json).prompt, [...ids]);
  assert.equal((await cacher.generate(PROMPT, OPTIONS).result).cache.key, key);
});

test("chance is not kept unless that is asked for", async (t) => {
  const cacher = await load(t, true);
  const options = { maxTokens: 12, temperature: 1 };
  const free = await cacher.generate(PROMPT, options).result;
  assert.equal(free.cache.key, null);
  assert.equal((await cacher.cache.entries()).total, 0);
  const kept = await cacher.generate(PROMPT, { ...options, cache: true }).result;
  const again = await cacher.generate(PROMPT, { ...options, cache: true }).result;
  assert.equal(again.cache.hit, "exact");
  assert.deepEqual(said(again), said(kept));
});

test("without a word in `load`, only requests that ask use the cache; with `false`, none can", async (t) => {
  const [quiet, none] = [await load(t, undefined), await load(t, false)];
  await quiet.generate(PROMPT, OPTIONS).result;
  assert.equal((await quiet.cache.entries()).total, 0);
  await quiet.generate(PROMPT, { ...OPTIONS, cache: true }).result;
  assert.equal((await quiet.generate(PROMPT, { ...OPTIONS, cache: "only" }).result).cache.hit, "exact");
  await assert.rejects(quiet.generate("other", { ...OPTIONS, cache: "only" }).result, { code: "not-cached" });
  await assert.rejects(none.generate(PROMPT, { ...OPTIONS, cache: true }).result, { code: "invalid-argument" });
  assert.equal((await none.generate(PROMPT, OPTIONS).result).cache.key, null);
  await assert.rejects(quiet.generate(PROMPT, { cache: "sometimes" }).result, { code: "invalid-argument" });
});

test("equal requests at once are computed once, each with all chunks", async (t) => {
  const cacher = await load(t, true);
  const answers = await Promise.all(Array.from({ length: 4 }, () => read(cacher.generate(PROMPT, OPTIONS))));
  for (const answer of answers) assert.deepEqual([answer.chunks.map(({ text }) => text).join(""), said(answer)], [answers[0].text, said(answers[0])]);
  assert.equal(answers.filter(({ cache }) => cache.shared).length, 3);
  assert.equal((await cacher.cache.stats()).sets, 1);
});

test("who leaves a shared generation has what was made; the others have all", async (t) => {
  const cacher = await load(t, true);
  const options = { ...OPTIONS, maxTokens: 200 };
  const [first, second] = [cacher.generate(PROMPT, options), cacher.generate(PROMPT, options)];
  for await (const _ of first) break;
  const [left, whole] = await Promise.all([first.result, second.result]);
  assert.equal(left.finishReason, "aborted");
  assert.ok(left.tokens.length >= 1 && whole.text.startsWith(left.text));
  assert.notEqual(whole.finishReason, "aborted");
  assert.equal((await cacher.generate(PROMPT, options).result).cache.hit, "exact");
});

test("an aborted generation is not kept", async (t) => {
  const cacher = await load(t, true);
  const generation = cacher.generate(PROMPT, { ...OPTIONS, maxTokens: 500 });
  for await (const _ of generation) break;
  const { finishReason, cache } = await generation.result;
  assert.deepEqual([finishReason, cache.hit, cache.key], ["aborted", false, null]);
  const state = await cacher.states.create({ text: PROMPT });
  const writing = state.generate({ maxTokens: 500 });
  for await (const _ of writing) break;
  const left = await writing.result;
  assert.deepEqual([left.finishReason, left.cache.hit, left.cache.key], ["aborted", false, null]);
  assert.equal((await cacher.cache.entries()).total, 0);
});

test("a state is written on with what is kept, exactly as if it were computed", async (t) => {
  const cacher = await load(t, true);
  const [one, two, three] = [await cacher.states.create({ text: PROMPT }), await cacher.states.create({ text: PROMPT }), await cacher.states.create({ text: PROMPT })];
  const { key } = await one.explainGeneration({ maxTokens: 16 });
  const first = await read(one.generate({ maxTokens: 16 }));
  assert.equal(first.cache.key, key);
  const second = await read(two.generate({ maxTokens: 16 }));
  const plain = await read(three.generate({ maxTokens: 16, cache: false }));
  assert.deepEqual([first.cache.hit, second.cache.hit, plain.cache.key], [false, "exact", null]);
  assert.deepEqual(second.chunks, first.chunks);
  for (const answer of [second, plain]) assert.deepEqual(said(answer), said(first));
  for (const state of [two, three]) {
    assert.equal(await state.text(), await one.text());
    assert.deepEqual((await state.info()).rng, (await one.info()).rng);
  }
  // And what comes next is the same too.
  const next = await Promise.all([one, two, three].map((state) => state.generate({ maxTokens: 8, cache: false }).result));
  assert.deepEqual(next.map(({ text }) => text), Array(3).fill(next[0].text));
  // A plain generation from the same seed asks the same.
  const asked = await cacher.generate(PROMPT, { maxTokens: 16, seed: 0 }).result;
  assert.equal(asked.cache.hit, "exact");
});

test("kept generations are told as text, and expire", async (t) => {
  const cacher = await load(t, { ttlJitter: 0 });
  const { text } = await cacher.generate(PROMPT, { ...OPTIONS, tags: ["t"] }).result;
  const { items } = await cacher.cache.entries({ tags: ["t"] });
  assert.equal(items.length, 1);
  assert.deepEqual([items[0].title, items[0].kind, items[0].tokens], [PROMPT, "generation", 24]);
  assert.equal((await cacher.cache.entry(items[0].key)).value, text);
  await cacher.generate(PROMPT, { ...OPTIONS, cache: "refresh", cacheTtl: 1 }).result;
  await later(10);
  assert.equal((await cacher.generate(PROMPT, OPTIONS).result).cache.hit, false);
});

test("an expired answer is given to a state that begins, and computed anew without it", async (t) => {
  const cacher = await load(t, { staleMs: 600_000, ttlJitter: 0 });
  const begin = () => cacher.states.create({ text: PROMPT, config: { seed: 3 } });
  const [one, two, three] = [await begin(), await begin(), await begin()];
  for (const options of [{ maxTokens: 8 }, { maxTokens: 8, temperature: 0 }]) {
    const first = await one.generate({ ...options, cacheTtl: 1 }).result;
    await later(10);
    const stale = await two.generate(options).result;
    assert.deepEqual([stale.cache.hit, said(stale)], ["stale", said(first)]);
    await until(async () => (await cacher.cache.stats()).sets % 2 === 0);
    const fresh = await three.generate(options).result;
    assert.deepEqual([fresh.cache.hit, said(fresh)], ["exact", said(first)]);
  }
  assert.deepEqual(await Promise.all([two, three].map((state) => state.text())), Array(2).fill(await one.text()));
  const { refreshes, hits } = await cacher.cache.stats();
  assert.deepEqual([refreshes, hits.stale], [2, 2]);
  // Within its random numbers only the state itself can compute it.
  await one.generate({ maxTokens: 8, cacheTtl: 1 }).result;
  await later(10);
  assert.equal((await two.generate({ maxTokens: 8 }).result).cache.hit, false);
});

test("warming computes what is not there", async (t) => {
  const cacher = await load(t, true);
  await cacher.generate("one", OPTIONS).result;
  const steps = [];
  const requests = ["one", "two", "three"].map((prompt) => ({ prompt, options: OPTIONS }));
  const counts = await cacher.cache.warm([...requests, { prompt: "x", options: { topP: 5 } }], { concurrency: 2, onProgress: (progress) => steps.push(progress) });
  assert.deepEqual(counts, { computed: 2, present: 1, failed: 1 });
  assert.deepEqual(steps.at(-1), { total: 4, ...counts });
  assert.equal((await cacher.generate("three", OPTIONS).result).cache.hit, "exact");
  const stopped = new AbortController();
  stopped.abort();
  await assert.rejects(cacher.cache.warm(requests, { signal: stopped.signal }), { code: "aborted" });
});

test("a pin outlasts a new answer and a new visit; a pinned tag does not stick", async (t) => {
  const { mkdtemp, rm } = await import("node:fs/promises");
  const { tmpdir } = await import("node:os");
  const folder = await mkdtemp(`${tmpdir()}/cacher-test-`);
  t.after(() => rm(folder, { recursive: true }));
  const layers = [{ kind: "file", folder }];
  const pinned = async (cacher) => Object.fromEntries((await cacher.cache.entries()).items.map((entry) => [entry.title, entry.pinned]));
  const first = await load(t, { layers, pinnedTags: ["keep"] });
  const { cache } = await first.generate("one", OPTIONS).result;
  await first.cache.pin(cache.key);
  await first.generate("two", { ...OPTIONS, tags: ["keep"] }).result;
  assert.deepEqual(await pinned(first), { one: true, two: true });
  await first.dispose();
  const second = await load(t, { layers });
  assert.equal((await second.generate("one", { ...OPTIONS, cache: "refresh" }).result).cache.hit, false);
  assert.equal((await second.generate("two", OPTIONS).result).cache.layer, "file");
  assert.deepEqual(await pinned(second), { one: true, two: false });
});

test("answers of a model, and those that are older, are invalidated", async (t) => {
  const cacher = await load(t, true);
  await cacher.cache.set("a value", 1);
  await cacher.generate("one", OPTIONS).result;
  assert.equal(await cacher.cache.invalidate({ model: "0".repeat(64) }), 0);
  assert.equal(await cacher.cache.invalidate({ olderThanMs: 600_000 }), 0);
  assert.equal(await cacher.cache.invalidate({ model: cacher.model.sha256, olderThanMs: 600_000 }), 0);
  assert.equal(await cacher.cache.invalidate({ model: cacher.model.sha256 }), 1);
  assert.deepEqual((await cacher.cache.entries()).items.map(({ kind }) => kind), ["value"]);
  await later(5);
  assert.equal(await cacher.cache.invalidate({ olderThanMs: 1 }), 1);
});

test("the model's own cache can be closed without it", async (t) => {
  const cacher = await load(t, true);
  await cacher.cache.close();
  assert.equal((await cacher.generate(PROMPT, OPTIONS).result).finishReason, "length");
});

test("a prompt that means the same is answered with its answer, and the label says so", async (t) => {
  const cacher = await load(t, { semantic: true });
  const first = await cacher.generate("How do I open a tin without an opener?", OPTIONS).result;
  const second = await cacher.generate("how do I open a tin without an opener", OPTIONS).result;
  assert.equal(second.cache.hit, "semantic");
  assert.ok(second.cache.score >= 0.6 && second.cache.score <= 1);
  assert.equal(second.cache.matchedPrompt, "How do I open a tin without an opener?");
  assert.equal(second.cache.key, first.cache.key);
  assert.equal(second.text, first.text);
  assert.deepEqual(second.promptTokens, [...(await cacher.tokenize("how do I open a tin without an opener")).ids]);
  for (const other of ["How do I open a tin with an opener?", "How do I open 2 tins without an opener?", "How do I open a jar without an opener?"]) {
    assert.equal((await cacher.generate(other, OPTIONS).result).cache.hit, false, other);
  }
  // Other options are another family.
  assert.equal((await cacher.generate("how do I open a tin without an opener", { ...OPTIONS, seed: 8 }).result).cache.hit, false);
  assert.equal((await cacher.cache.stats()).hits.semantic, 1);
});

test("an answer that is computed anew stays findable by its meaning; without the option, none is", async (t) => {
  const cacher = await load(t, { semantic: true });
  await cacher.generate("What is the capital of France?", OPTIONS).result;
  await cacher.generate("What is the capital of France?", { ...OPTIONS, cache: "refresh" }).result;
  assert.equal((await cacher.generate("what is the capital of France", OPTIONS).result).cache.hit, "semantic");
  await cacher.cache.configure({ semantic: false });
  assert.equal((await cacher.generate("what's the capital of France", OPTIONS).result).cache.hit, false);
  await cacher.cache.configure({ semantic: { threshold: 1 } });
  assert.equal((await cacher.generate("what is the capital of France?", OPTIONS).result).cache.hit, false);
});

test("who asks while an answer is still being put away waits for it", async (t) => {
  const cacher = await load(t, { semantic: true });
  const options = { ...OPTIONS, maxTokens: 1, cache: "refresh" };
  // The first vector takes longer than one token.
  await cacher.generate(PROMPT, options).result;
  const asked = [{ ...options, cache: true }, options].map((each) => cacher.generate(PROMPT, each).result);
  assert.deepEqual((await Promise.all(asked)).map(({ cache }) => cache.hit), ["exact", "exact"]);
});
