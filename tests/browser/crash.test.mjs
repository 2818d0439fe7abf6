/**
 * An engine that crashes: its calls say so, and the next call has a new one.
 *
 * The faults are real ones: an instruction that traps, run inside a step of
 * the engine, and an exception that nobody catches in the worker.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";
import { fixtureJson } from "./lib/paths.mjs";

const { prompt: PROMPT, tokens: TOKENS } = fixtureJson("mini-a/greedy.json").cases[0];

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

/** Runs in the thread of the engine: its next step executes `unreachable`. */
async function trapAtNextStep() {
  // The module that runs there already, from the browser's module map.
  const { Engine } = await import("/pkg/wasm/cacher_wasm.js");
  const { step } = Engine.prototype;
  // A module of one function: (func (export "f") unreachable).
  const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0, 11];
  const { instance } = await WebAssembly.instantiate(Uint8Array.from(bytes));
  Engine.prototype.step = () => {
    Engine.prototype.step = step;
    instance.exports.f();
  };
}

/** Runs in the worker: an exception that nobody catches. */
function throwLater() {
  setTimeout(() => {
    throw new Error("out of the blue");
  });
}

const FAULTS = [
  ["a trap in a worker", true, (page) => page.workers()[0].evaluate(trapAtNextStep)],
  ["a trap on the page's thread", false, (page) => page.evaluate(trapAtNextStep)],
  ["an uncaught exception in the worker", true, (page) => page.workers()[0].evaluate(throwLater)],
];

for (const [name, worker, cause] of FAULTS) {
  test(name, { timeout: TIMEOUT_MS }, async () => {
    const { page } = await openLibrary(browser, server);
    await page.evaluate(async (worker) => {
      globalThis.cacher = await kit.Cacher.load({ model: "tiny-gpt2", worker });
      globalThis.generations = [1, 2].map((seed) =>
        cacher.generate("Once upon a time", { maxTokens: 1000, eosTokenIds: [], seed }),
      );
      globalThis.failures = Promise.all(generations.map((generation) => kit.failure(kit.collect(generation))));
    }, worker);
    await cause(page);
    const failures = await page.evaluate(() => failures);
    assert.deepEqual(failures.map((error) => error?.code), ["engine-crashed", "engine-crashed"]);

    const { first, again } = await page.evaluate(async () => {
      const options = { temperature: 0, maxTokens: 8 };
      const first = await kit.plainResult(cacher.generate("Once upon a time", options));
      return { first, again: await kit.plainResult(cacher.generate("Once upon a time", options)) };
    });
    assert.equal(first.text, ", there was a little girl named Emma");
    assert.equal(again.text, first.text);
    assert.ok(page.workers().length === (worker ? 1 : 0), "the broken worker is gone");
  });
}

test("a crashed engine harms no other one on the page's thread for good", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openLibrary(browser, server);
  await page.evaluate(async () => {
    const load = () => kit.Cacher.load({ model: "/fixtures/mini-a/", worker: false });
    globalThis.cachers = [await load(), await load()];
  });
  await page.evaluate(trapAtNextStep);
  const [failure, ...results] = await page.evaluate(async (prompt) => {
    const run = (cacher) => kit.plainResult(cacher.generate(prompt, { temperature: 0, maxTokens: 5 }));
    const failure = await kit.failure(run(cachers[0]));
    const other = await kit.failure(run(cachers[1]));
    if (other !== null && other.code !== "engine-crashed") throw new Error(other.message);
    return [failure, await run(cachers[0]), await run(cachers[1])];
  }, PROMPT);
  assert.equal(failure?.code, "engine-crashed");
  for (const { tokens } of results) assert.deepEqual(tokens, TOKENS);
});
