/**
 * Looking into the model through the package: attention, heads, layers, KV
 * cache. What must hold of the numbers whatever they are; the numbers
 * themselves are held to transformers' by the golden checks.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

const TEXT = "Once upon a time there was a little girl. She had a cat, and the cat had a hat.";

const near = (found, expected, tolerance, what) =>
  assert.ok(Math.abs(found - expected) <= tolerance, `${what}: ${found}, not ${expected}`);

const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

/** The rows of an array, along its last axis. */
function rows({ shape, data }) {
  const length = shape.at(-1);
  return Array.from({ length: data.length / length }, (_, row) => data.slice(row * length, (row + 1) * length));
}

/** A page with a model as `cacher`, and `plain`, which makes a result fit to cross. */
async function openModel(options = { model: "tiny-gpt2" }) {
  const { page, problems } = await openLibrary(browser, server);
  await page.evaluate(async (options) => {
    globalThis.cacher = await kit.Cacher.load(options);
    globalThis.plain = async (promise) => {
      const result = await promise;
      for (const [name, value] of Object.entries(result)) {
        if (ArrayBuffer.isView(value?.data)) result[name] = { kind: value.data.constructor.name, shape: value.shape, data: [...value.data] };
      }
      return result;
    };
  }, options);
  const ask = (kind, input, options = {}) =>
    page.evaluate(([kind, input, options]) => plain(cacher.analysis[kind](input, options)), [kind, input, options]);
  return { page, problems, ask, model: await page.evaluate(() => cacher.model) };
}

