/** Which build of the engine is started, and why there are no threads where there are none. */

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { chooseSimd, supports, urlInFolder } from "../dist/builds.js";
import { Cacher } from "../dist/cacher.js";
import { sharedMemory } from "../dist/threads/memory.js";
import { planThreads } from "../dist/threads/plan.js";
import { startPool } from "../dist/threads/pool.js";
import { fakePlatform, weights } from "./fake-engine.mjs";

/** A browser that knows the instructions named. */
const browser = (...builds) => (build) => builds.includes(build);
const AUTO = { simd: "auto", wasm: undefined };
const model = [new File([weights()], "model.gguf")];

test("the probes are valid modules", () => {
  assert.equal(supports("simd128"), true);
  assert.equal(supports("threads"), true);
  // Older engines do not know these instructions: V8 does from 11.4 on.
  const [major, minor] = process.versions.v8.split(".").map(Number);
  assert.equal(supports("relaxed"), major > 11 || (major === 11 && minor >= 4));
});

test("the best build that the browser knows is taken", () => {
  assert.equal(chooseSimd(AUTO, browser("simd128", "relaxed")), "relaxed");
  assert.equal(chooseSimd(AUTO, browser("simd128")), "simd128");
  assert.throws(() => chooseSimd(AUTO, browser()), { code: "unsupported-browser" });
});

test("a build that is named is taken, or refused where the browser lacks it", () => {
  assert.equal(chooseSimd({ ...AUTO, simd: "simd128" }, browser("simd128", "relaxed")), "simd128");
  assert.throws(() => chooseSimd({ ...AUTO, simd: "relaxed" }, browser("simd128")), { code: "unsupported-browser" });
});

test("wasmUrl is one build, told by its file's name, or a folder of all", () => {
  const choose = (wasm, simd = "auto") => chooseSimd({ simd, wasm }, browser("simd128", "relaxed"));
  assert.equal(choose("https://a.b/x/cacher_wasm_relaxed_bg-C0ffee.wasm"), "relaxed");
  assert.equal(choose("https://a.b/x/cacher_wasm_bg-C0ffee.wasm?v=1/"), "simd128");
  assert.equal(choose(new Uint8Array(8)), "simd128");
  assert.equal(choose("https://a.b/x/"), "relaxed");
  assert.throws(() => choose("https://a.b/cacher_wasm_threads_bg.wasm"), { code: "invalid-argument", message: /folder/ });
  assert.throws(() => choose("https://a.b/cacher_wasm_bg.wasm", "relaxed"), { code: "invalid-argument", message: /simd/ });
  assert.equal(urlInFolder("https://a.b/x/", "threads"), "https://a.b/x/cacher_wasm_threads_bg.wasm");
  assert.equal(urlInFolder("https://a.b/x.wasm", "threads"), undefined);
});

const WANTED = { dtype: "q8", threads: "auto", simd: "auto", wasm: undefined };
const ABLE = { isolated: true, cores: 4, can: () => true };

test("threads are as many as cores, up to eight, or as asked", () => {
  assert.equal(planThreads(WANTED, ABLE), 4);
  assert.equal(planThreads(WANTED, { ...ABLE, cores: 32 }), 8);
  assert.equal(planThreads({ ...WANTED, threads: 12 }, ABLE), 12);
  assert.equal(planThreads({ ...WANTED, simd: "relaxed", wasm: "https://a.b/x/" }, ABLE), 4);
});

test("where there can be no threads, the reason is given", () => {
  const cases = [
    [{ threads: 1 }, {}, /asked for/],
    [{ dtype: "f32" }, {}, /f32/],
    [{ simd: "simd128" }, {}, /simd128/],
    [{ wasm: "https://a.b/x.wasm" }, {}, /wasmUrl/],
    [{}, { cores: 1 }, /one processor core/],
    [{}, { isolated: false }, /cross-origin isolated.*Cross-Origin-Opener-Policy/],
    [{}, { can: browser("simd128", "relaxed") }, /no WebAssembly threads/],
    [{}, { can: browser("simd128", "threads") }, /no relaxed/],
  ];
  for (const [wanted, able, reason] of cases) {
    assert.match(planThreads({ ...WANTED, ...wanted }, { ...ABLE, ...able }), reason);
  }
});

const { Memory } = WebAssembly;
afterEach(() => {
  WebAssembly.Memory = Memory;
});

test("shared memory is asked for in falling sizes, and never for 4 GiB", () => {
  const asked = [];
  WebAssembly.Memory = class {
    constructor({ maximum, shared }) {
      assert.equal(shared, true);
      asked.push(maximum);
      if (maximum > 16_384) throw new RangeError("too much");
    }
  };
  assert.ok(sharedMemory() instanceof WebAssembly.Memory);
  assert.deepEqual(asked, [32_768, 24_576, 16_384]);
  WebAssembly.Memory = class {
    constructor() {
      throw new RangeError("none");
    }
  };
  assert.equal(sharedMemory(), undefined);
});

