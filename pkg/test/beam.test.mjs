/** What a search's callback is asked, and how it holds the engine up; searches themselves need the engine (tests/browser). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Asking } from "../dist/beam/asking.js";
import { BeamHost } from "../dist/beam/host.js";
import { FlowValue } from "../dist/streaming/flow.js";

const node = (id, parent, token, state = "running") => ({ id, parent, token, state, text: "", logProb: 0, score: 0, group: 0 });
const step = (...nodes) => ({ step: 1, nodes, pruned: [], finished: [] });
const plain = ({ nodes, allowed }) => [[...nodes], allowed.map((ids) => ids && [...ids])];

test("a callback is asked about the open beams alone, by what they have written", async () => {
  const [asked, told] = [[], []];
  const asking = new Asking(
    async (output) => {
      asked.push([...output]);
      return output.length === 1 ? null : [output.length, 9];
    },
    (each) => told.push(plain(each)),
    assert.fail,
  );
  await asking.begin();
  await asking.next(step(node(1, 0, 5), node(2, 0, 6, "finished"), node(3, 0, 7), node(4, 0, 8, "pruned")));
  await asking.next(step(node(5, 3, 1), node(6, 3, 2)));
  await asking.next(step(node(7, 5, 1, "finished")));
  assert.deepEqual(asked, [[], [5], [7], [7, 1], [7, 2]]);
  assert.deepEqual(told, [
    [[0], [[0, 9]]],
    [[1, 3], [null, null]],
    [[5, 6], [[2, 9], [2, 9]]],
  ]);
});

test("the engine makes no step that has not been answered, and none that the reader does not want", async () => {
  let answer;
  const asking = new Asking(() => new Promise((resolve) => (answer = resolve)), () => undefined, assert.fail);
  const reader = new FlowValue(1);
  const flow = asking.within(reader);
  const changes = [];
  const leave = flow.onchange(() => changes.push(flow.allowed));
  assert.equal(flow.allowed, 0);
  const begun = asking.begin();
  assert.equal(flow.allowed, 0);
  answer(null);
  await begun;
  assert.equal(flow.allowed, 1);
  const next = asking.next(step(node(1, 0, 5)));
  answer([1]);
  await next;
  assert.equal(flow.allowed, 1, "the reader wants no more");
  reader.allowed = 5;
  assert.equal(flow.allowed, 2);
  reader.allowed = 0;
  leave();
  reader.allowed = 9;
  assert.deepEqual(changes, [1, 1, 2, 0]);
});

test("what a callback throws, or gives that are no ids, is told, and the engine goes no further", async () => {
  for (const [ask, code] of [
    [() => { throw new RangeError("mine"); }, undefined],
    [async () => { throw new RangeError("mine"); }, undefined],
    [() => ["a"], "invalid-token"],
    [() => "ab", "invalid-argument"],
  ]) {
    const failures = [];
    const asking = new Asking(ask, assert.fail, (error) => failures.push(error));
    await asking.begin();
    assert.equal(failures.length, 1);
    assert.equal(failures[0].code, code);
    assert.equal(asking.within(new FlowValue()).allowed, 0);
  }
});

test("an answer that comes before its search has begun waits for it; one that comes too late is dropped", async () => {
  const told = [];
  let end;
  const host = new BeamHost({
    engine: () => ({ allowTokens: (job, nodes) => told.push([job, ...nodes]) }),
    run: () => new Promise((resolve) => (end = resolve)),
  });
  const nodes = (...ids) => Uint32Array.from(ids);
  host.allow({ search: 4, nodes: nodes(0), allowed: [null] });
  assert.deepEqual(told, []);
  const result = host.search(17, 4, { signal: new AbortController().signal });
  host.allow({ search: 4, nodes: nodes(1, 2), allowed: [null, null] });
  assert.deepEqual(told, [[17, 0], [17, 1, 2]]);
  end({ type: "beamDone", result: "found" });
  assert.equal(await result, "found");
  host.allow({ search: 4, nodes: nodes(3), allowed: [null] });
  assert.equal(told.length, 2);
});
