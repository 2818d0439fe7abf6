/**
 * States where storage fails them: no room, damaged or newer records, a newer
 * database, none at all, a page that is closed, an engine that crashes.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openStates, reload, startStates } from "./lib/kept.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";
import { waitUntil } from "./lib/wait.mjs";

const BLOCK = 32;

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

test("where the room ends, what is stored stays readable and the rest waits for room", { timeout: TIMEOUT_MS }, async () => {
  const { context, page, problems } = await openStates(browser, server, null);
  const devtools = await context.newCDPSession(page);
  const { origin } = new URL(server.url);
  const quota = (quotaSize) => devtools.send("Storage.overrideQuotaForOrigin", { origin, ...(quotaSize && { quotaSize }) });
  await quota(600_000);
  const load = { store: "memory" };
  await startStates(page, load);
  const id = await page.evaluate(async () => (await states.create({ text: "Once upon a time" })).id);

  const full = await page.evaluate(async (id) => {
    const state = await states.get(id);
    globalThis.events = [];
    states.subscribe((event) => events.push(event));
    const rejected = await kit.failure(state.append(kept.longText(", ")));
    const { saved } = await state.info();
    const text = await state.text();
    // Whole blocks of KV cache, for which there is no room.
    const next = await kept.goOn(state, 120);
    const created = await kit.failure(states.create({ text: kept.longText("Another one. "), name: "never" }));
    const { items } = await states.list();
    const { unsaved } = await states.usage();
    const save = await kit.failure(states.save());
    return { rejected, saved, text, next, created, names: items.map(({ name }) => name), unsaved, save, told: events.length, after: await state.text() };
  }, id);
  for (const error of [full.rejected, full.created, full.save]) assert.equal(error?.code, "storage-full", JSON.stringify(error));
  assert.equal(full.saved, true, "the change that could not be stored was not made");
  assert.equal(full.next.saved, false);
  assert.equal(full.after, full.text + full.next.text);
  assert.deepEqual(full.names, [null], "what could not be made is not there");
  assert.equal(full.unsaved, 1);
  assert.equal(full.told, 2);

  const { page: other } = await openStates(context, server, load);
  assert.equal(await other.evaluate(async (id) => (await states.get(id)).text(), id), "Once upon a time");
  await other.close();

  await quota();
  const saved = await page.evaluate(async (id) => {
    await states.save();
    const { unsaved } = await states.usage();
    return [(await (await states.get(id)).info()).saved, unsaved];
  }, id);
  assert.deepEqual(saved, [true, 0]);
  await reload(page, load);
  const { text, next } = await page.evaluate(async (id) => {
    const state = await states.get(id);
    return { text: await state.text(), next: await kept.goOn(state, 5) };
  }, id);
  assert.equal(text, full.after);
  assert.ok(next.evaluated <= BLOCK);
  assert.deepEqual(problems, []);
  await context.close();
});

test("what could not be stored and was overtaken goes on as a state of its own", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openStates(browser, server, null);
  const devtools = await context.newCDPSession(page);
  const { origin } = new URL(server.url);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 600_000 });
  await startStates(page, { store: "memory" });
  const { page: other } = await openStates(context, server, { store: "memory" });
  const { id, text, saved } = await page.evaluate(async () => {
    const state = await states.create({ text: "Once upon a time" });
    // Whole blocks of KV cache, for which there is no room.
    const { text, saved } = await kept.goOn(state, 120);
    globalThis.events = [];
    states.subscribe((event) => events.push(event));
    return { id: state.id, text, saved };
  });
  assert.equal(saved, false);
  // Before there is room again, which the first page would use as well.
  await other.evaluate(async (id) => {
    globalThis.overtaking = await states.get(id);
  }, id);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin });
  await other.evaluate(() => overtaking.append(" elsewhere"));
  await waitUntil(() => page.evaluate(() => events.length >= 2));
  const { items, texts, events } = await page.evaluate(async () => {
    const { items } = await states.list({ sort: "created", order: "asc" });
    const texts = await Promise.all(items.map(async ({ id }) => (await states.get(id)).text()));
    return { items, texts, events };
  });
  assert.equal(items.length, 2);
  const own = items.findIndex((info) => info.id !== id);
  assert.equal(texts[1 - own], "Once upon a time elsewhere");
  assert.equal(texts[own], `Once upon a time${text}`);
  assert.ok(items.every(({ saved }) => saved));
  assert.ok(events.some(({ states }) => states.includes(items[own].id)));
  await context.close();
});

test("a page that is closed in a long generation loses its last moments at most", { timeout: TIMEOUT_MS }, async () => {
  const options = { states: { saveIntervalMs: 100 } };
  const { context, page } = await openStates(browser, server, options);
  const { id, begun } = await page.evaluate(async () => {
    const state = await states.create({ text: "Once upon a time", config: { seed: 9 } });
    const generation = state.generate(kept.endless(1000));
    const begun = await kept.chunks(generation, 120);
    return { id: state.id, begun };
  });
  await page.close();
  const { page: next, problems } = await openStates(context, server, options);
  const found = await next.evaluate(async (id) => {
    const state = await states.get(id);
    const text = await state.text();
    const { saved, rng } = await state.info();
    const history = (await state.history()).map(({ operation, tokensAdded }) => [operation, tokensAdded]);
    const more = await kept.goOn(state, 20);
    const fresh = await states.create({ text: "Once upon a time", config: { seed: 9 }, persist: false });
    const again = await kept.goOn(fresh, history[0][1] + 20);
    const drafts = await kept.rawKeys("drafts");
    return { text, saved, position: rng.position, history, more, again, drafts };
  }, id);
  assert.deepEqual(found.history.map(([operation]) => operation), ["recover", "create"]);
  assert.ok(found.history[0][1] >= 60, `${found.history[0][1]} tokens`);
  assert.equal(found.position, found.history[0][1]);
  assert.ok(found.text.startsWith(`Once upon a time${begun.slice(0, 100)}`));
  assert.equal(found.text + found.more.text, `Once upon a time${found.again.text}`);
  assert.equal(found.saved, true);
  assert.deepEqual(found.drafts, []);
  assert.deepEqual(problems, []);
  await context.close();
});

/** Runs in the thread of the engine: its step number `count` from now ends its job with an error. */
async function failAtStep(count) {
  const { Engine } = await import("/pkg/wasm/cacher_wasm.js");
  const { step } = Engine.prototype;
  Engine.prototype.step = function () {
    const events = step.call(this);
    if (count-- > 0 || events.length === 0) return events;
    Engine.prototype.step = step;
    const [{ job }] = events;
    this.cancel(job);
    return [{ job, type: "error", error: Object.assign(new Error("nothing to say"), { code: "no-next-token" }) }];
  };
}

