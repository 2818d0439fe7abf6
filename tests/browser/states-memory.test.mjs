/**
 * States without storage, by wish or because there is none; without locks; and
 * with an engine that crashes.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openStates } from "./lib/kept.mjs";
import { serveLibrary } from "./lib/library.mjs";
import { waitUntil } from "./lib/wait.mjs";

const BLOCK = 32;

const browser = await launch();
const server = await serveLibrary({
  files: {
    // A worker whose IndexedDB refuses, as in some private windows.
    "/refusing-worker.js": { body: 'import "/refuse.js";\nimport "/pkg/worker.js";\n', type: "text/javascript" },
    "/refuse.js": { body: `(${refuse})();\n`, type: "text/javascript" },
  },
});
test.after(() => server.close());

/** Runs before all scripts of a page or worker. */
function refuse() {
  const { open } = IDBFactory.prototype;
  IDBFactory.prototype.open = function (name, ...version) {
    if (name !== "cacher-states") return open.call(this, name, ...version);
    throw new DOMException("not in this window", "SecurityError");
  };
}

const KINDS = [
  ["IndexedDB refuses, in a worker", { workerUrl: "/refusing-worker.js" }, undefined, /not in this window/],
  ["IndexedDB refuses, on the page's thread", { worker: false }, refuse, /not in this window/],
  ["there is no IndexedDB", { worker: false, store: "memory" }, () => Object.defineProperty(globalThis, "indexedDB", { value: undefined }), /IndexedDB/],
  ["storing is switched off", { states: { persist: false } }, undefined, /switched off/],
];

for (const [name, options, script, reason] of KINDS) {
  test(`where ${name}, states are in memory, and it is said why`, { timeout: TIMEOUT_MS }, async () => {
    const context = await browser.newContext();
    if (script !== undefined) await context.addInitScript(script);
    const { page, problems } = await openStates(context, server, options);
    const { usage, texts, events, info, save } = await page.evaluate(async () => {
      const events = [];
      const end = states.subscribe((event) => events.push(event));
      const state = await states.create({ text: "Once upon a time" });
      await kept.goOn(state, 10);
      const fork = await state.fork();
      await fork.append(" there was more.");
      await state.rollback(1);
      const info = await state.info();
      const texts = [await state.text(), (await fork.text()).endsWith(" there was more.")];
      const save = await kit.failure(states.save());
      await states.delete(fork);
      end();
      await state.append("!");
      return { usage: await states.usage(), texts, events: events.map(({ type, origin }) => `${type} ${origin}`), info, save };
    });
    assert.equal(usage.backend, "memory");
    assert.match(usage.reason, reason);
    assert.deepEqual([usage.states, usage.blocks, usage.bytes.total], [1, 0, 0]);
    assert.deepEqual(texts, ["Once upon a time", true]);
    assert.equal(info.saved, false);
    assert.equal(save, null);
    assert.deepEqual(events, [...Array(5).fill("changed this-tab"), "deleted this-tab"]);
    assert.deepEqual(problems, []);
    await context.close();
  });
}

test("states that are not to be kept never come to the database", { timeout: TIMEOUT_MS }, async () => {
  const { context, page, problems } = await openStates(browser, server);
  const { empty, infos, events, merged } = await page.evaluate(async () => {
    const events = [];
    states.subscribe(({ type }) => events.push(type));
    await states.create({ text: "stored", evaluate: false }).then((state) => state.delete());
    const empty = await kept.dump();
    const before = events.length;
    const state = await states.create({ text: kept.longText(), persist: false });
    await kept.goOn(state, 40);
    await state.checkpoint("c");
    const fork = await state.fork();
    await fork.append(" And more.");
    await fork.pin();
    const merged = await states.merge([state, fork]);
    await states.save();
    const infos = await Promise.all([state, fork, merged].map((each) => each.info()));
    const same = (await kept.dump()) === empty;
    await states.delete([state, fork]);
    return { empty: same, infos, events: events.slice(before), merged: await merged.text() };
  });
  assert.ok(empty);
  assert.ok(infos.every(({ persist, saved }) => !persist && !saved));
  assert.ok(merged.endsWith(" And more."));
  assert.deepEqual(events, [...Array(7).fill("changed"), "deleted"]);
  const { page: other } = await openStates(context, server);
  assert.equal(await other.evaluate(async () => (await states.list()).total), 0);
  assert.deepEqual(problems, []);
  await context.close();
});

