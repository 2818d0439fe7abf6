/**
 * Calls about states that are ended early, by signal, by leaving the loop, or
 * by many at once: what was made stays, what was not yet there never was.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openStates, reload } from "./lib/kept.mjs";
import { serveLibrary } from "./lib/library.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

for (const worker of [true, false]) {
  test(worker ? "in a worker" : "on the page's thread", { timeout: 2 * TIMEOUT_MS }, async (t) => {
    const { context, page, problems } = await openStates(browser, server, { worker });
    await page.evaluate(() => {
      /** Tokens that take many steps to read, and of which no KV cache is known. */
      globalThis.fresh = (length) => Array.from({ length }, () => Math.floor(Math.random() * 50_000));
      /** Aborts once the engine is at work. */
      globalThis.abortSoon = async (controller) => {
        await states.usage();
        controller.abort("enough");
      };
      globalThis.counts = async () => {
        const { states: number, revisions, unsaved } = await states.usage();
        return [number, revisions, unsaved, (await kept.rawKeys("states")).length];
      };
    });

    await t.test("create leaves nothing", async () => {
      const { error, before, after } = await page.evaluate(async () => {
        const before = await counts();
        const controller = new AbortController();
        const failure = kit.failure(states.create({ tokens: fresh(1000), signal: controller.signal }));
        await abortSoon(controller);
        const error = await failure;
        await cacher.tokenize("");
        return { error, before, after: await counts() };
      });
      assert.deepEqual([error?.name, error?.code, error?.cause], ["AbortError", "aborted", "enough"]);
      assert.deepEqual(after, before);
    });

    await t.test("append keeps what was added, without its KV cache", async () => {
      const { error, tokens, saved, evaluated } = await page.evaluate(async () => {
        const state = await states.create({ text: "Once" });
        const controller = new AbortController();
        const failure = kit.failure(state.append(fresh(900), { signal: controller.signal }));
        await abortSoon(controller);
        const error = await failure;
        const update = await state.update({ name: "after" });
        const { tokens, saved } = update;
        const { evaluated } = await kept.goOn(state, 1);
        return { error, tokens, saved, evaluated };
      });
      assert.equal(error?.code, "aborted");
      assert.equal(tokens, 901);
      assert.equal(saved, true);
      assert.ok(evaluated > 32, `${evaluated}`);
    });

    await t.test("merge leaves nothing", async () => {
      const { error, before, after } = await page.evaluate(async () => {
        const [a, b] = await Promise.all([0, 1].map(() => states.create({ tokens: fresh(450), evaluate: false })));
        const before = await counts();
        const controller = new AbortController();
        const failure = kit.failure(states.merge([a, b], { strategy: "concat", signal: controller.signal }));
        await abortSoon(controller);
        const error = await failure;
        const best = new AbortController();
        const scoring = kit.failure(states.merge([a, b], { strategy: "best", signal: best.signal }));
        await abortSoon(best);
        return { error: [error?.code, (await scoring)?.code], before, after: await counts() };
      });
      assert.deepEqual(error, ["aborted", "aborted"]);
      assert.deepEqual(after, before);
    });

    await t.test("import takes all in or nothing, and says which", async (each) => {
      const { attempts, exported } = await page.evaluate(async () => {
        const made = await Promise.all(Array.from({ length: 4 }, () => states.create({ tokens: fresh(500) })));
        const file = await states.export(made);
        const attempts = [];
        for (const part of [0, 0.3, 0.6, 0.9]) {
          const [before] = await counts();
          const controller = new AbortController();
          const onProgress = ({ loaded, total }) => loaded > total * part && controller.abort("enough");
          const error = await kit.failure(states.import(file, { signal: controller.signal, onProgress }));
          attempts.push({ code: error?.code, cause: error?.cause, more: (await counts())[0] - before });
        }
        const other = new AbortController();
        const exporting = kit.failure(states.export(made, { signal: other.signal }));
        other.abort();
        return { attempts, exported: await exporting };
      });
      each.diagnostic(JSON.stringify(attempts));
      for (const { code, cause, more } of attempts) {
        assert.deepEqual([code, cause, more], code === undefined ? [undefined, undefined, 4] : ["aborted", "enough", 0]);
      }
      // On one thread nothing can outrun the abort.
      if (!worker) assert.ok(attempts.every(({ code }) => code === "aborted"));
      assert.equal(exported?.code, "aborted");
    });

    for (const [how, end] of [
      ["signal", "controller.abort()"],
      ["abort()", "generation.abort()"],
      ["leaving the loop", "iterator.return()"],
    ]) {
      await t.test(`a generation, by ${how}, keeps what was made`, async () => {
        const told = await page.evaluate(`(async () => {
          const state = await states.create({ text: "Once upon a time", config: { seed: 3 } });
          const controller = new AbortController();
          const generation = state.generate(kept.endless(900, { signal: controller.signal }));
          const iterator = generation[Symbol.asyncIterator]();
          for (let count = 0; count < 20; count++) await iterator.next();
          await ${end};
          const result = await generation.result;
          const text = await state.text();
          const next = await kept.goOn(state, 20);
          const whole = await states.create({ text: "Once upon a time", config: { seed: 3 } });
          const all = await kept.goOn(whole, result.tokens.length + 20);
          const [, { operation, finishReason }] = await state.history();
          return { id: state.id, result, text, next, all, operation, finishReason };
        })()`);
        assert.equal(told.result.finishReason, "aborted");
        assert.ok(told.result.tokens.length >= 20 && told.result.tokens.length < 900);
        assert.equal(told.text, `Once upon a time${told.result.text}`);
        assert.deepEqual([told.operation, told.finishReason], ["generate", "aborted"]);
        assert.deepEqual([...told.result.tokens, ...told.next.tokens], told.all.tokens, "its random numbers go on");
        assert.equal(told.result.state.saved, true);
      });
    }

    await t.test("a generation before it begins, or while it waits, changes nothing", async () => {
      const { results, revision, after } = await page.evaluate(async () => {
        const state = await states.create({ text: "Once upon a time", config: { seed: 2n ** 63n + 1n } });
        const { revision } = await state.info();
        const none = await kit.plainResult(state.generate({ signal: AbortSignal.abort() }));
        const first = state.generate(kept.endless(900));
        await kept.chunks(first, 2);
        const controller = new AbortController();
        const waiting = state.generate(kept.endless(900, { signal: controller.signal }));
        await abortSoon(controller);
        const waited = await kit.plainResult(waiting);
        first.abort();
        await first.result;
        return { results: [none, waited], revision, after: (await state.history()).length };
      });
      for (const result of results) {
        assert.deepEqual([result.finishReason, result.tokens, result.text], ["aborted", [], ""]);
        assert.equal(result.seed, 2n ** 63n + 1n);
        assert.equal(result.state.revision, revision);
      }
      assert.equal(after, 2);
    });

    await t.test("calls for one state wait for each other, in their order", async () => {
      const { text, operations } = await page.evaluate(async () => {
        const state = await states.create({ text: "0", evaluate: false });
        const generation = state.generate(kept.endless(10, { temperature: 0 }));
        const all = [generation.result, ...Array.from({ length: 6 }, (_, index) => state.append(` ${index + 1}`, { evaluate: index % 2 === 0 }))];
        all.push(state.update({ name: "in order" }), state.checkpoint("end"), state.generate(kept.endless(3)).result);
        await Promise.all(all);
        return { text: await state.text(), operations: (await state.history()).map(({ operation }) => operation).reverse() };
      });
      assert.match(text, / 1 2 3 4 5 6/);
      assert.deepEqual(operations, ["create", "generate", ...Array(6).fill("append"), "update", "generate"]);
    });

    await t.test("several states at once write what each writes alone", async () => {
      const { alone, together } = await page.evaluate(async () => {
        const make = (seed) => states.create({ text: kept.longText(), config: { seed } });
        const alone = [];
        for (const seed of [1, 2, 3]) alone.push((await kept.goOn(await make(seed), 30)).text);
        const made = await Promise.all([1, 2, 3].map(make));
        return { alone, together: (await Promise.all(made.map((state) => kept.goOn(state, 30)))).map(({ text }) => text) };
      });
      assert.deepEqual(together, alone);
    });

    const before = await page.evaluate(() => counts());
    await reload(page, { worker });
    const after = await page.evaluate(async () => {
      const { states: number, revisions, unsaved, quarantined } = await states.usage();
      return [number, revisions, unsaved, (await kept.rawKeys("states")).length, quarantined];
    });
    assert.deepEqual(after, [...before, 0], "what there was in memory is what is stored");
    assert.deepEqual(problems, []);
    await context.close();
  });
}
