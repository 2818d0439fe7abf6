/**
 * Which build of the engine a page gets, on how many threads, and what becomes
 * of the threads.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { ISOLATION, openLibrary, serveLibrary } from "./lib/library.mjs";
import { waitUntil } from "./lib/wait.mjs";

/** In a thread, and only there, `runThread` traps shortly after it was called. */
const TRAP_IN_THREAD = `
  const { instantiate } = WebAssembly;
  if (self.name.startsWith("cacher-thread")) WebAssembly.instantiate = async (module, imports) => {
    const { exports } = await instantiate(module, imports);
    const runThread = () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
      throw new WebAssembly.RuntimeError("trapped on purpose");
    };
    return { module, instance: { exports: { ...exports, runThread } } };
  };`;

const browser = await launch();
const files = {
  "/trap.js": { body: TRAP_IN_THREAD, type: "text/javascript" },
  "/trapping-worker.js": { body: 'import "/trap.js"; import "/pkg/worker.js";', type: "text/javascript" },
};
const isolated = await serveLibrary({ headers: ISOLATION, files });
const plain = await serveLibrary();
test.after(() => Promise.all([isolated.close(), plain.close()]));

/** Loads, generates, and gives what ran, what it made, and which wasm files the server was asked for. */
async function run(page, server, options) {
  server.forget();
  const ran = await page.evaluate(async (options) => {
    const cacher = await kit.Cacher.load({ model: "/fixtures/mini-a/", ...options });
    const { tokens } = await cacher.generate([1, 2, 3], { temperature: 0, maxTokens: 20 }).result;
    const memory = await cacher.memory();
    await cacher.dispose();
    return { runtime: cacher.runtime, tokens, memory };
  }, options);
  const wasm = server.requests.map(({ path }) => path).filter((path) => path.endsWith(".wasm"));
  return { ...ran, wasm: wasm.map((path) => path.split("/").at(-1)) };
}

test("an isolated page has threads, with the same results", { timeout: TIMEOUT_MS }, async () => {
  const { page, problems } = await openLibrary(browser, isolated);
  const one = await run(page, isolated, { threads: 1 });
  assert.deepEqual(one.runtime, { simd: "relaxed", threads: 1, threadsOff: "one thread was asked for" });
  assert.deepEqual(one.wasm, ["cacher_wasm_relaxed_bg.wasm"]);
  assert.ok(one.memory.wasmBytes > one.memory.weightBytes && one.memory.weightBytes > 0);
  for (const threads of [2, 3]) {
    const { runtime, tokens, wasm } = await run(page, isolated, { threads });
    assert.deepEqual(runtime, { simd: "relaxed", threads, threadsOff: null });
    assert.deepEqual(tokens, one.tokens);
    assert.deepEqual(wasm, ["cacher_wasm_threads_bg.wasm"]);
  }
  const plainSimd = await run(page, isolated, { simd: "simd128" });
  assert.equal(plainSimd.runtime.simd, "simd128");
  assert.deepEqual(plainSimd.wasm, ["cacher_wasm_bg.wasm"]);
  assert.deepEqual(plainSimd.tokens, one.tokens);
  assert.deepEqual(problems, []);
});

test("wasmUrl may name a folder of all builds, or one build", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openLibrary(browser, isolated);
  assert.equal((await run(page, isolated, { wasmUrl: "/pkg/wasm/", threads: 2 })).runtime.threads, 2);
  const { runtime, wasm } = await run(page, isolated, { wasmUrl: "/pkg/wasm/cacher_wasm_bg.wasm" });
  assert.equal(runtime.simd, "simd128");
  assert.match(runtime.threadsOff, /wasmUrl/);
  assert.deepEqual(wasm, ["cacher_wasm_bg.wasm"]);
});

test("where there can be no threads, the reason is told", { timeout: TIMEOUT_MS }, async () => {
  const { page, problems } = await openLibrary(browser, plain);
  const { runtime } = await run(page, plain, { threads: 2 });
  assert.equal(runtime.threads, 1);
  assert.match(runtime.threadsOff, /not cross-origin isolated/);
  const { page: isolatedPage } = await openLibrary(browser, isolated);
  const onPage = await run(isolatedPage, isolated, { worker: false });
  assert.match(onPage.runtime.threadsOff, /page's own thread/);
  assert.deepEqual(problems, []);
});

test("dispose ends the threads at once", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openLibrary(browser, isolated);
  await page.evaluate(async () => {
    globalThis.cacher = await kit.Cacher.load({ model: "/fixtures/mini-a/", threads: 3 });
  });
  assert.equal(page.workers().length, 3);
  await page.evaluate(() => cacher.dispose());
  // The browser itself would wait for two seconds.
  await waitUntil(() => page.workers().length === 0, 1_000);
});

test("a thread that traps is a crash of the engine", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openLibrary(browser, isolated);
  const failure = await page.evaluate(async () => {
    const useForEver = async () => {
      const options = { model: "/fixtures/mini-a/", threads: 2, workerUrl: "/trapping-worker.js" };
      const cacher = await kit.Cacher.load(options);
      for (;;) await cacher.generate([1, 2, 3], { maxTokens: 50, eosTokenIds: [] }).result;
    };
    return kit.failure(useForEver());
  });
  assert.equal(failure.code, "engine-crashed");
});
