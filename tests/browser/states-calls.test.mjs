/**
 * What `cacher.states` and a state do, as their documentation says it.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openStates, reload } from "./lib/kept.mjs";
import { serveLibrary } from "./lib/library.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());
const { page, problems } = await openStates(browser, server);

test("a state is what it was made of, also after a reload", { timeout: TIMEOUT_MS }, async () => {
  const made = await page.evaluate(async () => {
    const state = await states.create({ text: "Once upon a time", name: "tale", tags: ["b", "a"], config: { temperature: 0.5, topK: 7 }, metadata: { a: 1 } });
    globalThis.bare = await states.create();
    return { id: state.id, info: await state.info(), bare: [(await bare.info()).tokens, await bare.text(), (await bare.tokens()).ids] };
  });
  const { id, info } = made;
  assert.match(id, /^[0-9a-f]{16}$/);
  const { created, updated, used, revision, model, tokensEvaluated, ...rest } = info;
  assert.deepEqual(rest, {
    id,
    name: "tale",
    tags: ["b", "a"],
    metadata: { a: 1 },
    config: { temperature: 0.5, topK: 7, seed: 0 },
    rng: { seed: 0, position: 0 },
    revisions: 1,
    tokens: 4,
    preview: "Once upon a time",
    checkpoints: [],
    forkedFrom: null,
    pinned: false,
    persist: true,
    saved: true,
  });
  assert.ok(Math.abs(Date.now() - created) < 60_000 && updated === created && used >= created);
  assert.match(revision, /^[0-9a-f]{32}$/);
  assert.equal(model.dtype, "q8");
  assert.equal(tokensEvaluated, 0);
  assert.deepEqual(made.bare[0], 1, "text begins with the end of another");
  await reload(page);
  const { used: _, ...after } = await page.evaluate(async (id) => (await states.get(id)).info(), id);
  const { used: _used, ...before } = info;
  assert.deepEqual(after, before);
});

test("update changes key by key, null takes out, and all of it is history", { timeout: TIMEOUT_MS }, async () => {
  const { infos, history, same } = await page.evaluate(async () => {
    const state = await states.create({ text: "a", name: "n", config: { temperature: 0.5, topK: 7 }, metadata: { keep: 1, drop: 2, change: { a: 1 } }, tags: ["old"] });
    const infos = [];
    infos.push(await state.update({ config: { topK: null, topP: 0.9 }, metadata: { drop: null, change: { b: 2 }, add: [true] } }));
    infos.push(await state.update({ name: null, tags: [] }));
    const { revision } = await state.info();
    const same = (await state.update({ tags: [], config: { topP: 0.9 } })).revision === revision;
    infos.push(await state.update({ config: { seed: 5 } }));
    infos.push(await state.update({ config: { seed: null, topP: null } }));
    return { infos, history: await state.history(), same };
  });
  assert.deepEqual(infos[0].config, { temperature: 0.5, topP: 0.9, seed: 0 });
  assert.deepEqual(infos[0].metadata, { keep: 1, change: { b: 2 }, add: [true] });
  assert.deepEqual([infos[1].name, infos[1].tags, infos[1].metadata], [null, [], infos[0].metadata]);
  assert.ok(same, "what changes nothing is not recorded");
  assert.deepEqual(infos[2].rng, { seed: 5, position: 0 });
  assert.deepEqual(infos[3].config, { temperature: 0.5, seed: 5 });
  assert.deepEqual(history.map(({ operation }) => operation), ["update", "update", "update", "update", "create"]);
  assert.deepEqual(history[3].configChanges, [{ key: "topK", a: 7, b: null }, { key: "topP", a: null, b: 0.9 }]);
});

test("seeds above 2^53 stay exact everywhere", { timeout: TIMEOUT_MS }, async () => {
  const SEED = 2n ** 63n + 7n;
  const inPage = async ([seed, id]) => {
    const state = id ? await states.get(id) : await states.create({ text: "Once upon a time", config: { seed: BigInt(seed) } });
    const { config, rng } = await state.info();
    const { items } = await states.list({ limit: 500 });
    const listed = items.find((info) => info.id === state.id);
    const history = await state.history();
    const [imported] = await states.import(await state.export({ format: "json" }), { persist: false });
    const [again] = await states.import(await state.export(), { persist: false });
    const infos = await Promise.all([imported, again].map((each) => each.info()));
    const { seed: used } = await (await state.fork()).generate({ maxTokens: 1 }).result;
    await states.delete([imported, again]);
    return { id: state.id, seeds: [config.seed, rng.seed, listed.config.seed, listed.rng.seed, history.at(-1).seed, used, ...infos.flatMap(({ config, rng }) => [config.seed, rng.seed])] };
  };
  const first = await page.evaluate(inPage, [`${SEED}`]);
  assert.deepEqual(first.seeds, first.seeds.map(() => SEED));
  await reload(page);
  const second = await page.evaluate(inPage, [`${SEED}`, first.id]);
  assert.deepEqual(second.seeds, second.seeds.map(() => SEED));
  const texts = await page.evaluate(async (seed) => {
    const [one, two, three] = await Promise.all([0n, 0n, 1n].map((more) => states.create({ text: "Once upon a time", config: { seed: BigInt(seed) + more } })));
    return Promise.all([one, two, three].map(async (state) => (await kept.goOn(state, 12)).text));
  }, `${SEED}`);
  assert.equal(texts[0], texts[1]);
  assert.notEqual(texts[0], texts[2]);
});

test("seeds above 2^53 stay exact in changes of config", { timeout: TIMEOUT_MS }, async () => {
  const { update, reseeded, diff } = await page.evaluate(async () => {
    const state = await states.create({ text: "a", config: { seed: 2n ** 63n + 7n } });
    const other = await states.create({ text: "a", config: { seed: 2n ** 63n + 8n } });
    await state.update({ config: { seed: 2n ** 63n + 9n } });
    const reseeded = (await state.reseed(2n ** 64n - 1n)).rng.seed;
    const [, { configChanges }] = await state.history();
    return { update: configChanges, reseeded, diff: (await states.diff(state, other)).config };
  });
  assert.equal(reseeded, 2n ** 64n - 1n);
  assert.deepEqual(update, [{ key: "seed", a: 2n ** 63n + 7n, b: 2n ** 63n + 9n }]);
  assert.deepEqual(diff, [{ key: "seed", a: 2n ** 64n - 1n, b: 2n ** 63n + 8n }]);
});

const METADATA = `{
  "__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}, "toString": "own",
  "seed": "abc", "config": {"seed": "18446744073709551615"}, "rng": {"seed": "12"},
  "": "no name", "nested": {"a": [1, {"b": [null, true, "x"]}]}, "ключ 🔑": "\\u0000\\u2028</script>",
  "numbers": [0.1, 1e308, 5e-324, 123456789.12345678, 9007199254740991, -0.5, 8.41e21, 0.30000000000000004, 2.5e-16]
}`;

test("metadata comes back as it was given and pollutes nothing", { timeout: TIMEOUT_MS }, async () => {
  const id = await page.evaluate(async (json) => {
    const state = await states.create({ text: "a", metadata: JSON.parse(json) });
    await state.update({ metadata: { more: 1 } });
    return state.id;
  }, METADATA);
  for (const again of [false, true]) {
    if (again) await reload(page);
    const { json, polluted, hits } = await page.evaluate(async (id) => {
      const state = await states.get(id);
      const info = await state.info();
      const { items } = await states.list({ limit: 500 });
      const listed = items.find((info) => info.id === id);
      if (JSON.stringify(listed.metadata) !== JSON.stringify(info.metadata)) throw new Error("the list has another");
      return { json: JSON.stringify(info.metadata), polluted: ({}).polluted !== undefined, hits: Object.hasOwn(info.metadata, "__proto__") };
    }, id);
    assert.deepEqual(JSON.parse(json), { ...JSON.parse(METADATA), ["__proto__"]: JSON.parse(METADATA)["__proto__"], more: 1 });
    assert.equal(polluted, false);
    assert.ok(hits);
  }
});

test("numbers in metadata keep their last bit, and so does the history that is named after them", { timeout: TIMEOUT_MS }, async () => {
  const { numbers, id } = await page.evaluate(async () => {
    const view = new DataView(crypto.getRandomValues(new Uint8Array(8 * 2000)).buffer);
    const numbers = Array.from({ length: 2000 }, (_, index) => view.getFloat64(8 * index)).filter(Number.isFinite);
    const state = await states.create({ text: "numbers", metadata: { numbers } });
    return { numbers, id: state.id };
  });
  await reload(page);
  const { found, quarantined, history } = await page.evaluate(async (id) => {
    const state = await states.get(id);
    const { numbers } = (await state.info()).metadata;
    return { found: numbers, quarantined: (await states.usage()).quarantined, history: (await state.history()).map(({ operation }) => operation) };
  }, id);
  assert.deepEqual(history, ["create"]);
  assert.equal(quarantined, 0);
  assert.deepEqual(found, numbers);
});

test("texts of any script come back whole, and tokens have their places in them", { timeout: TIMEOUT_MS }, async () => {
  const TEXTS = ["Grüße aus Köln", "漢漣 and 日本語", "🌊🏴‍☠️👩‍👩‍👧", "שלום עולם", "नमस्ते", "a\u0000b\r\n\tc", "e\u0301 é"];
  const results = await page.evaluate(async (texts) => {
    const results = [];
    for (const text of texts) {
      const state = await states.create({ text });
      await state.append(text);
      const { ids, offsets } = await state.tokens();
      results.push({ text: await state.text(), ids: ids.length, offsets: [...offsets], preview: (await state.info()).preview, found: (await states.list({ search: text, limit: 500 })).total });
    }
    const lone = await states.create({ text: "a\ud800b" });
    return { results, lone: await lone.text() };
  }, TEXTS);
  results.results.forEach(({ text, ids, offsets, found }, index) => {
    const whole = TEXTS[index] + TEXTS[index];
    assert.equal(text, whole);
    assert.equal(offsets.length, 2 * ids);
    assert.equal(offsets[0], 0);
    assert.equal(offsets.at(-1), whole.length);
    for (let at = 0; at < offsets.length; at += 2) {
      assert.ok(offsets[at] <= offsets[at + 1] && (at === 0 || offsets[at] >= offsets[at - 2]), `${offsets}`);
    }
    assert.equal(found, 1, whole);
  });
  assert.equal(results.lone, "a\ufffdb");
});

test("diff says where texts, config and metadata part, and what the model expects", { timeout: TIMEOUT_MS }, async () => {
  const { diff, plain, compared, own } = await page.evaluate(async () => {
    const state = await states.create({ text: "The cat sat on the mat and slept.", metadata: { a: 1 } });
    const fork = await state.fork();
    await fork.update({ metadata: { a: 2 }, config: { topK: 3 } });
    await fork.append(" It dreamt of fish.");
    const other = await states.create({ text: "The dog sat on the mat and slept." });
    const own = await state.diff(fork);
    return { own, plain: await states.diff(state, other), diff: await states.diff(state, other, { distributions: true }), compared: await states.compare(state, fork.id) };
  });
  assert.equal(own.hunks.at(-1).b.content, " It dreamt of fish.");
  assert.deepEqual(own.config, [{ key: "topK", a: null, b: 3 }]);
  assert.deepEqual(own.metadata, [{ key: "a", a: 1, b: 2 }]);
  assert.equal(own.ancestor.tokens, own.a.tokens);
  assert.equal(plain.distributions, null);
  assert.equal(plain.ancestor, null);
  const changed = plain.hunks.filter(({ kind }) => kind !== "equal");
  assert.deepEqual(changed.map(({ a, b }) => [a.content, b.content]), [[" cat", " dog"]]);
  assert.equal(diff.distributions.positions.length, diff.a.tokens - 2);
  assert.ok(diff.distributions.positions.every(({ kl, rankA, rankB }) => kl >= 0 && rankA >= 1 && rankB >= 1));
  const { next } = diff.distributions;
  assert.ok(next.kl > 0 && next.top.every(({ a, b }) => a >= 0 && b >= 0 && a <= 1 && b <= 1));
  assert.equal(compared.meanLogProb.a, null);
  assert.ok(compared.meanLogProb.b < 0);
});

test("nothing went wrong in the page", () => assert.deepEqual(problems, []));