test("a generation that fails leaves the state as it was, also for the next visit", { timeout: TIMEOUT_MS }, async () => {
  const options = { worker: false, states: { saveIntervalMs: 0 } };
  const { context, page } = await openStates(browser, server, options);
  const id = await page.evaluate(async () => (await states.create({ text: "Once upon a time" })).id);
  await page.evaluate(failAtStep, 60);
  const { error, drafts } = await page.evaluate(async (id) => {
    const state = await states.get(id);
    const error = await kit.failure(state.generate(kept.endless(200)).result);
    return { error, drafts: await kept.rawKeys("drafts") };
  }, id);
  assert.equal(error?.code, "no-next-token");
  assert.deepEqual(drafts, []);
  await reload(page, options);
  assert.equal(await page.evaluate(async (id) => (await states.get(id)).text(), id), "Once upon a time");
  await context.close();
});

test("a damaged record harms nothing but itself", { timeout: 2 * TIMEOUT_MS }, async (t) => {
  const { context, page, problems } = await openStates(browser, server);
  const made = await page.evaluate(async () => {
    const other = await states.create({ text: "All is well.", name: "other" });
    const state = await states.create({ text: kept.longText(), name: "story", config: { seed: 4 } });
    await kept.goOn(state, 40);
    await state.checkpoint("here");
    const fork = await state.fork({ name: "fork" });
    const { text: next } = await kept.goOn(fork, 20);
    await fork.delete();
    const { revision } = await state.info();
    return { id: state.id, other: other.id, text: await state.text(), next, revision };
  });

  await t.test("a KV block", async () => {
    await page.evaluate(async () => kept.flipBit("blocks", (await kept.rawKeys("blocks"))[3]));
    await reload(page);
    const { next, usage, again } = await page.evaluate(async ({ id }) => {
      const fork = await (await states.get(id)).fork();
      const next = await kept.goOn(fork, 20);
      await fork.delete();
      return { next, usage: await states.usage(), again: await (await states.get(id)).text() };
    }, made);
    assert.equal(next.text, made.next);
    assert.equal(usage.quarantined, 1);
    assert.equal(again, made.text);
  });

  await t.test("the revision a state stands at", async () => {
    await page.evaluate(({ revision }) => kept.flipBit("revisions", revision), made);
    await reload(page);
    const found = await page.evaluate(async ({ id, other }) => {
      const state = await states.get(id);
      const info = await state.info();
      const history = (await state.history()).map(({ operation }) => operation);
      const text = await state.text();
      const { quarantined, unsaved } = await states.usage();
      const next = await kept.goOn(state, 20);
      return { info, history, text, quarantined, unsaved, next, other: await (await states.get(other)).text() };
    }, made);
    assert.equal(found.text, made.text);
    assert.equal(found.info.name, "story");
    assert.deepEqual(found.history, ["import"]);
    assert.equal(found.quarantined, 2);
    assert.equal(found.unsaved, 1);
    assert.equal(found.next.text, made.next);
    assert.equal(found.next.saved, true);
    assert.ok(found.next.evaluated <= BLOCK, "its KV cache is of use still");
    assert.equal(found.other, "All is well.");
  });

  await t.test("a state", async () => {
    await page.evaluate(({ id }) => kept.flipBit("states", id), made);
    await reload(page);
    const { items, quarantined, error } = await page.evaluate(async ({ id }) => {
      const { items } = await states.list();
      const { quarantined } = await states.usage();
      return { items: items.map(({ name }) => name), quarantined, error: await kit.failure(states.get(id)) };
    }, made);
    assert.deepEqual(items, ["other"]);
    assert.equal(quarantined, 3);
    assert.equal(error?.code, "state-not-found");
  });

  assert.deepEqual(problems, []);
  await context.close();
});

