/**
 * The golden checks against Hugging Face transformers, compiled to wasm, in a
 * browser: the same code that `cargo test` runs natively.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS, watchedPage } from "./lib/browser.mjs";
import { FIXTURES, GOLDEN, tinyModel } from "./lib/paths.mjs";
import { startServer } from "./lib/server.mjs";

const browser = await launch();
const server = await startServer({
  folders: { "/golden/": GOLDEN, "/fixtures/": FIXTURES },
  files: {
    "/": { body: "<!doctype html><title>Test</title>", type: "text/html" },
    // Not among the fixtures, because the demo has it.
    "/fixtures/tiny-gpt2/model.q8_0.gguf": tinyModel(),
  },
});
test.after(() => server.close());

/** The builds for one thread; they share a script. */
const BUILDS = { simd128: "cacher_golden_bg.wasm", relaxed: "cacher_golden_relaxed_bg.wasm" };

for (const [build, file] of Object.entries(BUILDS)) {
  const { page } = await watchedPage(await browser.newContext());
  await page.goto(server.url);
  const checks = await page.evaluate(async (file) => {
    globalThis.golden = await import("/golden/cacher_golden.js");
    await golden.default({ module_or_path: `/golden/${file}` });
    return JSON.parse(golden.checks());
  }, file);

  test(`the checks are there, ${build}`, () => assert.ok(checks.length > 0));

  for (const { name, files } of checks) {
    test(`golden check ${name} in the browser, ${build}`, { timeout: TIMEOUT_MS }, async (t) => {
      const { cases, failures, measured } = await page.evaluate(
        async ([name, files]) => {
          const contents = new Map();
          for (const path of files) {
            const response = await fetch(`/fixtures/${path}`);
            if (!response.ok) throw new Error(`no fixture ${path}`);
            contents.set(path, new Uint8Array(await response.arrayBuffer()));
          }
          return JSON.parse(golden.run(name, contents));
        },
        [name, files],
      );
      t.diagnostic(`${cases} cases; ${measured.join("; ")}`);
      assert.ok(cases > 0, "the check ran no case");
      assert.deepEqual(failures.slice(0, 20), [], `${failures.length} of ${cases} cases failed`);
    });
  }
}
