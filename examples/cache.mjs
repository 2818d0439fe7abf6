/**
 * Answers that are computed once: `node examples/cache.mjs`, after `npm run build`.
 * Run it again, and nothing is computed: they are kept in a folder.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cacher } from "cacher-wasm";

const folder = join(tmpdir(), "cacher-answers");
const cacher = await Cacher.load({
  model: "./www/models/tiny-gpt2/",
  cache: { layers: [{ kind: "file", folder }] },
});

/** Where an answer came from, in words. */
function origin({ hit, layer, savedMs }) {
  return hit === false ? "computed" : `from ${layer}, ${savedMs.toFixed(0)} ms saved`;
}

for (const time of ["first", "second"]) {
  const story = await cacher.generate("Once upon a time", { maxTokens: 40, seed: 1, tags: ["example"] }).result;
  console.log(`${time} time, ${origin(story.cache)}:${story.text}\n`);
}

// Any async function will do; this one only takes its time.
const distance = async () => new Promise((resolve) => setTimeout(resolve, 300, { km: 1_350 }));
const { value, cache } = await cacher.cache.fetch({ from: "Oslo", to: "Paris" }, distance, { cacheTtl: 3_600_000 });
console.log(`${value.km} km, ${origin(cache)}`);

const { hits, misses, savedMs, savedTokens } = await cacher.cache.stats();
console.log(`${hits.total} of ${hits.total + misses} answered from the cache: ${savedMs.toFixed(0)} ms and ${savedTokens} tokens saved`);
console.log(`Kept in ${folder}: delete it to begin anew`);
await cacher.dispose();
