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

test("speculation gives the same texts, in fewer steps", { timeout: TIMEOUT_MS }, async () => {
  const runs = await page.evaluate(async () => {
    const cacher = await kit.Cacher.load({ model: "tiny-gpt2", threads: 2 });
    const prompt = "one two three four, one two three four, one two three four, one two";
    const runs = [];
    for (const options of [{ temperature: 0 }, { seed: 3, temperature: 0.5 }, { seed: 4 }]) {
      const both = [];
      for (const promptLookupNumTokens of [0, 8]) {
        const generation = cacher.generate(prompt, { maxTokens: 48, promptLookupNumTokens, ...options });
        const chunks = [];
        for await (const chunk of generation) chunks.push(chunk);
        both.push({ ...(await generation.result), chunks });
      }
      runs.push(both);
    }
    await cacher.dispose();
    return runs;
  });
  for (const [plain, drafting] of runs) {
    assert.deepEqual(drafting.tokens, plain.tokens);
    assert.equal(drafting.text, plain.text);
    assert.equal(drafting.chunks.map(({ text }) => text).join(""), plain.text);
    assert.equal(plain.usage.draftTokens, 0);
    assert.ok(drafting.usage.acceptedDraftTokens <= drafting.usage.draftTokens);
  }
  const [plain, drafting] = runs[0];
  assert.ok(drafting.usage.acceptedDraftTokens > 8, `${drafting.usage.acceptedDraftTokens} were accepted`);
  assert.ok(drafting.chunks.length < plain.chunks.length);
});

test("nothing went wrong in the page", () => assert.deepEqual(problems, []));
