/**
 * Many states: found, sorted, paged, cleaned up, and merged.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openStates, reload } from "./lib/kept.mjs";
import { serveLibrary } from "./lib/library.mjs";
import { waitUntil } from "./lib/wait.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

test("300 states", { timeout: 2 * TIMEOUT_MS }, async (t) => {
  const { context, page, problems } = await openStates(browser, server);
  const made = performance.now();
  await page.evaluate(async () => {
    for (let index = 0; index < 300; index++) {
      await states.create({
        text: `Story ${index}${index % 10 === 0 ? " of the Sea" : ""}${"!".repeat(index % 7)}`,
        name: index % 3 === 0 ? `Name ${String(index).padStart(3, "0")}` : undefined,
        tags: [`m${index % 2}`, `n${index % 5}`],
        evaluate: false,
      });
    }
    await (await states.get((await states.list({ search: "name 006" })).items[0].id)).pin();
  });
  t.diagnostic(`made in ${Math.round(performance.now() - made)} ms`);
  await reload(page);
  const list = (query) =>
    page.evaluate(async (query) => {
      const { items, total } = await states.list(query);
      return { total, count: items.length, names: items.map(({ name }) => name), previews: items.map(({ preview }) => preview), tokens: items.map(({ tokens }) => tokens), times: items.map(({ updated, created }) => [updated, created]) };
    }, query);

  const begun = performance.now();
  const all = await list({ limit: 1000 });
  t.diagnostic(`opened and listed in ${Math.round(performance.now() - begun)} ms`);
  assert.deepEqual([all.total, all.count], [300, 300]);
  const byDefault = await list();
  assert.deepEqual([byDefault.total, byDefault.count], [300, 100]);
  assert.deepEqual(byDefault.previews, all.previews.slice(0, 100));
  assert.deepEqual(all.times, [...all.times].sort((a, b) => b[0] - a[0]));

  const pages = [];
  for (let offset = 0; offset < 320; offset += 64) pages.push(...(await list({ offset, limit: 64, sort: "created", order: "asc" })).previews);
  assert.deepEqual(pages.length, 300);
  assert.equal(new Set(pages).size, 300, "every state is on one page");
  assert.deepEqual([(await list({ limit: 0 })).count, (await list({ limit: 0 })).total], [0, 300]);
  assert.deepEqual((await list({ offset: 500 })).count, 0);

  assert.equal((await list({ search: "of the SEA" })).total, 30);
  assert.equal((await list({ search: "NAME 0", limit: 5 })).total, 34);
  assert.equal((await list({ search: "nowhere" })).total, 0);
  assert.equal((await list({ tags: ["m1"] })).total, 150);
  assert.equal((await list({ tags: ["m1", "n3"] })).total, 30);
  assert.equal((await list({ tags: ["m1", "x"] })).total, 0);
  assert.equal((await list({ tags: ["m0"], search: "sea" })).total, 30);
  assert.deepEqual((await list({ pinned: true })).names, ["Name 006"]);
  assert.equal((await list({ pinned: false })).total, 299);
  assert.equal((await list({ model: "0".repeat(64) })).total, 0);
  const named = (await list({ sort: "name", order: "asc", limit: 1000 })).names.filter((name) => name !== null);
  assert.deepEqual(named, [...named].sort());
  const tokens = (await list({ sort: "tokens", limit: 1000 })).tokens;
  assert.deepEqual(tokens, [...tokens].sort((a, b) => b - a));

  const graph = await page.evaluate(async () => {
    const { nodes, edges, states: heads } = await states.graph();
    return [nodes.length, edges.length, heads.length];
  });
  assert.deepEqual(graph, [300, 0, 300]);
  assert.deepEqual(problems, []);
  await context.close();
});

test("clean-up", { timeout: 2 * TIMEOUT_MS }, async (t) => {
  const { context, page, problems } = await openStates(browser, server);
  /** Makes states a few milliseconds apart, the first of them pinned; their names as they are left, after `work`. */
  const left = (work) =>
    page.evaluate(`(async () => {
      await states.delete((await states.list({ limit: 500 })).items.map(({ id }) => id));
      const made = [];
      for (const name of ["pinned", "b", "c", "d", "e"]) {
        made.push(await states.create({ name, text: kept.longText(name + ". ") }));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await made[0].pin();
      const fleeting = await states.create({ name: "memory", persist: false });
      const told = await (async () => ${work})();
      const names = (await states.list({ sort: "name", order: "asc" })).items.map(({ name }) => name);
      await fleeting.delete();
      return { told, names: names.filter((name) => name !== "memory"), memory: names.includes("memory"), blocks: (await kept.rawKeys("blocks")).length };
    })()`);

  await t.test("by number, the longest unused first", async () => {
    const { told, names, memory, blocks } = await left(`{
      await made[1].text();
      return (await states.cleanUp({ maxStates: 3 })).length;
    }`);
    assert.equal(told, 2);
    assert.deepEqual(names, ["b", "e", "pinned"]);
    assert.ok(memory);
    assert.ok(blocks >= 27 && blocks < 36, `${blocks} blocks`);
  });

  await t.test("none but pinned ones", async () => {
    const { names } = await left("states.cleanUp({ maxStates: 0 })");
    assert.deepEqual(names, ["pinned"]);
    const { names: after } = await left("{ await made[0].pin(false); return states.cleanUp({ maxStates: 0 }); }");
    assert.deepEqual(after, []);
  });

  await t.test("by age", async () => {
    const { told, names } = await left(`{
      const young = await states.cleanUp({ maxAgeMs: 600_000 });
      await new Promise((resolve) => setTimeout(resolve, 2100));
      await made[3].append("!", { evaluate: false });
      return [young.length, (await states.cleanUp({ maxAgeMs: 2000 })).includes(made[3].id)];
    }`);
    assert.deepEqual(told, [0, false]);
    assert.deepEqual(names, ["d", "pinned"]);
  });

  await t.test("by bytes of KV cache", async () => {
    const { told, names } = await left(`{
      const { blocks } = (await states.usage()).bytes;
      await states.cleanUp({ maxBytes: Math.round(blocks * 0.65) });
      return [blocks, (await states.usage()).bytes.blocks];
    }`);
    assert.ok(told[1] <= told[0] * 0.65 && told[1] > told[0] * 0.4, `${told}`);
    assert.deepEqual(names, ["d", "e", "pinned"]);
  });

  await t.test("by itself, until it is switched off", async () => {
    const { names, told } = await left(`{
      const deleted = [];
      const end = states.subscribe(({ type, states: ids }) => type === "deleted" && deleted.push(...ids));
      await states.setCleanUp({ maxStates: 2, intervalMs: 1000 });
      while ((await states.list()).total > 3) await new Promise((resolve) => setTimeout(resolve, 20));
      await states.setCleanUp(null);
      const more = await states.create({ name: "f", evaluate: false });
      await new Promise((resolve) => setTimeout(resolve, 1_200));
      end();
      return [deleted.length, await states.cleanUp()];
    }`);
    assert.deepEqual(told, [3, []]);
    assert.deepEqual(names, ["e", "f", "pinned"]);
  });

  await t.test("not of what is being written", async () => {
    const { names } = await left(`{
      const writing = made[1].generate(kept.endless(600));
      await kept.chunks(writing, 2);
      await states.cleanUp({ maxStates: 0 });
      writing.abort();
      return (await writing.result).state.saved;
    }`);
    assert.deepEqual(names, ["b", "pinned"]);
  });

  assert.deepEqual(problems, []);
  await context.close();
});

