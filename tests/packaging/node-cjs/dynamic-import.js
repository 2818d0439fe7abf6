/** Prints a text, with the model in the folder `model/`. Works in every Node the package supports. */

async function main() {
  const { Cacher } = await import("cacher-wasm");
  const cacher = await Cacher.load({ model: "./model/" });
  const generation = cacher.generate("Once upon a time", { maxTokens: 20, seed: 7 });
  for await (const { text } of generation) process.stdout.write(text);
  await cacher.dispose();
}

main();
