/**
 * The storage of states: what a commit checks, what it writes, and what is
 * read back. What may go wrong with the browser's storage is in
 * states-faults.test.mjs, what tabs say to each other in states-locks.test.mjs.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { serveLibrary } from "./lib/library.mjs";
import { afterFirst, commit, firstCommit, openVault, readAll, startVault } from "./lib/states.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

const DONE = { kind: "done" };

/** A page whose database has the first commit. */
async function openWithFirst() {
  const opened = await openVault(browser, server);
  assert.deepEqual(await commit(opened.page, firstCommit), DONE);
  return opened;
}

test("what is committed is read back, also on the next visit", { timeout: TIMEOUT_MS }, async () => {
  const { page, problems } = await openWithFirst();
  assert.deepEqual(await readAll(page), afterFirst);
  await page.reload();
  await startVault(page);
  assert.deepEqual(await readAll(page), afterFirst);
  const found = await page.evaluate(async () => ({
    states: await vault.readStates(["s0", "s1"]),
    revisions: await vault.readRevisions(["r1", "r2"]),
    blocks: (await vault.opened().readBlocks(["b2"])).length,
  }));
  assert.deepEqual(found, { states: afterFirst.states, revisions: afterFirst.revisions, blocks: 0 });
  assert.deepEqual(problems, []);
});

test("the next commit needs the version that the last one made", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openWithFirst();
  const next = { states: [{ id: "s1", version: 1, bytes: "head r2" }] };
  assert.deepEqual(await commit(page, next), DONE);
  assert.deepEqual(await commit(page, next), { kind: "conflict", states: ["s1"] });
  const { states } = await readAll(page);
  assert.deepEqual(states, [{ id: "s1", version: 2, fence: 0, text: "head r2" }]);
});

test("a commit that is refused changes nothing", { timeout: TIMEOUT_MS }, async (t) => {
  const { page } = await openWithFirst();
  const changes = {
    states: [{ id: "s2", bytes: "new" }],
    revisions: [{ id: "r1", bytes: null }, { id: "r2", bytes: "revision 2" }],
    blocks: [{ name: "b1", bytes: null }, { name: "b2", bytes: "block 2" }],
    drafts: [{ id: "s1", bytes: null }, { id: "s2", bytes: "draft 2" }],
  };
  const state = (version, fence, bytes = "changed") => ({ ...changes, states: [...changes.states, { id: "s1", version, fence, bytes }] });
  const REFUSED = [
    ["a state of another version", state(2, 0), { kind: "conflict", states: ["s1"] }],
    ["a state of another fence", state(1, 1), { kind: "conflict", states: ["s1"] }],
    ["a new state that exists", state(0, 0), { kind: "conflict", states: ["s1"] }],
    ["the deletion of a state of another version", state(2, 0, null), { kind: "conflict", states: ["s1"] }],
    ["a state that was deleted", { ...changes, states: [{ id: "s3", version: 4, bytes: "late" }] }, { kind: "conflict", states: ["s3"] }],
    ["a draft of another fence", { ...changes, drafts: [{ id: "s1", fence: 1, bytes: "late" }] }, { kind: "conflict", states: ["s1"] }],
    ["a revision that is not there", { ...changes, requires: ["r2", "r3"] }, { kind: "missing", revisions: ["r3"] }],
    ["a revision that it deletes itself", { ...changes, requires: ["r1", "r2"] }, { kind: "missing", revisions: ["r1"] }],
    ["an unknown state in the database", { ...changes, expects: [] }, { kind: "outdated" }],
    ["a state in the database that is newer than known", { ...changes, expects: [["s1", 0]] }, { kind: "outdated" }],
  ];
  for (const [name, parts, refusal] of REFUSED) {
    await t.test(name, async () => {
      assert.deepEqual(await commit(page, parts), refusal);
      assert.deepEqual(await readAll(page), afterFirst);
    });
  }
});

test("a commit of what cannot be stored changes nothing", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openWithFirst();
  const error = await page.evaluate(() => {
    const whole = { id: "r2", bytes: "revision 2" };
    const withoutKey = { id: {}, bytes: "revision 3" };
    return kit.failure(vault.commit({ blocks: [{ name: "b2", bytes: "block 2" }], revisions: [whole, withoutKey] }));
  });
  assert.equal(error?.code, "storage-error");
  assert.deepEqual(await readAll(page), afterFirst);
});