test("merge", { timeout: TIMEOUT_MS }, async (t) => {
  const { context, page, problems } = await openStates(browser, server);
  await page.evaluate(async () => {
    globalThis.base = await states.create({ text: "One two three four five six seven eight.", name: "base", tags: ["t"], metadata: { n: 0 } });
    const forkOf = async (text, changes) => {
      const fork = await base.fork({ at: 3 });
      await fork.append(text);
      if (changes) await fork.update(changes);
      return fork;
    };
    globalThis.left = await forkOf(" four LEFT six seven eight.", { metadata: { n: 1 }, tags: ["t", "l"] });
    globalThis.right = await forkOf(" four RIGHT six seven eight, nine.", { metadata: { n: 2 } });
  });

  await t.test("contradictions are told, and nothing is made", async () => {
    const { error, total, after } = await page.evaluate(async () => {
      const { total } = await states.list();
      return { error: await kit.failure(states.merge([left, right])), total, after: (await states.list()).total };
    });
    assert.equal(error?.code, "merge-conflict");
    assert.ok(error.details.conflicts.length > 0);
    assert.deepEqual(error.details.keys, ["metadata.n"]);
    assert.equal(after, total);
  });

  await t.test("a function settles them one by one, also one that takes its time", async () => {
    const { asked, text, info, parents } = await page.evaluate(async () => {
      const asked = [];
      const merged = await states.merge([left, right], {
        name: "merged",
        onConflict: async (conflict) => {
          await new Promise((resolve) => setTimeout(resolve, 10));
          asked.push([conflict.ours.content, conflict.theirs.content]);
          return { text: " [both]" };
        },
      });
      const [{ parents }] = await merged.history();
      return { asked, text: await merged.text(), info: await merged.info(), parents: parents.length };
    });
    assert.ok(asked.length > 0);
    assert.ok(text.includes("[both]"), text);
    assert.deepEqual([info.name, info.metadata, info.saved], ["merged", { n: 1 }, true]);
    assert.deepEqual([...info.tags].sort(), ["l", "t"]);
    assert.equal(parents, 2);
  });

  await t.test("what the function says must be a resolution; what it throws comes out", async () => {
    const [wrong, thrown] = await page.evaluate(async () => [
      await kit.failure(states.merge([left, right], { onConflict: () => "nonsense" })),
      await kit.failure(states.merge([left, right], { onConflict: () => Promise.reject(new Error("no idea")) })),
    ]);
    assert.equal(wrong?.code, "invalid-argument");
    assert.equal(thrown?.message, "no idea");
  });

  for (const [strategy, expected] of [
    ["ours", "left"],
    ["theirs", "right"],
    ["longest", "right"],
  ]) {
    await t.test(`"${strategy}"`, async () => {
      const { merged, side, operation } = await page.evaluate(
        async ([strategy, expected]) => {
          const state = await states.merge([left, right], { strategy });
          const [{ operation, strategy: told }] = await state.history();
          return { merged: await state.text(), side: await globalThis[expected].text(), operation: [operation, told] };
        },
        [strategy, expected],
      );
      assert.equal(merged, side);
      assert.deepEqual(operation, ["merge", strategy]);
    });
  }

  await t.test('"concat" and "best"', async () => {
    const { concat, best, sides, likelier } = await page.evaluate(async () => {
      const concat = await states.merge([left, right], { strategy: "concat", onConflict: "ours" });
      const best = await states.merge([left, right], { strategy: "best" });
      const { meanLogProb } = await states.compare(left, right);
      return { concat: await concat.text(), best: await best.text(), sides: [await left.text(), await right.text()], likelier: meanLogProb.a >= meanLogProb.b ? 0 : 1 };
    });
    assert.ok(concat.startsWith(sides[0]) && concat.endsWith("nine."), concat);
    assert.equal(best, sides[likelier]);
  });

  await t.test("of states of two texts, and the sides stay as they are", async () => {
    const { text, before, after } = await page.evaluate(async () => {
      const before = [await left.info(), await right.info()].map(({ revision }) => revision);
      const other = await states.create({ text: "Quite another text." });
      const merged = await states.merge([left, other], { strategy: "concat", onConflict: "ours", evaluate: false });
      const after = [await left.info(), await right.info()].map(({ revision }) => revision);
      return { text: await merged.text(), before, after };
    });
    assert.ok(text.startsWith("One two three four LEFT") && text.endsWith("Quite another text."), text);
    assert.deepEqual(after, before);
  });

  await waitUntil(() => page.evaluate(async () => (await states.usage()).unsaved === 0));
  assert.deepEqual(problems, []);
  await context.close();
});
