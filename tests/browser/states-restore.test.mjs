/**
 * A state that was put away and taken up again goes on as if it never had been:
 * the same text to the letter and the same scores to the last bit, and the model
 * is run for no more than what no full block of KV cache holds.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openStates, reload } from "./lib/kept.mjs";
import { serveLibrary } from "./lib/library.mjs";

/** Tokens in a block; what is less than one is computed again. */
const BLOCK = 32;

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

/** What a state goes on with that was made and continued twice in one visit. */
const neverSaved = (page) =>
  page.evaluate(async () => {
    const state = await states.create({ text: kept.longText(), config: { seed: 7 }, persist: false });
    const first = await kept.goOn(state, 40);
    const second = await kept.goOn(state, 40);
    const { tokens } = await state.info();
    const told = { first: first.text, second: second.text, text: await state.text(), tokens };
    await state.delete();
    return told;
  });

for (const simd of ["relaxed", "simd128"]) {
  test(`a reload in the middle, with the ${simd} build`, { timeout: TIMEOUT_MS }, async (t) => {
    const { page, problems } = await openStates(browser, server, { simd });
    assert.equal(await page.evaluate(() => cacher.runtime.simd), simd);
    const id = await page.evaluate(async () => {
      const state = await states.create({ text: kept.longText(), config: { seed: 7 }, name: "a story" });
      await kept.goOn(state, 40);
      return state.id;
    });
    await reload(page, { simd });

    await t.test("the same text, with one block's tokens computed at most", async () => {
      const restored = await page.evaluate(async (id) => {
        const state = await states.get(id);
        const before = await state.info();
        const second = await kept.goOn(state, 40);
        return { before, second, text: await state.text() };
      }, id);
      assert.ok(restored.before.tokens > 300, `${restored.before.tokens} tokens`);
      assert.equal(restored.before.saved, true);
      assert.equal(restored.before.name, "a story");
      assert.ok(restored.second.evaluated <= BLOCK, `${restored.second.evaluated} tokens were computed`);
      const fresh = await neverSaved(page);
      assert.equal(restored.second.text, fresh.second);
      assert.equal(restored.text, fresh.text);
    });

    await t.test("the same scores for the next token, and for all before", async () => {
      await reload(page, { simd });
      const { restored, computed, compared, drawn } = await page.evaluate(async (id) => {
        const state = await states.get(id);
        // Reads the stored blocks.
        const restored = (await states.compare(state, await state.fork())).meanLogProb;
        const { ids } = await state.tokens();
        const other = await kept.Cacher.load({ model: "tiny-gpt2", threads: 1, states: { persist: false } });
        const fresh = await other.states.create({ tokens: ids });
        const computed = (await other.states.compare(fresh, await fresh.fork())).meanLogProb;
        await other.dispose();
        // In one engine: the fresh one under another beginning of its blocks' names.
        const [imported] = await states.import(await state.export({ kv: false }), { persist: false });
        const compared = await states.compare(state, imported);
        const drawn = (await imported.info()).rng;
        return { restored, computed, compared, drawn };
      }, id);
      assert.deepEqual(restored, computed);
      assert.equal(compared.diff.distributions.next.kl, 0);
      assert.ok(compared.diff.distributions.next.top.every(({ a, b }) => a === b));
      assert.equal(compared.diff.similarity, 1);
      assert.equal(drawn.position, 80);
    });

    assert.deepEqual(problems, []);
  });
}

test("both builds write the same, also one what the other has begun", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openStates(browser, server, { simd: "simd128" });
  const expected = await neverSaved(page);
  const id = await page.evaluate(async () => {
    const state = await states.create({ text: kept.longText(), config: { seed: 7 } });
    await kept.goOn(state, 40);
    return state.id;
  });
  await page.close();
  const { page: other } = await openStates(context, server, { simd: "relaxed" });
  const second = await other.evaluate(async (id) => kept.goOn(await states.get(id), 40), id);
  assert.equal(second.text, expected.second);
  assert.ok(second.evaluated <= BLOCK);
  assert.deepEqual(await neverSaved(other), expected);
});

