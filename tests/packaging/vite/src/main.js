/** Writes a text into the page, with the model in `public/models/tiny-gpt2/`. */

import { Cacher } from "cacher-wasm";

const output = document.querySelector("#output");

const cacher = await Cacher.load({ model: "tiny-gpt2", threads: 2 });
output.dataset.threads = cacher.runtime.threads;
const generation = cacher.generate("Once upon a time", { maxTokens: 20, seed: 7 });
for await (const { text } of generation) output.textContent += text;
await cacher.dispose();

output.ariaBusy = "false";