test("deletions take what they name, where no other state is known", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openWithFirst();
  const deletion = {
    states: [{ id: "s1", version: 1, bytes: null }],
    revisions: [{ id: "r1", bytes: null }],
    blocks: [{ name: "b1", bytes: null }],
    drafts: [{ id: "s1", bytes: null }],
    // One that another tab has deleted already changes nothing.
    expects: [["s1", 1], ["gone", 3]],
  };
  assert.deepEqual(await commit(page, deletion), DONE);
  assert.deepEqual(await readAll(page), { states: [], revisions: [], drafts: [], blocks: [], quarantined: 0 });
  assert.deepEqual(await page.evaluate(() => vault.opened().usage()), { records: 0, blocks: 0, blockCount: 0, quarantined: 0 });
});

test("of two pages that write the same state, one is refused", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openWithFirst();
  const { page: other } = await openVault(context, server);
  const outcomes = await Promise.all(
    [page, other].map((each, index) => commit(each, { states: [{ id: "s1", version: 1, bytes: `head of ${index}` }] })),
  );
  assert.deepEqual(outcomes.map(({ kind }) => kind).sort(), ["conflict", "done"]);
  const winner = outcomes.findIndex(({ kind }) => kind === "done");
  const { states } = await readAll(page);
  assert.deepEqual(states, [{ id: "s1", version: 2, fence: 0, text: `head of ${winner}` }]);
});

test("who takes a state over shuts the old owner out", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openWithFirst();
  const { page: other } = await openVault(context, server);
  assert.equal(await other.evaluate(() => vault.opened().takeOver("s1")), 1);

  const conflict = { kind: "conflict", states: ["s1"] };
  assert.deepEqual(await commit(page, { states: [{ id: "s1", version: 1, fence: 0, bytes: "old" }] }), conflict);
  assert.deepEqual(await commit(page, { drafts: [{ id: "s1", fence: 0, bytes: "old" }] }), conflict);
  assert.deepEqual(await commit(other, { states: [{ id: "s1", version: 1, fence: 1, bytes: "new" }] }), DONE);
  const { states, drafts } = await readAll(page);
  assert.deepEqual(states, [{ id: "s1", version: 2, fence: 1, text: "new" }]);
  assert.deepEqual(drafts, afterFirst.drafts);
});

test("there is nothing to take over of a state that is not stored", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openWithFirst();
  assert.equal(await page.evaluate(() => vault.opened().takeOver("s2")), 0);
  assert.deepEqual(await readAll(page), afterFirst);
});

test("a block is written once", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openWithFirst();
  const puts = await page.evaluate(async () => {
    const { put } = IDBObjectStore.prototype;
    const puts = [];
    IDBObjectStore.prototype.put = function (value, key) {
      if (this.name === "blocks") puts.push(key);
      return put.call(this, value, key);
    };
    await vault.commit({ blocks: [{ name: "b1", bytes: "the same again" }, { name: "b2", bytes: "block 2" }] });
    IDBObjectStore.prototype.put = put;
    return puts;
  });
  assert.deepEqual(puts, ["b2"]);
  const { blocks } = await readAll(page);
  assert.deepEqual(blocks, [{ name: "b1", text: "block 1" }, { name: "b2", text: "block 2" }]);
});

test("bytes are those at the time of the call, and only the part that was given", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openVault(browser, server);
  const [text, stored] = await page.evaluate(async () => {
    const memory = new WebAssembly.Memory({ initial: 16 });
    const view = new Uint8Array(memory.buffer, 8, 4);
    view.set(new TextEncoder().encode("then"));
    const commit = vault.toCommit({ states: [{ id: "s1", bytes: "" }] });
    commit.states[0].bytes = view;
    const committed = vault.opened().commit(commit);
    view.set(new TextEncoder().encode("late"));
    memory.grow(1);
    await committed;
    const [[, { bytes }]] = await vault.rawEntries("states");
    return [(await vault.readStates(["s1"]))[0].text, bytes.buffer.byteLength];
  });
  assert.deepEqual([text, stored], ["then", 4]);
});

test("usage is the sum of what is stored", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openWithFirst();
  await commit(page, {
    states: [{ id: "s1", version: 1, bytes: { length: 1000, byte: 1 } }, { id: "s2", bytes: "12345" }],
    revisions: [{ id: "r2", bytes: { length: 200, byte: 2 } }],
    drafts: [{ id: "s1", bytes: null }, { id: "s2", bytes: { length: 30, byte: 3 } }],
    blocks: [{ name: "b1", bytes: "a longer block of the same name" }, { name: "b2", bytes: { length: 100_000, byte: 4 } }],
  });
  const usage = { records: 1000 + 5 + "revision 1".length + 200 + 30, blocks: "block 1".length + 100_000, blockCount: 2 };
  assert.deepEqual(await page.evaluate(() => vault.opened().usage()), { ...usage, quarantined: 0 });
});

