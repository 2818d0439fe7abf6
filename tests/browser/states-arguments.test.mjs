/**
 * What callers pass about states is checked, and the error says which argument
 * it is; every code that the documentation names is given.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openStates } from "./lib/kept.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());
const { page, problems } = await openStates(browser, server);
await page.evaluate(async () => {
  globalThis.state = await states.create({ text: "Once upon a time", name: "one" });
  globalThis.other = await states.create({ text: "Once upon a day", name: "two" });
});

/** Calls as text, with the argument that their errors must begin with. */
const BAD = [
  ["states.create(null)", "create"],
  ["states.create('a text')", "create"],
  ["states.create({ txt: 'misspelt' })", "create"],
  ["states.create({ text: 5 })", "text"],
  ["states.create({ text: 'a', tokens: [1] })", "text"],
  ["states.create({ tokens: 'a' })", "tokens"],
  ["states.create({ name: 5 })", "name"],
  ["states.create({ name: '' })", "name"],
  ["states.create({ name: 'x'.repeat(257) })", "name"],
  ["states.create({ name: 'two\\nlines' })", "name"],
  ["states.create({ tags: 'tag' })", "tags"],
  ["states.create({ tags: [1] })", "tags"],
  ["states.create({ tags: Array.from({ length: 65 }, (_, i) => `t${i}`) })", "tags"],
  ["states.create({ metadata: [1] })", "metadata"],
  ["states.create({ metadata: { long: 'x'.repeat(70_000) } })", "metadata"],
  ["states.create({ metadata: { count: NaN } })", "count"],
  ["states.create({ metadata: { f() {} } })", "states"],
  ["states.create({ config: 'greedy' })", "config"],
  ["states.create({ config: { temprature: 1 } })", "temprature", "invalid-option"],
  ["states.create({ config: { temperature: -1 } })", "temperature", "invalid-option"],
  ["states.create({ config: { temperature: 'hot' } })", "temperature", "invalid-option"],
  ["states.create({ config: { temperature: NaN } })", "temperature", "invalid-option"],
  ["states.create({ config: { seed: -1 } })", "seed", "invalid-option"],
  ["states.create({ config: { seed: 1.5 } })", "seed", "invalid-option"],
  ["states.create({ config: { seed: 2n ** 64n } })", "seed", "invalid-option"],
  ["states.create({ config: { seed: 'abc' } })", "seed", "invalid-option"],
  ["states.create({ persist: 'yes' })", "persist"],
  ["states.create({ evaluate: 1 })", "evaluate"],
  ["states.get(5)", "state"],
  ["states.get()", "state"],
  ["states.list({ sort: 'size' })", "sort"],
  ["states.list({ order: 'up' })", "order"],
  ["states.list({ limit: -1 })", "limit"],
  ["states.list({ offset: 0.5 })", "offset"],
  ["states.list({ tags: 'a' })", "tags"],
  ["states.list({ search: /a/ })", "search"],
  ["states.list({ pinned: 1 })", "pinned"],
  ["states.list({ filter: 'a' })", "list"],
  ["states.delete()", "state"],
  ["states.delete([state, 5])", "state"],
  ["states.diff(state)", "state"],
  ["states.diff(state, other, { distributions: 1 })", "distributions"],
  ["states.compare({}, other)", "state"],
  ["states.merge(state)", "states"],
  ["states.merge([state])", "states"],
  ["states.merge([])", "states"],
  ["states.merge([state, other], { strategy: 'mix' })", "strategy"],
  ["states.merge([state, other], { onConflict: 'ignore' })", "onConflict"],
  ["states.merge([state, other], { name: '', onConflict: 'ours' })", "name"],
  ["states.merge([state, other], { onconflict: 'ours' })", "merge"],
  ["states.export(state)", "states"],
  ["states.export([state], { format: 'xml' })", "format"],
  ["states.export([state], { kv: 'no' })", "kv"],
  ["states.import(new Blob(), { persist: 1 })", "persist"],
  ["states.cleanUp({ maxStates: -1 })", "maxStates"],
  ["states.cleanUp({ max: 1 })", "cleanUp"],
  ["states.cleanUp('all')", "policy"],
  ["states.setCleanUp({ intervalMs: 'often' })", "intervalMs"],
  ["states.setCleanUp(5)", "policy"],
  ["states.subscribe()", "listener"],
  ["state.text({ revision: 5 })", "revision"],
  ["state.tokens({ revision: {} })", "revision"],
  ["state.generate({ maxTokns: 5 }).result", "maxTokns", "invalid-option"],
  ["state.generate({ temperature: -1 }).result", "temperature", "invalid-option"],
  ["state.generate({ seed: 'x' }).result", "seed", "invalid-option"],
  ["state.append()", "input"],
  ["state.append({ text: 'a' })", "input"],
  ["state.append('a', { evalute: true })", "append"],
  ["state.append('a', { evaluate: 'no' })", "evaluate"],
  ["state.fork(0)", "count"],
  ["state.fork(1.5)", "count"],
  ["state.fork(2000)", "count"],
  ["state.fork({ at: -1 })", "at"],
  ["state.fork({ at: 99 })", "at"],
  ["state.fork({ at: null })", "at"],
  ["state.fork({ name: 5 })", "name"],
  ["state.fork({ name: '' })", "name"],
  ["state.fork({ from: 1 })", "fork"],
  ["state.checkpoint()", "name"],
  ["state.checkpoint('')", "name"],
  ["state.checkpoint(5)", "name"],
  ["state.rollback()", "to"],
  ["state.rollback(null)", "to"],
  ["state.rollback({})", "to"],
  ["state.rollback({ step: 1 })", "to"],
  ["state.rollback({ steps: 1, checkpoint: 'a' })", "to"],
  ["state.rollback(-1)", "steps"],
  ["state.rollback(1.5)", "steps"],
  ["state.rollback({ steps: '1' })", "steps"],
  ["state.update()", "update"],
  ["state.update(null)", "update"],
  ["state.update({ name: 5 })", "name"],
  ["state.update({ tags: null })", "tags"],
  ["state.update({ title: 'a' })", "update"],
  ["state.update({ config: { temperature: NaN } })", "temperature", "invalid-option"],
  ["state.update({ config: { topK: 'many' } })", "topK", "invalid-option"],
  ["state.update({ metadata: { a: { b: Infinity } } })", "b"],
  ["state.reseed(-1)", "seed"],
  ["state.reseed(NaN)", "seed"],
  ["state.reseed('7')", "seed"],
  ["state.reseed(2n ** 64n)", "seed"],
  ["state.pin('yes')", "pinned"],
];