test("ways back and ways apart write what was written there", { timeout: 2 * TIMEOUT_MS }, async (t) => {
  const { page, problems } = await openStates(browser, server);
  const made = await page.evaluate(async () => {
    const state = await states.create({ text: kept.longText(), config: { seed: 11, temperature: 0.9 } });
    const { tokens: begun } = await state.info();
    const first = await kept.goOn(state, 30);
    const middle = await state.checkpoint("middle");
    const second = await kept.goOn(state, 30);
    const { revision } = await state.info();
    return { id: state.id, begun, first, middle, second, revision, text: await state.text() };
  });
  await reload(page);

  const inPage = (work, ...args) => page.evaluate(work, [made, ...args]);

  await t.test("a fork goes on as its origin does", async () => {
    const [origin, fork, evaluated] = await inPage(async ([{ id }]) => {
      const state = await states.get(id);
      const fork = await state.fork();
      const one = await kept.goOn(fork, 30);
      const other = await state.fork();
      const two = await kept.goOn(other, 30);
      return [one.text, two.text, [one.evaluated, two.evaluated]];
    });
    assert.equal(fork, origin);
    assert.ok(evaluated.every((count) => count <= BLOCK), `${evaluated}`);
  });

  await t.test("forks of one call are equal and go apart by their seeds", async () => {
    const texts = await inPage(async ([{ id }]) => {
      const forks = await (await states.get(id)).fork(3, { name: "try" });
      await Promise.all(forks.map((fork, index) => (index === 0 ? null : fork.reseed(index))));
      const all = await Promise.all(forks.map((fork) => kept.goOn(fork, 20)));
      const infos = await Promise.all(forks.map((fork) => fork.info()));
      return { all: all.map(({ text }) => text), names: infos.map(({ name }) => name), from: infos.map(({ forkedFrom }) => forkedFrom) };
    });
    assert.equal(new Set(texts.all).size, 3);
    assert.deepEqual(texts.names, ["try", "try", "try"]);
    assert.ok(texts.from.every(({ state, revision }) => state === made.id && revision === made.revision));
  });

  for (const [name, target] of [
    ["to a checkpoint", () => "middle"],
    ["to a checkpoint, as an object", () => ({ checkpoint: "middle" })],
    ["to a revision", ({ middle }) => middle.revision],
    ["by steps", () => 1],
  ]) {
    await t.test(`a rollback ${name} replays what was written`, async () => {
      const { back, again, text } = await inPage(
        async ([{ id }, to]) => {
          const fork = await (await states.get(id)).fork();
          // A fork has no checkpoints of its own.
          if (to === "middle" || to?.checkpoint) await fork.rollback(1).then(() => fork.checkpoint("middle"));
          const back = await fork.rollback(to);
          return { back, again: await kept.goOn(fork, 30), text: await fork.text() };
        },
        target(made),
      );
      assert.equal(again.text, made.second.text);
      assert.equal(text, made.text);
      assert.equal(back.rng.position, 30);
      assert.ok(again.evaluated <= BLOCK, `${again.evaluated}`);
    });
  }

  await t.test("the way back is part of the history, and can be gone back itself", async () => {
    const { operations, text, checkpoints } = await inPage(async ([{ id, revision }]) => {
      const state = await states.get(id);
      await state.rollback("middle");
      await state.append(" Then came the end.");
      await state.rollback(revision);
      const history = await state.history();
      return { operations: history.map(({ operation }) => operation), text: await state.text(), checkpoints: await state.checkpoints() };
    });
    assert.deepEqual(operations.slice(0, 3), ["rollback", "append", "rollback"]);
    assert.equal(text, made.text);
    assert.deepEqual(checkpoints, [made.middle]);
  });

  await t.test("a fork at a token keeps the tokens before it, and goes on as was gone on there", async () => {
    const at = 10;
    const forks = await inPage(
      async ([{ id, begun }, at]) => {
        const state = await states.get(id);
        const forks = [];
        for (const keep of [begun + at, begun - 5]) {
          const fork = await state.fork({ at: keep });
          const tokens = [...(await fork.tokens()).ids];
          const [{ operation }] = await fork.history();
          forks.push({ tokens, operation, next: await kept.goOn(fork, 20) });
        }
        return { forks, ids: [...(await state.tokens()).ids] };
      },
      at,
    );
    const [within, before] = forks.forks;
    assert.deepEqual(within.tokens, forks.ids.slice(0, made.begun + at));
    assert.deepEqual(within.next.tokens, made.first.tokens.slice(at));
    assert.deepEqual(before.tokens, forks.ids.slice(0, made.begun - 5));
    assert.deepEqual([within.operation, before.operation], ["generate", "truncate"]);
    for (const { next } of [within, before]) assert.ok(next.evaluated <= BLOCK, `${next.evaluated}`);
  });

  await t.test("the text of any revision can be read", async () => {
    const { texts, revisions } = await inPage(async ([{ id }]) => {
      const state = await states.get(id);
      const history = (await state.history()).filter(({ operation }) => operation === "generate");
      const texts = await Promise.all(history.map(({ revision }) => state.text({ revision })));
      return { texts, revisions: history.map(({ added, tokensAdded }) => [added, tokensAdded]) };
    });
    assert.equal(texts[0], made.text);
    assert.equal(texts[0], texts[1] + made.second.text);
    assert.deepEqual(revisions, [[made.second.text, 30], [made.first.text, 30]]);
  });

  assert.deepEqual(problems, []);
});
