/**
 * A text sentence by sentence, and the likeliest of several: `node examples/streaming.mjs`,
 * after `npm run build`.
 */
import { Cacher } from "cacher-wasm";

const cacher = await Cacher.load({ model: "./www/models/tiny-gpt2/", seed: 3 });

// Three sentences and no more, whatever comes.
const ends = /[.!?]["”]?(?=\s)/g;
const story = cacher.generate("Once upon a time", {
  maxTokens: 200,
  chunk: "sentence",
  stopWhen: (text) => (text.match(ends) ?? []).length === 3,
});
for await (const { text } of story) console.log(`-${text}`);
const { finishReason, usage } = await story.result;
console.log(`${usage.completionTokens} tokens, ended by ${finishReason}\n`);

// Two prompts, four texts of each, all at once.
const prompts = ["The weather today", "My friend and I"];
const batch = cacher.generateBatch(prompts, { maxTokens: 20, bestOf: 4 });
for (const [index, { value }] of (await batch.results).entries()) {
  const { sample, text, meanLogProbs } = value;
  console.log(`${prompts[index]}${text}\n  (${meanLogProbs[sample].toFixed(2)} nats a token, the most of ${meanLogProbs.map((mean) => mean.toFixed(2)).join(", ")})`);
}
await cacher.dispose();
