/**
 * Characters that are split across tokens: the stream brings each as a whole.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";
import { scriptedModel } from "./lib/scripted-model.mjs";

const SCRIPT = "Zoë 👍🏽 and 👩‍👩‍👧‍👦 fly 🇩🇪 to 日本 naïvely.";
const files = Object.fromEntries(
  Object.entries(scriptedModel(SCRIPT)).map(([name, body]) => [`/scripted/${name}`, body]),
);

const browser = await launch();
const server = await serveLibrary({ files });
test.after(() => server.close());
const { page, problems } = await openLibrary(browser, server);
await page.evaluate(async () => {
  globalThis.cacher = await kit.Cacher.load({ model: "/scripted/" });
  /** A greedy continuation of one token: the script from its start. */
  globalThis.recite = (options) => kit.collect(cacher.generate([10], { temperature: 0, ...options }));
});
const recite = (options) => page.evaluate((options) => recite(options), options);
const textOf = (chunks) => chunks.map(({ text }) => text).join("");

test("an emoji split across tokens comes out whole", { timeout: TIMEOUT_MS }, async () => {
  const { chunks, result } = await recite({});
  assert.equal(result.text, SCRIPT);
  assert.equal(result.finishReason, "eos");
  assert.equal(result.tokens.length, Buffer.byteLength(SCRIPT) + 1, "every byte is a token");
  assert.equal(textOf(chunks), SCRIPT);
  for (const { text } of chunks) {
    assert.ok(!text.includes("\ufffd"), `a broken character in ${JSON.stringify(text)}`);
    assert.ok(text.isWellFormed(), `half a surrogate pair in ${JSON.stringify(text)}`);
  }
  assert.ok(chunks.some(({ text, tokens }) => text === "" && tokens.length > 0), "tokens within a character bring no text");
  assert.deepEqual(chunks.flatMap(({ tokens }) => tokens), result.tokens);
});

test("a character that is cut off becomes a replacement character at the end", { timeout: TIMEOUT_MS }, async () => {
  const whole = Buffer.byteLength("Zoë ");
  for (const bytes of [1, 2, 3]) {
    const { chunks, result } = await recite({ maxTokens: whole + bytes });
    assert.equal(result.text, "Zoë \ufffd");
    assert.equal(textOf(chunks), result.text);
  }
});

test("an emoji can be a stop string", { timeout: TIMEOUT_MS }, async () => {
  const { chunks, result } = await recite({ stop: ["👩‍👩‍👧‍👦"] });
  assert.equal(result.text, "Zoë 👍🏽 and ");
  assert.equal(result.finishReason, "stop");
  assert.equal(result.matched, "👩‍👩‍👧‍👦");
  assert.equal(textOf(chunks), result.text);
});

test("text becomes ids and text again, with places in UTF-16", { timeout: TIMEOUT_MS }, async () => {
  const text = "a👍é";
  const { ids, offsets, back } = await page.evaluate(async (text) => {
    const { ids, offsets } = await cacher.tokenize(text);
    return { ids: [...ids], offsets: [...offsets], back: await cacher.detokenize(ids) };
  }, text);
  assert.deepEqual(ids, [...Buffer.from(text)]);
  // Each byte of a character has the whole character's place.
  assert.deepEqual(offsets, [0, 1, 1, 3, 1, 3, 1, 3, 1, 3, 3, 4, 3, 4]);
  assert.equal(back, text);
});

test("nothing went wrong in the page", () => assert.deepEqual(problems, []));
