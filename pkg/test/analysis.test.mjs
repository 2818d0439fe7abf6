/** How an analysis is asked for, and what of it comes back; the analyses themselves need the engine (tests/browser). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Cacher } from "../dist/cacher.js";
import { fakePlatform, weights } from "./fake-engine.mjs";

async function load() {
  const platform = fakePlatform();
  const cacher = await Cacher.loadOn(platform, { model: [new File([weights()], "model.gguf")] });
  return { analysis: cacher.analysis, log: platform.log };
}

const asked = ({ request, subjects }) => [JSON.parse(request), subjects.map((each) => (typeof each === "string" ? each : Object.values(each)))];

test("kind, options and texts reach the engine, and arrays come back by their names", async () => {
  const { analysis } = await load();
  const result = await analysis.tokens("abc", { top: 3, range: { start: -2, end: undefined } });
  assert.deepEqual(asked(result), [{ kind: "tokens", top: 3, range: { start: -2 } }, ["abc"]]);
  assert.deepEqual(result.numbers, { shape: [1, 2], data: Float32Array.of(1, NaN) });
  assert.deepEqual(asked(await analysis.distribution([1, 2])), [{ kind: "distribution" }, [[1, 2]]]);
  assert.deepEqual(asked(await analysis.ngrams("a", { prompt: "b", maxN: 2 })), [{ kind: "ngrams", maxN: 2 }, ["a", "b"]]);
  assert.deepEqual(asked(await analysis.ngrams("a")), [{ kind: "ngrams" }, ["a"]]);
  assert.deepEqual(asked(await analysis.compare("a", { with: "b" })), [{ kind: "compare" }, ["a", "b"]]);
  const options = [{ topK: 1 }, { topK: 2 }];
  assert.deepEqual(asked(await analysis.compare("a", { options })), [{ kind: "compare", options }, ["a"]]);
});

test("each step is told, and an abort ends it in the engine too", async () => {
  const { analysis, log } = await load();
  const told = [];
  await analysis.perplexity("abc", { onProgress: (progress) => told.push(progress) });
  assert.deepEqual(told, [1, 2, 3].map((done) => ({ done, total: 3 })));
  const controller = new AbortController();
  const promise = analysis.leaveOneOut("abc", { signal: controller.signal, onProgress: () => controller.abort() });
  await assert.rejects(promise, { code: "aborted" });
  assert.equal(log.filter((entry) => entry === "cancel 2").length, 1);
  await assert.rejects(analysis.tokens("abc", { signal: AbortSignal.abort() }), { code: "aborted" });
  assert.ok(!log.includes("analyse 3"));
});

test("what cannot be is refused with its code", async () => {
  const { analysis } = await load();
  for (const [code, promise] of [
    ["invalid-argument", analysis.tokens(null)],
    ["invalid-argument", analysis.tokens(undefined)],
    ["invalid-argument", analysis.tokens("a", null)],
    ["invalid-argument", analysis.tokens("a", "b")],
    ["invalid-argument", analysis.ngrams("a", { prompt: 5 })],
    ["invalid-token", analysis.tokens([-1])],
    ["invalid-option", analysis.tokens("a", { onProgress: 1 })],
    ["invalid-option", analysis.tokens("a", { top: NaN })],
  ]) {
    await assert.rejects(promise, { name: "CacherError", code });
  }
});