/** A worker that answers its first message as told, and keeps what it gets. */
class FakeThread {
  messages = [];
  terminated = false;
  constructor(answer) {
    this.answer = answer;
  }
  postMessage(message) {
    this.messages.push(message);
    if (message.type === "thread") queueMicrotask(() => this.answer?.(this));
  }
  terminate() {
    this.terminated = true;
  }
}
const ready = (thread) => thread.onmessage({ data: { type: "ready" } });
const failed = (thread) => thread.onmessage({ data: { type: "failed", message: "no memory" } });
const unloadable = (thread) => thread.onerror({ preventDefault() {} });

async function pool(...answers) {
  const threads = [];
  const crashes = [];
  const newWorker = () => {
    const answer = answers[threads.length];
    if (answer === "throw") throw new Error("the policy forbids it");
    threads.push(new FakeThread(answer));
    return threads.at(-1);
  };
  const settings = { count: answers.length, start: {}, onCrash: (message) => crashes.push(message), newWorker };
  return { ...(await startPool(settings)), threads, crashes };
}

test("threads that start are numbered without a gap, the others ended", async () => {
  const { size, problem, threads } = await pool(ready, failed, ready);
  assert.equal(size, 2);
  assert.equal(problem, "no memory");
  const runs = threads.map(({ messages }) => messages.find(({ type }) => type === "run")?.index);
  assert.deepEqual(runs, [1, undefined, 2]);
  assert.deepEqual(threads.map(({ terminated }) => terminated), [false, true, false]);
});

test("where no thread starts, there is a reason", async () => {
  assert.deepEqual((await pool("throw")).problem, "the policy forbids it");
  const { size, problem } = await pool(unloadable);
  assert.deepEqual([size, problem], [0, "its script could not be loaded"]);
});

test("a thread that does not answer is given up", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const starting = pool(ready, undefined);
  await new Promise((resolve) => setImmediate(resolve));
  t.mock.timers.tick(5_000);
  const { size, problem, threads } = await starting;
  assert.deepEqual([size, problem], [1, "no answer within 5 seconds"]);
  assert.equal(threads[1].terminated, true);
});

test("a thread that traps is a crash", async () => {
  const { threads, crashes } = await pool(ready, ready);
  threads[1].onerror({ message: "unreachable", preventDefault() {} });
  assert.deepEqual(crashes, ["unreachable"]);
});

test("a lost thread fails the calls in progress, and the next one finds a new engine", async () => {
  let crash;
  let runtimes = 0;
  let closed = 0;
  const platform = fakePlatform();
  const environment = await platform.environment();
  platform.environment = async () => ({
    ...environment,
    async runtime(fetch, wanted, onCrash) {
      crash = onCrash;
      runtimes++;
      const { runtime, info } = await environment.runtime(fetch, wanted);
      runtime.close = () => closed++;
      return { runtime, info };
    },
  });
  const cacher = await Cacher.loadOn(platform, { model });
  const generation = cacher.generate("a", { maxTokens: 1000 });
  await generation[Symbol.asyncIterator]().next();
  crash("unreachable");
  await assert.rejects(generation.result, { code: "engine-crashed", message: /unreachable/ });
  assert.equal(closed, 1);
  assert.equal((await cacher.generate("a", { maxTokens: 1 }).result).text, "1 ");
  assert.equal(runtimes, 2);
});

test("the options reach the engine, and what runs is told", async () => {
  const load = async (options) => (await Cacher.loadOn(fakePlatform(), { model, ...options })).runtime;
  assert.deepEqual(await load({}), { simd: "simd128", threads: 1, threadsOff: "q8 auto auto" });
  const { threadsOff } = await load({ dtype: "f32", threads: 2, simd: "relaxed" });
  assert.equal(threadsOff, "f32 2 relaxed");
  const cacher = await Cacher.loadOn(fakePlatform(), { model, dtype: "q4" });
  assert.equal(cacher.model.dtype, "q4");
  const { wasmBytes, weightBytes } = await cacher.memory();
  assert.ok(wasmBytes > 0 && weightBytes > 0);
});

test("options that are not one of the choices are refused by name, with the choices", async () => {
  const cases = [
    [{ dtype: "q3" }, /dtype: "q3".*"q8", "q5", "q4", "f32"/],
    [{ simd: "avx" }, /simd: "avx".*"auto", "relaxed", "simd128"/],
    ...[0, 1.5, 65, "2", NaN].map((threads) => [{ threads }, /threads: .*1 to 64/]),
  ];
  for (const [options, message] of cases) {
    await assert.rejects(Cacher.loadOn(fakePlatform(), { model, ...options }), { code: "invalid-argument", message });
  }
});
