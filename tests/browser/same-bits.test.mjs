/**
 * One model, one answer: texts and logits of tiny-gpt2 are the same to the last
 * bit with every build of the engine, on any number of threads, in Node, alone
 * or in company.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { pathToFileURL } from "node:url";
import { fingerprint, fingerprintTogether } from "./in-page/fingerprint.js";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { ISOLATION, openLibrary, serveLibrary } from "./lib/library.mjs";
import { MODELS, PACKAGE } from "./lib/paths.mjs";

const VARIANTS = [
  { simd: "simd128", threads: 1 },
  { simd: "relaxed", threads: 1 },
  { simd: "relaxed", threads: 2 },
  { simd: "relaxed", threads: 3 },
];

const browser = await launch();
const server = await serveLibrary({ headers: ISOLATION });
test.after(() => server.close());
const { page, problems } = await openLibrary(browser, server);
const { Cacher } = await import(pathToFileURL(join(PACKAGE, "node.js")));

async function inNode(dtype) {
  const cacher = await Cacher.load({ model: join(MODELS, "tiny-gpt2/"), dtype });
  const alone = await fingerprint(cacher);
  const together = await fingerprintTogether(cacher);
  await cacher.dispose();
  return { alone, together };
}

const inPage = (options) =>
  page.evaluate(async (options) => {
    const { fingerprint, fingerprintTogether } = await import("/in-page/fingerprint.js");
    const cacher = await kit.Cacher.load({ model: "tiny-gpt2", ...options });
    const alone = await fingerprint(cacher);
    const together = await fingerprintTogether(cacher);
    await cacher.dispose();
    return { alone, together, runtime: cacher.runtime };
  }, options);

for (const dtype of ["q8", "q5", "q4"]) {
  test(`${dtype}`, { timeout: 3 * TIMEOUT_MS }, async (t) => {
    const { alone: expected, together } = await inNode(dtype);
    await t.test("in Node, alone and together", () => assert.deepEqual(together, expected));
    for (const variant of VARIANTS) {
      const { simd, threads } = variant;
      await t.test(`${simd}, ${threads === 1 ? "one thread" : `${threads} threads`}, alone and together`, async () => {
        const { alone, together, runtime } = await inPage({ dtype, ...variant });
        assert.deepEqual({ simd: runtime.simd, threads: runtime.threads }, variant);
        assert.deepEqual(alone, expected);
        assert.deepEqual(together, expected);
      });
    }
  });
}

test("nothing went wrong in the page", () => assert.deepEqual(problems, []));
