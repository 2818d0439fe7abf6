/**
 * Two tabs that share states: each sees what the other does, only one writes a
 * state at a time, and no write is lost, whichever of them dies.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openStates } from "./lib/kept.mjs";
import { serveLibrary } from "./lib/library.mjs";
import { waitUntil } from "./lib/wait.mjs";

const BLOCK = 32;
const OPTIONS = { states: { lockWaitMs: 300, saveIntervalMs: 50 } };

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

const { context, page: a, problems: problemsA } = await openStates(browser, server, OPTIONS);
const { page: b, problems: problemsB } = await openStates(context, server, OPTIONS);

/** Keeps what a page is told, as `events`. */
const listen = (page) =>
  page.evaluate(async () => {
    globalThis.events = [];
    states.subscribe((event) => events.push(event));
    // So that the subscription has arrived.
    await states.usage();
  });
await listen(a);
await listen(b);

const told = (page, type, id) =>
  waitUntil(() => page.evaluate(([type, id]) => events.some((event) => event.type === type && event.states.includes(id)), [type, id]));
const forget = () => Promise.all([a, b].map((page) => page.evaluate(() => void (events.length = 0))));
const events = (page, id) =>
  page.evaluate((id) => events.filter(({ states }) => states.includes(id)).map(({ type, origin }) => [type, origin]), id);
const create = (page, options) => page.evaluate(async (options) => (await states.create(options)).id, options);
const textIn = (page, id) => page.evaluate(async (id) => (await states.get(id)).text(), id);
const append = (page, id, text) =>
  page.evaluate(async ([id, text]) => (await (await states.get(id)).append(text, { evaluate: false })).saved, [id, text]);

test("what one tab makes, changes and deletes, the other is told and has", { timeout: TIMEOUT_MS }, async () => {
  await forget();
  const id = await create(a, { text: "The sea", name: "mine" });
  await told(b, "changed", id);
  assert.equal(await textIn(b, id), "The sea");
  await append(b, id, " was calm.");
  await waitUntil(async () => (await events(a, id)).length === 2);
  assert.equal(await textIn(a, id), "The sea was calm.");
  await a.evaluate(async (id) => (await states.get(id)).update({ name: "ours", tags: ["shared"] }), id);
  await waitUntil(async () => (await events(b, id)).length === 3);
  const info = await b.evaluate(async (id) => (await states.get(id)).info(), id);
  assert.deepEqual([info.name, info.tags, info.saved], ["ours", ["shared"], true]);

  await a.evaluate((id) => states.delete(id), id);
  await told(b, "deleted", id);
  const error = await b.evaluate((id) => kit.failure(states.get(id)), id);
  assert.deepEqual([error?.code, error?.details], ["state-not-found", { id }]);
  const [here, there] = await Promise.all([events(a, id), events(b, id)]);
  assert.deepEqual(here, [["changed", "this-tab"], ["changed", "other-tab"], ["changed", "this-tab"], ["deleted", "this-tab"]]);
  assert.deepEqual(there, here.map(([type, origin]) => [type, origin === "this-tab" ? "other-tab" : "this-tab"]));
});

test("what one tab has computed, the other need not compute again", { timeout: TIMEOUT_MS }, async () => {
  await forget();
  const id = await a.evaluate(async () => {
    const state = await states.create({ text: kept.longText("Far away. "), config: { seed: 3 } });
    await kept.goOn(state, 40);
    return state.id;
  });
  await waitUntil(async () => (await events(b, id)).length === 2);
  const inB = await b.evaluate(async (id) => kept.goOn(await states.get(id), 20), id);
  assert.ok(inB.evaluated <= BLOCK, `${inB.evaluated} tokens were computed`);
  await waitUntil(async () => (await events(a, id)).length === 3);
  const again = await a.evaluate(async (id) => {
    const state = await states.get(id);
    await state.rollback(1);
    return kept.goOn(state, 20);
  }, id);
  assert.equal(again.text, inB.text);
});

test("while one tab writes a state, the other reads it and cannot write it", { timeout: TIMEOUT_MS }, async () => {
  const id = await create(a, { text: "Once upon a time" });
  await told(b, "changed", id);
  await a.evaluate(async (id) => {
    const state = await states.get(id);
    globalThis.generation = state.generate(kept.endless(1000));
    await kept.chunks(generation, 3);
  }, id);
  const calls = await b.evaluate(async (id) => {
    const state = await states.get(id);
    const locked = await Promise.all([
      kit.failure(state.append("!")),
      kit.failure(state.update({ name: "b" })),
      kit.failure(state.delete()),
      kit.failure(state.generate({ maxTokens: 1 }).result),
      kit.failure(states.delete([state])),
    ]);
    return { locked, text: await state.text(), listed: (await states.list({ limit: 500 })).items.some((each) => each.id === id), fork: await (await state.fork()).text() };
  }, id);
  for (const error of calls.locked) assert.deepEqual([error?.code, error?.details], ["state-locked", { id }]);
  assert.equal(calls.text, "Once upon a time");
  assert.equal(calls.fork, "Once upon a time");
  assert.ok(calls.listed);
  const text = await a.evaluate(async (id) => {
    generation.abort();
    const result = await generation.result;
    return `Once upon a time${result.text}`;
  }, id);
  await append(b, id, " The end.");
  assert.equal(await textIn(b, id), `${text} The end.`);
  await waitUntil(async () => (await textIn(a, id)) === `${text} The end.`);
});

