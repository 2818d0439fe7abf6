/**
 * The built-in model's packed weights, in each of the browser's storages: the
 * second start has them in place of the model's file, and answers the same to
 * the last bit.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { ISOLATION, openLibrary, serveLibrary, startKit } from "./lib/library.mjs";
import { tinyModel } from "./lib/paths.mjs";
import { bytesSent } from "./lib/server.mjs";

const MODEL = "/models/tiny-gpt2/";
const WEIGHTS = `${MODEL}model.q8_0.gguf`;
const weightBytes = tinyModel().length;

const browser = await launch();
const server = await serveLibrary({ headers: ISOLATION });
test.after(() => server.close());

/** Loads, and gives how many bytes loading read, what the model answers, and where it is stored. */
async function start(page, options) {
  server.forget();
  return page.evaluate(async (options) => {
    const { fingerprint } = await import("/in-page/fingerprint.js");
    let read;
    const onProgress = ({ phase, total }) => {
      if (phase === "load") read = total;
    };
    const cacher = await kit.Cacher.load({ model: "tiny-gpt2", threads: 1, onProgress, ...options });
    const answers = await fingerprint(cacher);
    await cacher.dispose();
    return { read, answers, storage: cacher.storage, runtime: cacher.runtime };
  }, options);
}

/** The packed files that the model's record names. */
const packedFiles = (page) => page.evaluate(async () => (await kit.rawRecords())[0].packed);
const modelRequests = () => server.requests.filter(({ path }) => path.startsWith(MODEL));

for (const store of ["opfs", "indexeddb"]) {
  test(`kept in ${store}`, { timeout: 3 * TIMEOUT_MS }, async (t) => {
    const { context, page, problems } = await openLibrary(browser, server);
    const first = await start(page, { store });
    assert.equal(first.read, weightBytes);
    assert.deepEqual(first.storage, { backend: store, reason: null });
    assert.equal(bytesSent(modelRequests(), WEIGHTS), weightBytes);
    const [packed, ...more] = await packedFiles(page);
    assert.match(packed.name, /^packed-q8-/);
    assert.deepEqual(more, []);

    const assertFromPacked = async (options) => {
      const { read, answers, storage, runtime } = await start(page, { store, ...options });
      assert.deepEqual(answers, first.answers);
      assert.equal(read, packed.bytes, "nothing but the packed file was read");
      assert.deepEqual(storage, { backend: store, reason: null });
      assert.deepEqual(modelRequests(), []);
      return runtime;
    };

    await t.test("the second start reads the packed file alone", async () => {
      await page.reload();
      await startKit(page);
      await assertFromPacked();
      const [model] = await page.evaluate(() => kit.Cacher.models.list());
      assert.ok(model.bytes >= weightBytes + packed.bytes, "the list counts it");
    });

    await t.test("on the page's own thread too, and into memory that threads share", async () => {
      await assertFromPacked({ worker: false });
      assert.equal((await assertFromPacked({ threads: 2 })).threads, 2);
    });

    await t.test("a bit that flips in it costs a start from the model's file, which packs again", async () => {
      await page.evaluate((store) => kit.flipStoredBit(store, "packed-"), store);
      const { read, answers } = await start(page, { store });
      assert.deepEqual(answers, first.answers);
      assert.equal(read, weightBytes);
      assert.deepEqual(modelRequests(), [], "that file was stored");
      assert.deepEqual(await packedFiles(page), [packed]);
      await assertFromPacked();
    });

    await t.test("another format gets a file of its own", async () => {
      const q4 = await start(page, { store, dtype: "q4" });
      assert.equal(q4.read, weightBytes);
      const again = await start(page, { store, dtype: "q4" });
      assert.deepEqual(again.answers, q4.answers);
      const files = await packedFiles(page);
      assert.deepEqual(files.map(({ name }) => name.slice(0, 10)), ["packed-q8-", "packed-q4-"]);
      assert.equal(again.read, files[1].bytes);
      assert.ok(files[1].bytes < packed.bytes);
      await assertFromPacked();
    });

    await t.test("the model's file is not even needed", async () => {
      await page.evaluate((store) => kit.removeStoredWeights(store), store);
      await assertFromPacked();
    });

    assert.deepEqual(problems, []);
    await context.close();
  });
}
