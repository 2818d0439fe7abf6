/**
 * Two endings of one story, kept in a file: `node examples/states.mjs`, after `npm run build`.
 * Run it again, and both go on where they stood.
 */
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cacher } from "cacher-wasm";

const path = join(tmpdir(), "two-endings.cacher");
const kept = await readFile(path).catch(() => undefined);
const cacher = await Cacher.load({ model: "./www/models/tiny-gpt2/" });

/** The endings of the last run, or two new ones. */
async function endings() {
  if (kept !== undefined) return cacher.states.import(kept);
  const story = await cacher.states.create({
    text: "Once upon a time there was a girl who lived beside a lighthouse. One evening, when the lamp did not burn, she",
    name: "first ending",
    config: { maxTokens: 40, temperature: 0.7, seed: 1 },
  });
  const other = await story.fork({ name: "second ending" });
  await other.reseed(2);
  return [story, other];
}

for (const ending of await endings()) {
  const { usage, state } = await ending.generate().result;
  console.log(`${state.name}: ${usage.promptTokens} tokens before, ${usage.tokensEvaluated} of them computed`);
  console.log(`${await ending.text()}\n`);
}

const file = await cacher.states.export();
await writeFile(path, new Uint8Array(await file.arrayBuffer()));
console.log(`${kept === undefined ? "Run this again to go on with both" : "Delete this file to begin anew"}: ${path}`);
await cacher.dispose();