test("a bad argument is named, and nothing is changed", { timeout: TIMEOUT_MS }, async (t) => {
  const before = await page.evaluate(async () => [await kept.dump(), (await states.list()).total]);
  for (const [call, name, code = "invalid-argument"] of BAD) {
    // Evaluated by the browser's tools, since the page's policy allows no script from text.
    const error = await page.evaluate(`kit.failure((async () => ${call})())`);
    await t.test(call, () => {
      assert.equal(error?.code, code, JSON.stringify(error));
      assert.match(error.message, new RegExp(`\\b${name}\\b`));
    });
  }
  assert.deepEqual(await page.evaluate(async () => [await kept.dump(), (await states.list()).total]), before);
});

const SETTINGS = [
  ["{ database: 5 }", "database"],
  ["{ persist: 'no' }", "persist"],
  ["{ kvCacheBytes: -1 }", "kvCacheBytes"],
  ["{ saveIntervalMs: 'often' }", "saveIntervalMs"],
  ["{ lockWaitMs: NaN }", "lockWaitMs"],
  ["{ cleanUp: { maxState: 1 } }", "maxState"],
  ["{ cleanUp: null }", "policy"],
  ["{ persistent: true }", "persistent"],
  ["null", "states"],
  ["[]", "states"],
];

test("a bad setting is named before anything is loaded", { timeout: TIMEOUT_MS }, async (t) => {
  const { page: bare } = await openLibrary(browser, server);
  server.forget();
  for (const [settings, name] of SETTINGS) {
    const error = await bare.evaluate(`kit.failure(kit.Cacher.load({ model: "tiny-gpt2", states: ${settings} }))`);
    await t.test(settings, () => {
      assert.equal(error?.code, "invalid-argument", JSON.stringify(error));
      assert.match(error.message, new RegExp(`\\b${name}\\b`));
    });
  }
  assert.ok(!server.requests.some(({ path }) => path.startsWith("/models/")));
  await bare.context().close();
});

