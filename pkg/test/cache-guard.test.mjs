/**
 * The guard of a cache's layer, with layers that fail as they are told to and a
 * clock that is set by hand.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { GuardedLayer } from "../dist/cache-layers/guarded.js";
import { CacherError } from "../dist/errors.js";

const RECORD = new Uint8Array([1, 2, 3]);
const never = () => new AbortController().signal;

/** A guard over a layer whose every method is `act`, with what it has told. */
function guard(act, options = {}) {
  const told = [];
  const calls = [];
  const method = (name) => async (...args) => {
    calls.push(name);
    return act(name, ...args);
  };
  const layer = {
    ...Object.fromEntries(["get", "set", "delete", "clear"].map((name) => [name, method(name)])),
    async *keys() {
      yield await method("keys")();
    },
  };
  const clock = { now: 1_000_000 };
  const guarded = new GuardedLayer(layer, {
    timeoutMs: null,
    writable: true,
    observe: (what, ms, error) => told.push(error === undefined ? what : `${what}: ${error.message}`),
    onhealth: (health, reason) => told.push(`${health} ${reason}`),
    now: () => clock.now,
    ...options,
  });
  const get = () => guarded.get("k", never());
  return { guarded, get, told, calls, clock };
}

const fail = (message = "away", code = "network-error") => {
  throw new CacherError(code, message);
};

test("what a layer has is a hit, what it has not a miss", async () => {
  const { guarded, told } = guard((name, key) => (key === "there" ? RECORD : undefined));
  assert.equal(await guarded.get("there", never()), RECORD);
  assert.equal(await guarded.get("elsewhere", never()), undefined);
  assert.equal(await guarded.set("k", RECORD, {}, never()), true);
  assert.equal(await guarded.delete(["k"], never()), true);
  assert.deepEqual(told, ["hit", "miss", "set"]);
  assert.deepEqual(guarded.health, { health: "ok", reason: null, retryAt: null });
});

test("a layer that fails has nothing, and is left alone until it is tried again", async () => {
  const { guarded, get, told, calls, clock } = guard(() => fail());
  assert.equal(await get(), undefined);
  assert.deepEqual(guarded.health, { health: "down", reason: "away", retryAt: clock.now + 1_000 });
  assert.equal(await get(), undefined);
  assert.equal(await guarded.set("k", RECORD, {}, never()), false);
  assert.equal(await guarded.delete(["k"], never()), false);
  assert.deepEqual(calls, ["get"]);
  assert.deepEqual(told, ["error: away", "down away"]);
});

test("the time until the next trial doubles up to a minute, and begins anew after a success", async () => {
  let works = false;
  const { guarded, get, clock, told } = guard(() => (works ? undefined : fail()));
  const waits = [];
  for (let trial = 0; trial < 8; trial++) {
    await get();
    waits.push(guarded.health.retryAt - clock.now);
    clock.now = guarded.health.retryAt;
  }
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  works = true;
  await get();
  assert.deepEqual(guarded.health, { health: "ok", reason: null, retryAt: null });
  works = false;
  await get();
  assert.equal(guarded.health.retryAt - clock.now, 1_000);
  assert.deepEqual(told.filter((line) => !line.startsWith("error")), ["down away", "ok null", "miss", "down away"]);
});

test("one operation alone tries a layer that was down", async () => {
  let release;
  const held = new Promise((resolve) => (release = resolve));
  let works = false;
  const { get, calls, clock } = guard(() => (works ? held : fail()));
  await get();
  clock.now += 1_000;
  works = true;
  const trial = get();
  assert.equal(await get(), undefined);
  assert.equal(calls.length, 2);
  release(RECORD);
  assert.equal(await trial, RECORD);
  assert.equal(await get(), RECORD);
});

test("operations that fail together count as one fault", async () => {
  const { guarded, get, clock } = guard(() => fail());
  await Promise.all([get(), get(), get()]);
  assert.equal(guarded.health.retryAt - clock.now, 1_000);
});

test("a layer that does not answer in time is down, though it never heeds its signal", async () => {
  let given;
  const { guarded, get } = guard((_, key, signal) => ((given = signal), new Promise(() => undefined)), { timeoutMs: 5 });
  assert.equal(await get(), undefined);
  assert.equal(given.aborted, true);
  assert.deepEqual([guarded.health.health, guarded.health.reason], ["down", "no answer within 5 ms"]);
});

test("what the caller aborts is no fault of the layer", async () => {
  const { guarded, told, calls } = guard(() => new Promise(() => undefined), { timeoutMs: 60_000 });
  const controller = new AbortController();
  const found = guarded.get("k", controller.signal);
  controller.abort();
  assert.equal(await found, undefined);
  assert.equal(await guarded.get("k", controller.signal), undefined);
  assert.deepEqual([guarded.health.health, told, calls], ["ok", [], ["get"]]);
});

test("a write that found no room takes nothing from reading", async () => {
  const { guarded, get, told } = guard((name) => (name === "set" ? fail("full", "storage-full") : RECORD));
  assert.equal(await guarded.set("k", RECORD, {}, never()), false);
  assert.equal(await get(), RECORD);
  assert.deepEqual(told, ["error: full", "hit"]);
});

test("something else than bytes is rejected and deleted, and says nothing of the layer", async () => {
  for (const wrong of ["text", null, 7, [1, 2], { length: 1 }]) {
    const { guarded, get, told, calls } = guard(() => wrong);
    assert.equal(await get(), undefined);
    assert.deepEqual(calls, ["get", "delete"]);
    assert.deepEqual(told, ["rejected: the layer gave something else than bytes"]);
    assert.equal(guarded.health.health, "ok");
  }
});

test("a layer that is for reading is not written to", async () => {
  const { guarded, calls } = guard(() => RECORD, { writable: false });
  assert.equal(await guarded.set("k", RECORD, {}, never()), false);
  assert.equal(await guarded.delete(["k"], never()), false);
  await guarded.clear(never());
  assert.deepEqual(calls, []);
  assert.equal(await guarded.get("k", never()), RECORD);
});

test("clearing and listing are tried while the layer is down, and tell how it went", async () => {
  let works = false;
  const { guarded, get, clock } = guard(() => (works ? ["a", "b"] : fail()));
  await get();
  const { retryAt } = guarded.health;
  await assert.rejects(guarded.clear(never()), { code: "network-error" });
  await assert.rejects(guarded.keys(never()).next(), { code: "network-error" });
  assert.equal(guarded.health.retryAt, retryAt);
  works = true;
  const batches = [];
  for await (const keys of guarded.keys(never())) batches.push(keys);
  assert.deepEqual(batches, [["a", "b"]]);
  await guarded.clear(never());
  assert.equal(guarded.health.health, "ok");
  assert.ok(clock.now < retryAt);
});
