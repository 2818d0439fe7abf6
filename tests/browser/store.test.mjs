/**
 * What is kept on the device of a download, in each of the browser's storages.
 * In f32, because that keeps nothing else; what other formats keep beside it is
 * in packed.test.mjs.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary, startKit } from "./lib/library.mjs";
import { listedFolder, miniModel } from "./lib/models.mjs";
import { fixtureJson } from "./lib/paths.mjs";
import { bytesSent } from "./lib/server.mjs";

const MODEL = "/listed/";
const WEIGHTS = "/listed/model.safetensors";
const files = miniModel();
const weightBytes = files["model.safetensors"].length;
const totalBytes = Object.values(files).reduce((sum, { length }) => sum + length, 0);
const { prompt: PROMPT, tokens: TOKENS } = fixtureJson("mini-a/greedy.json").cases[0];

const browser = await launch();
const server = await serveLibrary({ files: listedFolder(MODEL, files) });
test.after(() => server.close());

/** Loads, says a few tokens that only the right model says, and gives where it is stored. */
async function loadAndCheck(page, options) {
  const { tokens, storage } = await page.evaluate(
    async ([prompt, options]) => {
      const cacher = await kit.Cacher.load(options);
      const { tokens } = await cacher.generate(prompt, { temperature: 0, maxTokens: 5 }).result;
      await cacher.dispose();
      return { tokens, storage: cacher.storage };
    },
    [PROMPT, { model: MODEL, dtype: "f32", ...options }],
  );
  assert.deepEqual(tokens, TOKENS);
  return storage;
}

const modelRequests = () => server.requests.filter(({ path }) => path.startsWith(MODEL));
const list = (page) => page.evaluate(() => kit.Cacher.models.list());

for (const store of ["opfs", "indexeddb"]) {
  for (const worker of [true, false]) {
    test(`${store}, ${worker ? "from a worker" : "from the page's thread"}`, { timeout: 2 * TIMEOUT_MS }, async (t) => {
      const { page, problems } = await openLibrary(browser, server);
      const options = { store, worker };

      await t.test("what is downloaded is listed", async () => {
        assert.deepEqual(await loadAndCheck(page, options), { backend: store, reason: null });
        const models = await list(page);
        assert.equal(models.length, 1);
        const [{ id, backend, bytes, files: stored }] = models;
        assert.deepEqual({ id, backend, bytes }, { id: `${server.url}listed/`, backend: store, bytes: totalBytes });
        assert.deepEqual(stored.map(({ name, complete }) => [name, complete]).sort(), [
          ["config.json", true],
          ["model.safetensors", true],
          ["tokenizer.json", true],
        ]);
      });

      await t.test("the next visit asks the network for nothing of the model", async () => {
        await page.reload();
        await startKit(page);
        server.forget();
        await loadAndCheck(page, options);
        assert.deepEqual(modelRequests(), []);
      });

      await t.test("a bit that flips in storage is noticed, and the file fetched again", async () => {
        await page.evaluate((store) => kit.flipStoredBit(store), store);
        server.forget();
        await loadAndCheck(page, options);
        assert.equal(bytesSent(modelRequests(), WEIGHTS), weightBytes);
        server.forget();
        await loadAndCheck(page, options);
        assert.deepEqual(modelRequests(), []);
      });

      await t.test("delete removes it for good", async () => {
        const [{ id }] = await list(page);
        const again = await page.evaluate(async (id) => {
          await kit.Cacher.models.delete(id);
          return kit.failure(kit.Cacher.models.delete(id));
        }, id);
        assert.equal(again?.code, "not-found");
        assert.deepEqual(await list(page), []);
        const [records, inOpfs, pieces] = await page.evaluate(async () => [
          await kit.rawRecords(),
          Object.keys(await kit.opfsFiles()),
          (await kit.rawIndexedDb("pieces")).length,
        ]);
        assert.deepEqual([records, inOpfs, pieces], [[], [], 0]);
        server.forget();
        await loadAndCheck(page, options);
        assert.equal(bytesSent(modelRequests(), WEIGHTS), weightBytes);
      });

      assert.deepEqual(problems, []);
    });
  }
}

test("memory keeps nothing", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openLibrary(browser, server);
  const storage = await loadAndCheck(page, { store: "memory" });
  assert.equal(storage.backend, "memory");
  assert.deepEqual(await list(page), []);
  assert.deepEqual(await page.evaluate(async () => [await kit.rawRecords(), Object.keys(await kit.opfsFiles())]), [[], []]);
});

test("two tabs that load the same model download it once", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openLibrary(browser, server);
  const { page: other } = await openLibrary(context, server);
  server.forget();
  await Promise.all([loadAndCheck(page, {}), loadAndCheck(other, {})]);
  assert.equal(bytesSent(modelRequests(), WEIGHTS), weightBytes);
});

/** A page whose origin may store half of the weights. */
async function openWithoutRoom() {
  const { context, page } = await openLibrary(browser, server);
  const devtools = await context.newCDPSession(page);
  const origin = new URL(server.url).origin;
  await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: weightBytes >> 1 });
  return { page, makeRoom: () => devtools.send("Storage.overrideQuotaForOrigin", { origin }) };
}

test("where there is no room, a model that must be stored is refused", { timeout: TIMEOUT_MS }, async () => {
  const { page, makeRoom } = await openWithoutRoom();
  const error = await page.evaluate((model) => kit.failure(kit.Cacher.load({ model, store: "opfs" })), MODEL);
  assert.equal(error?.code, "storage-full", JSON.stringify(error));
  const [model] = await list(page);
  assert.ok(!model.files.every(({ complete }) => complete));

  await makeRoom();
  assert.equal((await loadAndCheck(page, { store: "opfs" })).backend, "opfs");
});

test("where there is no room, a model that need not be stored runs unstored", { timeout: TIMEOUT_MS }, async () => {
  const { page, makeRoom } = await openWithoutRoom();
  const storage = await loadAndCheck(page, { store: "auto" });
  assert.equal(storage.backend, "memory");
  assert.match(storage.reason, /storage.*full/);
  assert.deepEqual(await list(page), [], "nothing is left of the attempt");

  await makeRoom();
  assert.equal((await loadAndCheck(page, { store: "auto" })).backend, "opfs");
});