test("without locks, who writes second is told, and loses nothing", { timeout: TIMEOUT_MS }, async () => {
  const context = await browser.newContext();
  await context.addInitScript(() => {
    Object.defineProperty(Navigator.prototype, "locks", { get: () => undefined });
  });
  const options = { worker: false, states: { saveIntervalMs: 100_000 }, store: "memory" };
  const { page: a, problems } = await openStates(context, server, options);
  const { page: b } = await openStates(context, server, options);
  const id = await a.evaluate(async () => (await states.create({ text: "Once upon a time" })).id);
  await waitUntil(() => b.evaluate(async (id) => (await kit.failure(states.get(id))) === null, id));
  await a.evaluate(async (id) => {
    globalThis.generation = (await states.get(id)).generate(kept.endless(300, { seed: 1 }));
    globalThis.failure = kit.failure(generation.result);
    await kept.chunks(generation, 5);
  }, id);
  const ofB = await b.evaluate(async (id) => (await (await states.get(id)).append(" in the other tab", { evaluate: false })).saved, id);
  assert.ok(ofB);
  const { error, original, copy, info, again } = await a.evaluate(async (id) => {
    generation.abort();
    const error = await failure;
    const copy = await states.get(error.details.savedAs);
    const original = await states.get(id);
    const text = await copy.text();
    await original.append("!");
    return { error, original: await original.text(), copy: text, info: await copy.info(), again: (await original.info()).saved };
  }, id);
  assert.equal(error.code, "state-conflict");
  assert.equal(error.details.id, id);
  assert.equal(original, "Once upon a time in the other tab!");
  assert.ok(copy.startsWith("Once upon a time") && copy.length > 25 && !copy.includes("other tab"), copy);
  assert.ok(info.saved && again);
  await waitUntil(() => b.evaluate(async (id) => (await (await states.get(id)).text()).endsWith("tab!"), id));
  assert.equal(await b.evaluate(async (id) => (await states.get(id)).text(), error.details.savedAs), copy);
  assert.deepEqual(problems, []);
  await context.close();
});

/** Runs in the thread of the engine: its step number `count` from now executes `unreachable`. */
async function trapAtStep(count) {
  const { Engine } = await import("/pkg/wasm/cacher_wasm.js");
  const { step } = Engine.prototype;
  const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0, 11];
  const { instance } = await WebAssembly.instantiate(Uint8Array.from(bytes));
  Engine.prototype.step = function () {
    if (count-- > 0) return step.call(this);
    Engine.prototype.step = step;
    instance.exports.f();
  };
}

for (const worker of [true, false]) {
  test(`handles outlive a crash of the engine ${worker ? "in a worker" : "on the page's thread"}`, { timeout: TIMEOUT_MS }, async () => {
    const { context, page } = await openStates(browser, server, { worker, states: { saveIntervalMs: 20 } });
    await page.evaluate(async () => {
      globalThis.state = await states.create({ text: kept.longText(), config: { seed: 2 } });
      globalThis.first = await kept.goOn(state, 40);
      globalThis.writing = await states.create({ text: "Once upon a time", config: { seed: 2 } });
      globalThis.fleeting = await states.create({ text: "gone", persist: false });
      await states.setCleanUp({ maxStates: 500, intervalMs: 100_000 });
      globalThis.events = [];
      states.subscribe((event) => events.push(event.states[0]));
    });
    await (worker ? page.workers()[0] : page).evaluate(trapAtStep, 150);
    const failure = await page.evaluate(() => kit.failure(writing.generate(kept.endless(900)).result));
    assert.equal(failure?.code, "engine-crashed");
    const found = await page.evaluate(async () => {
      const text = await state.text();
      events.length = 0;
      const next = await kept.goOn(state, 20);
      const fresh = await states.create({ text: kept.longText(), config: { seed: 2 }, persist: false });
      const all = await kept.goOn(fresh, 60);
      await writing.append(" (cut)");
      const history = (await writing.history()).map(({ operation }) => operation);
      return { text, next, all, first, history, gone: await kit.failure(fleeting.text()), told: events.includes(state.id) };
    });
    assert.ok(found.text.endsWith(found.first.text));
    assert.equal(found.first.text + found.next.text, found.all.text);
    assert.ok(found.next.evaluated <= BLOCK, `${found.next.evaluated}`);
    assert.deepEqual(found.history, ["append", "recover", "create"]);
    assert.equal(found.gone?.code, "state-not-found");
    assert.ok(found.told, "the subscription goes on");
    await context.close();
  });
}

test("two models in one database: a state goes on with either", { timeout: TIMEOUT_MS }, async () => {
  const { context, page, problems } = await openStates(browser, server);
  const { id, first } = await page.evaluate(async () => {
    const state = await states.create({ text: kept.longText(), config: { temperature: 0 } });
    const first = await kept.goOn(state, 20);
    return { id: state.id, first };
  });
  const inEach = await page.evaluate(async (id) => {
    const other = await kept.Cacher.load({ model: "tiny-gpt2", threads: 1, dtype: "f32" });
    const state = await other.states.get(id);
    const text = await state.text();
    const exact = await kept.goOn(state, 4);
    const info = await state.info();
    const history = (await state.history()).map(({ operation }) => operation);
    const byModel = (await other.states.list({ model: info.model.sha256 })).total;
    await other.dispose();
    return { text, exact, info, history, byModel };
  }, id);
  assert.ok(inEach.text.endsWith(first.text));
  assert.equal(inEach.info.model.dtype, "f32");
  assert.equal(inEach.info.saved, true);
  assert.equal(inEach.exact.evaluated, inEach.info.tokens - 4, "the other format's KV cache is of no use");
  assert.deepEqual(inEach.history, ["generate", "generate", "create"]);
  assert.equal(inEach.byModel, 1);
  const back = await page.evaluate(async (id) => {
    const state = await states.get(id);
    for (let tries = 0; (await state.history()).length < 3 && tries < 200; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
    const next = await kept.goOn(state, 4);
    return { next, text: await state.text(), dtypes: (await state.info()).model.dtype };
  }, id);
  assert.equal(back.text, inEach.text + inEach.exact.text + back.next.text);
  assert.equal(back.dtypes, "q8");
  assert.deepEqual(problems, []);
  await context.close();
});