test("what is quarantined is not read again, and kept", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openWithFirst();
  await commit(page, { states: [{ id: "s2", bytes: "whole" }], revisions: [{ id: "r2", bytes: "whole" }] });
  await page.evaluate(() =>
    vault.opened().quarantine([
      { store: "states", id: "s1" },
      { store: "revisions", id: "r1" },
      { store: "blocks", id: "b1" },
      { store: "drafts", id: "s1" },
      { store: "revisions", id: "not there" },
    ]),
  );
  assert.deepEqual(await readAll(page), {
    states: [{ id: "s2", version: 1, fence: 0, text: "whole" }],
    revisions: [{ id: "r2", text: "whole" }],
    drafts: [],
    blocks: [],
    quarantined: 4,
  });
  assert.deepEqual(await page.evaluate(() => vault.opened().usage()), { records: 10, blocks: 0, blockCount: 0, quarantined: 4 });
  const kept = await page.evaluate(async () => {
    const text = (value) => new TextDecoder().decode(value.bytes ?? value);
    return (await vault.rawEntries("quarantine")).map(([, { store, id, value }]) => [store, id, text(value)]);
  });
  assert.deepEqual(kept, [
    ["states", "s1", "head r1"],
    ["revisions", "r1", "revision 1"],
    ["blocks", "b1", "block 1"],
    ["drafts", "s1", "draft 1"],
  ]);
  assert.deepEqual(await commit(page, { blocks: firstCommit.blocks, revisions: firstCommit.revisions, requires: ["r1"] }), DONE);
});

test("records that other code has written are given without bytes, or not at all", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openWithFirst();
  await page.evaluate(async () => {
    const bytes = new TextEncoder().encode("bytes");
    await vault.rawPut("states", { id: "s2", version: "2", fence: 0, bytes });
    await vault.rawPut("states", { id: "s3", version: 2, fence: 3, bytes: "no bytes" });
    await vault.rawPut("states", { id: 4, version: 1, fence: 0, bytes });
    await vault.rawPut("revisions", { id: "r2" });
    await vault.rawPut("drafts", { id: "s2", bytes: null });
    await vault.rawPut("blocks", [1, 2, 3], "b2");
    await vault.rawPut("sizes", 3, "b2");
  });
  const { states, revisions, drafts, blocks } = await readAll(page);
  assert.deepEqual(states, [
    ...afterFirst.states,
    { id: "s2", version: 0, fence: 0, text: "" },
    { id: "s3", version: 2, fence: 3, text: "" },
  ]);
  assert.deepEqual(revisions, [...afterFirst.revisions, { id: "r2", text: "" }]);
  assert.deepEqual(drafts, [...afterFirst.drafts, { id: "s2", text: "" }]);
  assert.deepEqual(blocks, [...afterFirst.blocks, { name: "b2", text: "" }]);
  assert.deepEqual(await commit(page, { states: [{ id: "s2", bytes: "over it" }] }), { kind: "conflict", states: ["s2"] });
});

test("10,000 revisions and 1,000 states are read back", { timeout: 2 * TIMEOUT_MS }, async (t) => {
  const { page } = await openVault(browser, server);
  const result = await page.evaluate(async () => {
    const contentOf = (id) => `content of ${id} `.repeat(20);
    const ids = (prefix, count) => Array.from({ length: count }, (_, index) => `${prefix}${String(index).padStart(6, "0")}`);
    const [states, revisions] = [ids("s", 1_000), ids("r", 10_000)];
    const record = (id) => ({ id, bytes: contentOf(id) });
    const timed = async (work) => {
      const start = performance.now();
      const value = await work();
      return [value, Math.round(performance.now() - start)];
    };
    const [outcome, commitMs] = await timed(() =>
      vault.commit({ states: states.map(record), revisions: revisions.map(record), requires: revisions }),
    );
    const [all, readMs] = await timed(() => vault.opened().readAll());
    const [usage, usageMs] = await timed(() => vault.opened().usage());
    const decoder = new TextDecoder();
    const isRight = ({ id, bytes }) => decoder.decode(bytes) === contentOf(id);
    return {
      outcome,
      same: [all.states.map(({ id }) => id).join() === states.join(), all.revisions.map(({ id }) => id).join() === revisions.join()],
      right: all.states.every(isRight) && all.revisions.every(isRight),
      records: usage.records === [...states, ...revisions].reduce((sum, id) => sum + contentOf(id).length, 0),
      times: { commitMs, readMs, usageMs },
    };
  });
  const { times, ...rest } = result;
  assert.deepEqual(rest, { outcome: DONE, same: [true, true], right: true, records: true });
  t.diagnostic(`committed in ${times.commitMs} ms, read in ${times.readMs} ms, usage in ${times.usageMs} ms`);
});
