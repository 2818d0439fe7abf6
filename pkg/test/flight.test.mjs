/** One computation for several readers, each at its own pace. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Flight } from "../dist/cache/flight.js";
import { pace } from "../dist/cache/pacing.js";
import { FlowValue, roomAfter, Window } from "../dist/streaming/flow.js";
import { STOPPED } from "../dist/streaming/sink.js";

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Counts to `count`, if there is room and it is not aborted. */
function counting(count, log = []) {
  return async ({ give, readPrompt, flow, signal }) => {
    readPrompt?.({ done: 5, cached: 0, total: 5, maxTokens: count });
    let made = 0;
    while (made < count && !signal.aborted) {
      try {
        await roomAfter(made, flow, signal);
      } catch {
        break;
      }
      log.push(made);
      give(made++);
      await turn();
    }
    return { made, reason: signal.reason };
  };
}

function reader(allowed = Infinity) {
  const controller = new AbortController();
  const flow = new FlowValue(allowed);
  const got = [];
  const prompts = [];
  const sink = { give: (part) => got.push(part), readPrompt: (progress) => prompts.push(progress), flow, signal: controller.signal };
  return { sink, flow, got, prompts, abort: (reason) => controller.abort(reason) };
}

test("each reader gets all parts from the first on, as fast as it takes them", async () => {
  const flight = new Flight(counting(10));
  const [fast, slow] = [reader(), reader(2)];
  const results = [flight.join(fast.sink), flight.join(slow.sink)];
  await results[0];
  assert.deepEqual([fast.got.length, slow.got], [10, [0, 1]]);
  let ended = false;
  void results[1].then(() => (ended = true));
  slow.flow.allowed = 9;
  await turn();
  assert.deepEqual([slow.got.length, ended], [9, false]);
  slow.flow.allowed = 10;
  assert.deepEqual(await results[1], await results[0]);
  const late = reader();
  assert.equal((await flight.join(late.sink)).made, 10);
  assert.deepEqual(late.got, fast.got);
  assert.deepEqual(late.prompts, fast.prompts);
});

test("it goes on as far as the reader with the most room, and is held up where nobody has any", async () => {
  const log = [];
  const flight = new Flight(counting(20, log));
  const [a, b] = [reader(3), reader(0)];
  void flight.join(a.sink);
  void flight.join(b.sink);
  for (let i = 0; i < 30; i++) await turn();
  assert.equal(log.length, 3);
  const elapsed = flight.elapsedMs;
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(flight.elapsedMs, elapsed, "that time does not count");
  b.flow.allowed = 7;
  for (let i = 0; i < 30; i++) await turn();
  assert.deepEqual([log.length, a.got.length, b.got.length], [7, 3, 7]);
  a.flow.allowed = Infinity;
  b.flow.allowed = Infinity;
  assert.equal((await flight.result).made, 20);
});

test("held up for a second, it says so; otherwise never", async () => {
  const flight = new Flight(counting(3));
  const paused = reader(1);
  void flight.join(paused.sink);
  await flight.stalled;
  paused.flow.allowed = 3;
  assert.equal((await flight.result).made, 3);
  const free = new Flight(counting(3));
  await free.join(reader().sink);
  assert.equal(await Promise.race([free.stalled.then(() => "stalled"), turn()]), undefined);
});

test("in the background it goes on without readers", async () => {
  const flight = new Flight(counting(5), true);
  const paused = reader(0);
  void flight.join(paused.sink);
  assert.equal((await flight.result).made, 5);
  assert.deepEqual(paused.got, []);
});

test("one that leaves rejects at once while others wait; the last ends it, for its reason, and gets what there is", async () => {
  const flight = new Flight(counting(50));
  const [a, b] = [reader(2), reader(3)];
  const [first, second] = [flight.join(a.sink), flight.join(b.sink)];
  await turn();
  a.abort();
  a.flow.allowed = Infinity;
  await assert.rejects(first, { code: "aborted" });
  const gotByThen = a.got.length;
  for (let i = 0; i < 10; i++) await turn();
  assert.equal(a.got.length, gotByThen, "nothing more comes to who has left");
  b.abort(STOPPED);
  b.flow.allowed = Infinity;
  const { made, reason } = await second;
  assert.deepEqual([made, reason, b.got.length], [3, STOPPED, 3]);
  assert.ok(flight.ending);
});

test("an error reaches all, paused or not", async () => {
  const flight = new Flight(async ({ give }) => {
    give(1);
    throw new Error("no");
  });
  const [a, b] = [reader(), reader(0)];
  const results = await Promise.allSettled([flight.join(a.sink), flight.join(b.sink)]);
  assert.deepEqual(results.map(({ reason }) => reason.message), ["no", "no"]);
});

test("a replay keeps to the room there is, and to its times without those of a pause", async () => {
  const { sink, flow, got } = reader(2);
  const begun = performance.now();
  const replay = pace(["a", "b", "c", "d"], [0, 1, 20, 40], sink);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual(got, ["a", "b"]);
  flow.allowed = Infinity;
  await replay;
  assert.deepEqual(got, ["a", "b", "c", "d"]);
  assert.ok(performance.now() - begun >= 60 + 15, "the last comes as long after the third as it did");
});

test("an abort ends a replay that is held up", async () => {
  const { sink, abort, got } = reader(0);
  const replay = pace(["a"], [], sink);
  await turn();
  abort();
  await assert.rejects(replay, { code: "aborted" });
  assert.deepEqual(got, []);
});

test("a window never allows more than may wait, and never stands still while there is room", () => {
  for (let seed = 1; seed <= 200; seed++) {
    let state = seed;
    const random = (n) => (state = (state * 48271) % 2147483647) % n;
    const size = 1 + random(9);
    const window = new Window({ size, lookahead: Infinity });
    window.limit();
    let [made, came, read] = [0, 0, 0];
    for (let step = 0; step < 300; step++) {
      const what = random(3);
      if (what === 0 && made < window.allowed) made++;
      if (what === 1 && came < made) {
        came++;
        window.receive();
        window.waiting(came - read);
      }
      if (what === 2 && read < came) {
        read++;
        window.waiting(came - read);
      }
      assert.ok(made - read <= size, `${made - read} of ${size}`);
      if (made === read) assert.ok(window.allowed > made, "it would stand still");
    }
  }
});

test("a window that looks at each chunk allows one at a time; a pause none", () => {
  const window = new Window({ size: 64, lookahead: 1 });
  assert.equal(window.allowed, 1);
  window.receive();
  assert.equal(window.allowed, 1);
  window.waiting(1);
  assert.equal(window.allowed, 2);
  window.paused = true;
  assert.equal(window.allowed, 0);
  window.paused = false;
  assert.equal(window.allowed, 2);
  window.open();
  assert.equal(window.allowed, Infinity);
});