test("two tabs that take turns lose no append", { timeout: TIMEOUT_MS }, async () => {
  const id = await create(a, { text: "Start." });
  await told(b, "changed", id);
  const work = ([id, name]) =>
    (async () => {
      const state = await states.get(id);
      for (let index = 0; index < 15; index++) {
        for (;;) {
          const error = await kit.failure(state.append(` ${name}${index}`, { evaluate: false }));
          if (error === null) break;
          if (error.code !== "state-locked") throw new Error(error.message);
        }
      }
    })();
  await Promise.all([a.evaluate(work, [id, "a"]), b.evaluate(work, [id, "b"])]);
  await waitUntil(async () => (await textIn(a, id)) === (await textIn(b, id)));
  const words = (await textIn(a, id)).split(" ").slice(1);
  for (const name of ["a", "b"]) {
    const own = words.filter((word) => word.startsWith(name));
    assert.deepEqual(own, Array.from({ length: 15 }, (_, index) => `${name}${index}`));
  }
  assert.equal(words.length, 30);
  const lengths = await Promise.all([a, b].map((page) => page.evaluate(async (id) => (await (await states.get(id)).history()).length, id)));
  assert.deepEqual(lengths, [31, 31]);
});

test("what both make and write at once, each on states of its own, all stays", { timeout: TIMEOUT_MS }, async () => {
  const work = async (name) => {
    const made = await Promise.all(
      Array.from({ length: 8 }, (_, index) => states.create({ text: `${name} ${index}`, name: `${name} ${index}`, evaluate: false })),
    );
    await Promise.all(made.map((state) => state.append(" and more", { evaluate: false })));
    await Promise.all(made.slice(0, 2).map((state) => kept.goOn(state, 8)));
    await states.delete(made[7]);
    return made.slice(0, 7).map(({ id }) => id);
  };
  const [ofA, ofB] = await Promise.all([a.evaluate(work, "ay"), b.evaluate(work, "bee")]);
  const { page: c } = await openStates(context, server, OPTIONS);
  for (const [name, ids] of [["ay", ofA], ["bee", ofB]]) {
    for (const page of [a, b, c]) {
      const texts = await page.evaluate(async (ids) => Promise.all(ids.map(async (id) => (await states.get(id)).text())), ids);
      texts.forEach((text, index) => assert.ok(text.startsWith(`${name} ${index} and more`), text));
    }
  }
  const usage = await c.evaluate(() => states.usage());
  assert.equal(usage.quarantined, 0);
  await c.close();
});

test("a tab that dies while it writes leaves what it has written to the other", { timeout: TIMEOUT_MS }, async () => {
  const id = await create(b, { text: "Once upon a time", config: { seed: 5 } });
  const { page: c } = await openStates(context, server, OPTIONS);
  await c.evaluate(async (id) => {
    globalThis.generation = (await states.get(id)).generate(kept.endless(1000));
    await kept.chunks(generation, 60);
  }, id);
  // Told in the page of the other, since the one that writes is to be closed at any moment.
  await waitUntil(() => b.evaluate(async (id) => (await kept.rawGet("drafts", id)) !== undefined, id));
  await c.close();
  await append(b, id, " (Then the light went out.)");
  const { text, operations, replayed } = await b.evaluate(async (id) => {
    const state = await states.get(id);
    const text = await state.text();
    const history = await state.history();
    const other = await states.create({ text: "Once upon a time", config: { seed: 5 } });
    const length = text.length - "Once upon a time (Then the light went out.)".length;
    const { text: replayed } = await kept.goOn(other, history[1].tokensAdded);
    return { text, operations: history.map(({ operation }) => operation), replayed: replayed.slice(0, length) };
  }, id);
  assert.deepEqual(operations, ["append", "recover", "create"]);
  assert.equal(text, `Once upon a time${replayed} (Then the light went out.)`);
  assert.ok(replayed.length > 20, replayed);
});

test("what one tab deletes while it is read by the other is not found there", { timeout: TIMEOUT_MS }, async () => {
  const id = await create(a, { text: "gone soon" });
  await told(b, "changed", id);
  await b.evaluate((id) => states.get(id).then((state) => (globalThis.handle = state)), id);
  await a.evaluate((id) => states.delete(id), id);
  const errors = await b.evaluate(async () => [
    await kit.failure(handle.append("x")),
    await kit.failure(handle.generate().result),
    await kit.failure(handle.text()),
    await kit.failure(handle.delete()),
    await kit.failure(handle.history()),
    await kit.failure(handle.fork()),
  ]);
  assert.deepEqual(errors.map((error) => error?.code), Array(6).fill("state-not-found"));
});

test("nothing went wrong in the pages", () => assert.deepEqual([...problemsA, ...problemsB], []));