/** Codes with their details; `state` is a state's id, `hex` an id of no revision. */
const HEX = "0123456789abcdef0123456789abcdef";
const CODES = [
  ["states.get('nobody')", "state-not-found", { id: "nobody" }],
  ["states.delete([state, 'nobody'])", "state-not-found", { id: "nobody" }],
  ["states.diff(state, 'nobody')", "state-not-found", { id: "nobody" }],
  ["states.compare('nobody', state)", "state-not-found", { id: "nobody" }],
  ["states.merge([state, 'nobody'])", "state-not-found", { id: "nobody" }],
  ["states.export(['nobody'])", "state-not-found", { id: "nobody" }],
  ["states.export(['nobody'], { format: 'json' })", "state-not-found", { id: "nobody" }],
  ["state.rollback('nowhere')", "checkpoint-not-found", { name: "nowhere" }],
  ["state.rollback({ checkpoint: 'nowhere' })", "checkpoint-not-found", { name: "nowhere" }],
  [`state.rollback('${HEX}')`, "revision-not-found", { revision: HEX }],
  ["state.rollback({ revision: 'x' })", "revision-not-found", { revision: "x" }],
  [`state.fork({ at: '${HEX}' })`, "revision-not-found", { revision: HEX }],
  [`state.text({ revision: '${HEX}' })`, "revision-not-found", { revision: HEX }],
  ["other.info().then(({ revision }) => state.rollback({ revision }))", "revision-not-found", undefined],
  ["states.create({ tokens: [99_999] })", "invalid-token", undefined],
  ["states.create({ tokens: [-1] })", "invalid-token", { id: -1, index: 0 }],
  ["state.append([1, 60_000])", "invalid-token", undefined],
  ["state.append([1.5])", "invalid-token", { id: 1.5, index: 0 }],
  ["state.append(Array(2000).fill(5))", "context-overflow", undefined],
  ["states.create({ tokens: Array(2000).fill(5) })", "context-overflow", undefined],
  ["states.list({ signal: AbortSignal.abort() })", "aborted", undefined],
];

test("every fault has its code", { timeout: TIMEOUT_MS }, async (t) => {
  for (const [call, code, details] of CODES) {
    const error = await page.evaluate(`kit.failure((async () => ${call})())`);
    await t.test(`${call.slice(0, 60)}: ${code}`, () => {
      assert.equal(error?.code, code, JSON.stringify(error));
      if (details !== undefined) assert.deepEqual(error.details, details);
    });
  }
  const { text, listed } = await page.evaluate(async () => ({ text: await state.text(), listed: (await states.list()).total }));
  assert.equal(text, "Once upon a time");
  assert.equal(listed, 2, "states that were refused are not there");
});

test("a state that fills the context ends its generation, and takes no more", { timeout: TIMEOUT_MS }, async () => {
  const { first, more, result } = await page.evaluate(async () => {
    const full = await states.create({ tokens: Array(1020).fill(262), persist: false });
    const result = await full.generate(kept.endless(100)).result;
    const { tokens } = await full.info();
    const more = [await kit.failure(full.append(" more")), await kit.failure(full.generate().result)];
    const [again] = await states.import(await full.export(), { persist: false });
    const same = (await again.info()).tokens;
    await states.delete([full, again]);
    return { first: [tokens, same], more, result: [result.finishReason, result.tokens.length] };
  });
  // The last token that is written needs no place itself.
  assert.deepEqual(first, [1025, 1025]);
  assert.deepEqual(result, ["context", 5]);
  assert.deepEqual(more.map((error) => error?.code), ["context-overflow", "context-overflow"]);
});

test("calls after dispose reject with disposed", { timeout: TIMEOUT_MS }, async () => {
  const codes = await page.evaluate(async () => {
    const writing = state.generate(kept.endless(900));
    const failure = kit.failure(writing.result);
    await kept.chunks(writing, 2);
    await cacher.dispose();
    const errors = [await failure, await kit.failure(state.text()), await kit.failure(states.list()), await kit.failure(states.create())];
    states.subscribe(() => undefined)();
    return errors.map((error) => error?.code);
  });
  assert.deepEqual(codes, Array(4).fill("disposed"));
});

test("nothing went wrong in the page", () => assert.deepEqual(problems, []));