test("every analysis says what must hold", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const { page, problems, ask, model } = await openModel();
  const { nLayer, nHead, vocabSize } = model;
  const ids = await page.evaluate(async (text) => [...(await cacher.tokenize(text)).ids], TEXT);
  const length = ids.length;

  await t.test("of one query, attention sums to 1, and looks back only", async () => {
    const { weights, layers, heads, queries, normalized } = await ask("attention", TEXT);
    assert.deepEqual([weights.kind, weights.shape], ["Float32Array", [nLayer, nHead, length, length]]);
    assert.deepEqual([layers.length, heads.length, queries, normalized], [nLayer, nHead, { start: 0, end: length }, false]);
    rows(weights).forEach((row, index) => {
      const query = index % length;
      near(sum(row), 1, 1e-5, `row ${index}`);
      assert.ok(row.every((weight, key) => weight >= 0 && (key <= query || weight === 0)));
    });
    const some = await ask("attention", TEXT, { layers: [1], heads: [2, 0], queries: { start: -3 }, keys: { end: 5 } });
    assert.deepEqual([some.heads, some.weights.shape], [[0, 2], [1, 2, 3, 5]]);
    const at = ((1 * nHead + 2) * length + length - 1) * length;
    assert.deepEqual(rows(some.weights).at(-1), weights.data.slice(at, at + 5));
    const mean = await ask("attention", TEXT, { average: "both" });
    assert.deepEqual(mean.weights.shape, [1, 1, length, length]);
    rows(mean.weights).forEach((row) => near(sum(row), 1, 1e-5, "a mean"));
  });

  await t.test("weights that reach a threshold come as lists, in order", async () => {
    const all = await ask("attention", TEXT);
    const sparse = await ask("attention", TEXT, { threshold: 0.3 });
    const { layer, head, query, key, weight } = sparse;
    assert.equal(weight.data.length, all.weights.data.filter((each) => each >= 0.3).length);
    const places = weight.data.map((_, i) => ((layer.data[i] * nHead + head.data[i]) * length + query.data[i]) * length + key.data[i]);
    assert.ok(places.every((place, i) => i === 0 || place > places[i - 1]));
    places.forEach((place, i) => assert.equal(weight.data[i], all.weights.data[place]));
    const scaled = await ask("attention", TEXT, { threshold: 0.3, normalize: true });
    assert.equal(scaled.normalized, true);
    const sums = new Map();
    scaled.weight.data.forEach((each, i) => {
      const row = `${scaled.layer.data[i]} ${scaled.head.data[i]} ${scaled.query.data[i]}`;
      sums.set(row, (sums.get(row) ?? 0) + each);
    });
    assert.equal(sums.size + scaled.emptyRows, nLayer * nHead * length);
    for (const [row, each] of sums) near(each, 1, 1e-5, row);
    const { layer: _, head: none } = await ask("attention", TEXT, { threshold: 0.3, average: "heads" });
    assert.equal(none, undefined);
  });

  await t.test("captured while writing, it has the bits of one pass over the text", async () => {
    const { captured, plainly, texts } = await page.evaluate(async (prompt) => {
      const options = { temperature: 0, maxTokens: 24, eosTokenIds: [] };
      const text = await cacher.generate(prompt, { ...options, captureAttention: {} }).result;
      const other = await kit.Cacher.load({ model: "tiny-gpt2" });
      const same = await other.generate(prompt, options).result;
      const { ids } = await cacher.tokenize(prompt);
      const all = Uint32Array.from([...ids, ...text.tokens]);
      const queries = { start: ids.length, end: -1 };
      const captured = await plain(cacher.analysis.attention(all, { queries }));
      await other.dispose();
      const fresh = await kit.Cacher.load({ model: "tiny-gpt2" });
      const plainly = await plain(fresh.analysis.attention(all, { queries }));
      await fresh.dispose();
      return { captured, plainly, texts: [text.text, same.text] };
    }, "The little dog");
    assert.equal(texts[0], texts[1], "capturing changes nothing");
    assert.equal(captured.tokensEvaluated, 0);
    assert.ok(plainly.tokensEvaluated > 24);
    assert.deepEqual(captured.weights, plainly.weights);
  });

  await t.test("rows of a rollout sum to 1, and a flow stays within 0 and 1", async () => {
    const { weights, layer } = await ask("rollout", TEXT);
    assert.deepEqual([weights.shape, layer], [[length, length], nLayer - 1]);
    rows(weights).forEach((row) => near(sum(row), 1, 1e-5, "a row"));
    const first = await ask("rollout", TEXT, { layer: 0, heads: [0], queries: { start: -1 } });
    const { weights: own } = await ask("attention", TEXT, { layers: [0], heads: [0], queries: { start: -1 } });
    first.weights.data.forEach((each, key) => near(each, own.data[key] / 2 + (key === length - 1 ? 0.5 : 0), 1e-6, `key ${key}`));
    const { flow } = await ask("flow", TEXT.slice(0, 40));
    assert.equal(flow.kind, "Float64Array");
    assert.ok(flow.data.every((each) => each >= 0 && each <= 1 + 1e-5));
  });

  await t.test("attention on all segments of a text sums to 1", async () => {
    const segments = [
      { name: "prompt", ranges: [{ end: 6 }] },
      { name: "answer", ranges: [{ start: 6 }] },
    ];
    const { mass, pairs, ...told } = await ask("segments", TEXT, { segments });
    assert.deepEqual(told.segments, [{ name: "prompt", tokens: 6 }, { name: "answer", tokens: length - 6 }]);
    assert.deepEqual(mass.shape, [nLayer, nHead, 2, 2]);
    rows(mass).forEach((row, index) => {
      near(sum(row), 1, 1e-5, "a segment's");
      if (index % 2 === 0) assert.equal(row[1], 0, "a prompt does not see its answer");
    });
    assert.deepEqual(pairs.data, [21, 0, 6 * (length - 6), ((length - 6) * (length - 5)) / 2]);
  });

  await t.test("heads are ranked by their scores", async () => {
    const random = [40, 7, 1200, 333, 50, 911, 4000, 77];
    const found = await ask("heads", [...random, ...random, ...random]);
    for (const name of ["entropy", "meanDistance", "firstTokenMass", "previousToken", "duplicateToken", "induction"]) {
      assert.deepEqual(found[name].shape, [nLayer, nHead], name);
      assert.ok(found[name].data.every((each) => each >= 0), name);
    }
    for (const [name, ranking] of Object.entries(found.ranking)) {
      const best = Math.max(...found[name].data);
      assert.equal(ranking[0].score, best, name);
      assert.equal(found[name].data[ranking[0].layer * nHead + ranking[0].head], best);
      assert.ok(ranking.every(({ score }, i) => i === 0 || score <= ranking[i - 1].score));
    }
  });

  await t.test("taking out no head changes nothing, taking out heads does", async () => {
    const text = await page.evaluate(async () => {
      const write = (options) => kit.plainResult(cacher.generate("The little dog", { temperature: 0, seed: 1, maxTokens: 16, logprobs: 0, ...options }));
      const all = Array.from({ length: cacher.model.nHead }, (_, head) => ({ layer: 0, head }));
      return { plain: await write({}), none: await write({ ablateHeads: [] }), some: await write({ ablateHeads: all }) };
    });
    assert.deepEqual(text.none, text.plain);
    assert.notDeepEqual(text.some.logprobs, text.plain.logprobs);
    const { change, ranking, logLikelihood, tokensScored } = await ask("importance", TEXT, { layers: [0], method: "zero" });
    assert.deepEqual([change.shape, tokensScored], [[1, nHead], length - 1]);
    near(logLikelihood, (await ask("tokens", TEXT)).logprob, 1e-9, "all heads");
    assert.deepEqual(ranking.map((each) => each.change), change.data.toSorted((a, b) => a - b));
    assert.ok(change.data.every((each) => each !== 0));
  });

  await t.test("the lens' last layer is the model's own prediction", async () => {
    const found = await ask("lens", TEXT, { top: 3 });
    assert.deepEqual([found.layers.length, found.tokens.shape], [nLayer + 1, [length, nLayer + 1, 3]]);
    const { tokens } = await ask("tokens", TEXT, { top: 3 });
    for (const [index, { expected }] of tokens.slice(1).entries()) {
      const last = index * (nLayer + 1) + nLayer;
      assert.equal(found.nextLogprob.data[last], expected.logprob);
      assert.equal(found.nextRank.data[last], expected.rank);
      assert.deepEqual(found.tokens.data.slice(3 * last, 3 * last + 3), expected.top.map(({ id }) => id));
    }
    assert.ok(Number.isNaN(found.nextLogprob.data.at(-1)) && found.nextRank.data.at(-1) === 0);
    assert.ok(found.norms.data.every((norm) => norm > 0));
  });

  await t.test("a logit is the sum of what the model's parts add", async () => {
    const { logit, rank, token, layers, difference, ...parts } = await ask("attribution", TEXT);
    assert.equal(rank, 1, "the likeliest, where nothing is asked for");
    const logits = await page.evaluate((text) => kit.plainLogits(cacher.logits(text)), TEXT);
    assert.equal(logit, logits.data[token]);
    const inLayers = sum(layers.map(({ attention, mlp }) => attention + mlp));
    const all = parts.tokenEmbedding + parts.positionEmbedding + parts.finalBias + inLayers;
    near(all, parts.sum, 1e-9 * Math.abs(all) + 1e-9, "the sum");
    near(logit - parts.sum, difference, 1e-9, "the difference");
    near(difference, 0, 0.01 * Math.max(1, Math.abs(logit)), "what 8 bits lose");
    for (const { attention, heads, bias, remainder } of layers) {
      assert.equal(heads.length, nHead);
      near(sum(heads) + bias + remainder, attention, 1e-9, "a layer");
    }
    const { logit: apart } = await ask("attribution", TEXT, { token, against: 5 });
    near(apart, logits.data[token] - logits.data[5], 1e-6, "a difference of logits");
  });

  await t.test("the KV cache is told in blocks, norms and numbers", async () => {
    const { keys, keyNorms, ...found } = await ask("kv", TEXT, { layers: [1], samples: [0, -1] });
    assert.deepEqual([found.dtype, found.positions, found.blocks], ["q8", length, Math.ceil(length / found.blockTokens)]);
    assert.deepEqual([keyNorms.shape, keys.shape], [[1, nHead, length], [1, nHead, 2, found.headDim]]);
    assert.equal(found.bytes, found.blocks * found.blockBytes);
    rows(keys).forEach((key, index) => {
      const norm = keyNorms.data[(index >> 1) * length + (index % 2 === 0 ? 0 : length - 1)];
      near(Math.hypot(...key), norm, 1e-4 * norm, "a norm");
    });
    assert.equal(found.statistics.length, nHead);
    assert.ok(found.statistics.every(({ keys: { min, mean, max, rms } }) => min <= mean && mean <= max && rms > 0));
  });

  await t.test("tokens have the perplexity of the text", async () => {
    const [{ logprob }, { perplexity }] = [await ask("tokens", TEXT), await ask("perplexity", TEXT)];
    near(Math.exp(-logprob / (length - 1)), perplexity, 1e-9 * perplexity, "perplexity");
    const { logprobs } = await ask("distribution", TEXT, { full: true });
    assert.deepEqual(logprobs.shape, [vocabSize]);
  });

  await t.test("a state gives what its text does", async () => {
    const both = await page.evaluate(async (text) => {
      const state = await cacher.states.create({ text, persist: false });
      const of = async (input) => {
        const all = {};
        for (const kind of ["attention", "rollout", "heads", "lens", "attribution", "kv"]) {
          const { tokensEvaluated: _, ...result } = await plain(cacher.analysis[kind](input));
          all[kind] = result;
        }
        return all;
      };
      return [await of(state), await of(text)];
    }, `${TEXT} And a state.`);
    assert.deepEqual(both[0], both[1]);
  });

  await t.test("the long ones tell how far they are, and an abort ends them", async () => {
    const { progress, error, done } = await page.evaluate(async (text) => {
      const progress = [];
      await cacher.analysis.importance(text, { layers: [0], onProgress: (each) => progress.push(each) });
      const controller = new AbortController();
      let steps = 0;
      const onProgress = () => ++steps === 4 && controller.abort();
      const error = await kit.failure(cacher.analysis.importance(text, { signal: controller.signal, onProgress }));
      return { progress, error, done: steps };
    }, TEXT);
    assert.ok(progress.every(({ done, total }, i) => done <= total && (i === 0 || done >= progress[i - 1].done)));
    assert.equal(progress.at(-1).done, progress.at(-1).total);
    assert.equal(error.code, "aborted");
    assert.ok(done < 10);
  });

  await t.test("what is over a bound is refused with the number, before anything runs", async () => {
    const refused = (kind, input, options) =>
      page.evaluate(([kind, input, options]) => kit.failure(cacher.analysis[kind](input, options)), [kind, input, options]);
    const long = new Array(1024).fill(40);
    const large = await refused("attention", long, { threshold: 1e-4 });
    assert.equal(large.code, "invalid-argument");
    assert.match(large.message, new RegExp(`${nLayer * nHead * 1024 * 1024 * 20} bytes`));
    assert.match(large.message, /67108864/);
    const flow = await refused("flow", long, {});
    assert.equal(flow.code, "invalid-argument");
    assert.match(flow.message, /1024 tokens.*64/);
    for (const [kind, options, option, value] of [
      ["attention", { layers: [0, nLayer] }, "layers[1]", nLayer],
      ["attention", { heads: [] }, "heads"],
      ["attention", { threshold: 2 }, "threshold", 2],
      ["attention", { average: "all" }, "average"],
      ["attention", { head: [0] }, "head"],
      ["rollout", { layer: nLayer }, "layer", nLayer],
      ["segments", { segments: [] }, "segments", 0],
      ["segments", { segments: [{ ranges: [{ start: 999 }] }] }, "segments[0].ranges[0].start", 999],
      ["heads", { measure: "max" }, "measure"],
      ["importance", { range: { end: 1 } }, "range"],
      ["lens", { top: 0 }, "top", 0],
      ["attribution", { token: vocabSize }, "token", vocabSize],
      ["kv", { samples: new Array(65).fill(0) }, "samples", 65],
    ]) {
      const error = await refused(kind, TEXT, options);
      assert.equal(error?.code, "invalid-option", `${kind} ${JSON.stringify(options)}: ${error?.message}`);
      assert.equal(error.details.option, option);
      if (value !== undefined) assert.equal(String(error.details.value), String(value));
      assert.ok(error.details.range.length > 0, `${option}: ${error.message}`);
    }
  });

  assert.deepEqual(problems, []);
});

test("in f32 a logit is its sum to 1e-4", { timeout: TIMEOUT_MS }, async () => {
  const { ask, problems } = await openModel({ model: "/fixtures/mini-a/", dtype: "f32" });
  for (const position of [0, 5, -1]) {
    const { difference, layers } = await ask("attribution", [1, 2, 3, 4, 5, 6, 7, 8, 9], { position });
    near(difference, 0, 1e-4, "rounding");
    layers.forEach(({ remainder }) => near(remainder, 0, 1e-4, "a layer's heads"));
  }
  assert.deepEqual(problems, []);
});
