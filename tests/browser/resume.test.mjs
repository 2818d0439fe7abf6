/**
 * A connection that breaks: what came is kept, and the rest, and only the
 * rest, is asked for.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary, startKit } from "./lib/library.mjs";
import { listedFolder, miniModel } from "./lib/models.mjs";
import { fixtureJson } from "./lib/paths.mjs";
import { bytesSent } from "./lib/server.mjs";
import { waitUntil } from "./lib/wait.mjs";

const { prompt: PROMPT, tokens: TOKENS } = fixtureJson("mini-a/greedy.json").cases[0];
const files = miniModel();
const weights = files["model.safetensors"];
const otherBytes = files["config.json"].length + files["tokenizer.json"].length;
const FIRST = 150_000;
const SECOND = 300_000;

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

/** Begins to load `model` in the page; `outcome()` gives the error that ended it, or `null`. */
async function beginLoad(page, model) {
  await page.evaluate((model) => {
    globalThis.outcome = kit.failure(
      kit.Cacher.load({ model, store: "opfs" }).then((cacher) => {
        globalThis.cacher = cacher;
      }),
    );
  }, model);
  return () => page.evaluate(() => outcome);
}

/** Breaks the connection once the page has stored the first `bytes` of the weights. */
async function cutAt(page, bytes) {
  await waitUntil(async () => {
    const models = await page.evaluate(() => kit.Cacher.models.list());
    return models.some((model) => model.bytes === otherBytes + bytes);
  });
  server.cut();
}

async function assertRightModel(page) {
  const tokens = await page.evaluate(
    async (prompt) => (await cacher.generate(prompt, { temperature: 0, maxTokens: 5 }).result).tokens,
    PROMPT,
  );
  assert.deepEqual(tokens, TOKENS);
}

const rangesOf = (path) =>
  server.requests.filter((request) => request.path === path && request.method === "GET").map(({ range }) => range);

for (const vouched of [true, false]) {
  const folder = vouched ? "/listed/" : "/plain/";
  const path = `${folder}model.safetensors`;

  const name = `a download ${vouched ? "with" : "without"} a manifest goes on where it broke, also after a reload`;
  test(name, { timeout: 2 * TIMEOUT_MS }, async () => {
    if (vouched) Object.assign(server.files, listedFolder(folder, files));
    else for (const [name, bytes] of Object.entries(files)) server.files[folder + name] = bytes;
    server.files[path] = { body: weights, holdAt: [FIRST, SECOND] };
    server.forget();
    const { page } = await openLibrary(browser, server);

    const outcome = await beginLoad(page, folder);
    await cutAt(page, FIRST);
    await cutAt(page, SECOND);
    const error = await outcome();
    assert.equal(error?.code, "network-error", JSON.stringify(error));
    assert.ok(error.details.url.endsWith(path));
    const [{ files: stored }] = await page.evaluate(() => kit.Cacher.models.list());
    assert.equal(stored.find(({ name }) => name === "model.safetensors").complete, false);

    await page.reload();
    await startKit(page);
    assert.equal(await (await beginLoad(page, folder))(), null);
    await assertRightModel(page);
    assert.deepEqual(rangesOf(path), [undefined, `bytes=${FIRST}-`, `bytes=${SECOND}-`]);
    assert.equal(bytesSent(server.requests, path), weights.length, "each byte came once");
  });
}

test("a file that changed meanwhile is fetched anew, never mixed", { timeout: TIMEOUT_MS }, async () => {
  const path = "/changing/model.safetensors";
  for (const [name, bytes] of Object.entries(files)) server.files[`/changing/${name}`] = bytes;
  // The same length, other content, so another ETag.
  const before = Buffer.from(weights);
  before[before.length - 1] ^= 1;
  server.files[path] = { body: before, holdAt: [FIRST] };
  server.forget();
  const { page } = await openLibrary(browser, server);

  const outcome = await beginLoad(page, "/changing/");
  await waitUntil(() => rangesOf(path).length === 1);
  server.files[path] = weights;
  await cutAt(page, FIRST);
  assert.equal(await outcome(), null);
  await assertRightModel(page);
  assert.equal(server.requests.filter((request) => request.path === path).at(-1).sent, weights.length);
});

test("without an answer at all, the error says so", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openLibrary(browser, server);
  // The page's own scripts come with the first load.
  await page.evaluate(() => kit.Cacher.load({ model: "/fixtures/mini-c/", worker: false }));
  await context.setOffline(true);
  const error = await page.evaluate(() => kit.failure(kit.Cacher.load({ model: "/fixtures/mini-b/", worker: false })));
  assert.equal(error?.code, "network-error", JSON.stringify(error));
});