test("records of a newer version stay as they are, and hinder nothing", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openStates(browser, server);
  const [newer, older] = await page.evaluate(async () => {
    const state = await states.create({ text: kept.longText("New. ") });
    const fork = await state.fork();
    return [state.id, fork.id];
  });
  const recordOf = (id) => page.evaluate(async (id) => JSON.stringify([...(await kept.rawGet("states", id)).bytes]), id);
  await page.evaluate(async (id) => {
    const record = await kept.rawGet("states", id);
    record.bytes[4] = 99;
    await kept.rawPut("states", record);
  }, newer);
  const before = await recordOf(newer);
  await reload(page);
  const found = await page.evaluate(
    async ([newer, older]) => {
      const { items } = await states.list();
      const error = await kit.failure(states.get(newer));
      const extra = await states.create({ text: kept.longText("Extra. ") });
      await extra.delete();
      const keysBefore = await kept.rawKeys("revisions");
      await states.delete(older);
      const cleaned = await states.cleanUp({ maxStates: 0 });
      return { items: items.map(({ id }) => id), error, keysBefore, keys: await kept.rawKeys("revisions"), blocks: (await kept.rawKeys("blocks")).length, states: await kept.rawKeys("states"), cleaned, quarantined: (await states.usage()).quarantined };
    },
    [newer, older],
  );
  assert.deepEqual(found.items, [older]);
  assert.equal(found.error?.code, "state-not-found");
  assert.deepEqual(found.states, [newer]);
  assert.deepEqual(found.keys, found.keysBefore, "what the newer one may need stays");
  assert.ok(found.blocks >= 9);
  assert.deepEqual(found.cleaned, []);
  assert.equal(found.quarantined, 0);
  assert.equal(await recordOf(newer), before);
  await context.close();
});

test("a database of a newer version is left alone, and every call says so", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openStates(browser, server);
  await page.evaluate(async () => {
    await states.create({ text: "of now" });
    await cacher.dispose();
    const database = await kept.rawOpen(7, (upgraded) => upgraded.createObjectStore("of the future"));
    database.close();
  });
  const before = await page.evaluate(() => kept.dump());
  await reload(page);
  const errors = await page.evaluate(async () => [
    await kit.failure(states.create({ text: "x" })),
    await kit.failure(states.list()),
    await kit.failure(states.get("0")),
    await kit.failure(states.usage()),
    await kit.failure(states.export()),
    await kit.failure(states.cleanUp({ maxStates: 0 })),
    await kit.failure(states.save()),
  ]);
  for (const error of errors) assert.deepEqual([error?.code, error?.details], ["storage-newer", { found: 7, supported: 2 }]);
  const tokens = await page.evaluate(async () => (await cacher.generate("Hello", { maxTokens: 3 }).result).tokens.length);
  assert.equal(tokens, 3, "the model works all the same");
  assert.equal(await page.evaluate(() => kept.dump()), before);
  await context.close();
});
