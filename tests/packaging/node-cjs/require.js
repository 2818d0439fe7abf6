/** Prints a text, with the model in the folder `model/`. Needs a Node that can `require` ES modules: 20.19 or later. */

const { Cacher } = require("cacher-wasm");

async function main() {
  const cacher = await Cacher.load({ model: "./model/" });
  const generation = cacher.generate("Once upon a time", { maxTokens: 20, seed: 7 });
  for await (const { text } of generation) process.stdout.write(text);
  await cacher.dispose();
}

main();
