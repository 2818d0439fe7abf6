/** Writes a story to the terminal: `node examples/hello.mjs`, after `npm run build`. */
import { Cacher } from "cacher-wasm";

const cacher = await Cacher.load({ model: "./www/models/tiny-gpt2/" });

const story = cacher.generate("Once upon a time", { maxTokens: 60, temperature: 0.7, seed: 1 });
for await (const { text } of story) process.stdout.write(text);

const { finishReason, timings } = await story.result;
console.log(`\n\n${finishReason}, ${timings.tokensPerSecond.toFixed(0)} tokens a second`);
await cacher.dispose();
