/**
 * What is measured: engines, models, number formats, threads, prompts.
 *
 * A format or a number of threads that the package refuses is left out with a
 * notice, so this table may be ahead of the package.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/lib/process.mjs";
import { FILES } from "../models/write.mjs";

/** The engines, and whose package.json says their version. */
export const ENGINES = {
  cacher: { label: "Cacher", package: "pkg" },
  transformers: { label: "transformers.js", package: "benches/node_modules/@huggingface/transformers" },
  wllama: { label: "wllama", package: "benches/node_modules/@wllama/wllama" },
};

/** The parts of the benchmark that are about this package alone. */
export const STATES = "states";
export const RESPONSES = "responses";
export const GENERATION = "generation";
export const ANALYSIS = "analysis";
export const PARTS = [STATES, RESPONSES, GENERATION, ANALYSIS];

/** The version of an engine's package. */
export function versionOf(engine) {
  const path = join(root, ENGINES[engine].package, "package.json");
  return JSON.parse(readFileSync(path, "utf8")).version;
}

/** Models: where each engine finds its form of it. */
export const GPT2 = "gpt2-124m";
export const TINY = "tiny-gpt2";
/** In place of a model and a format, of what needs none. */
export const NONE = "none";
const TINY_FILE = "/www/models/tiny-gpt2/model.q8_0.gguf";

/** Lengths of the prompts after which the writing is timed; those from 128 on are timed themselves. */
const ALL = [8, 128, 512, 900];
const SHORT = [8, 128];
/** For the slowest: reading 900 tokens takes them half a minute. */
const MIDDLE = [8, 128, 512];

/** onnxruntime's file that transformers.js takes of its own accord. */
const RUNTIME = "ort-wasm-simd-threaded.asyncify";

const cacher = (model, dtype, threads, prompts, quick) => ({
  engine: "cacher",
  model,
  dtype,
  threads,
  source: model === TINY ? TINY_FILE : `/${FILES.safetensors}/`,
  prompts,
  quick,
});
const transformers = (threads, quick) => ({
  engine: "transformers",
  model: GPT2,
  dtype: "q8",
  threads,
  source: `/${FILES.onnx}/`,
  build: RUNTIME,
  prompts: ALL,
  quick,
});
const wllama = (model, dtype, threads, prompts, quick) => ({
  engine: "wllama",
  model,
  dtype,
  threads,
  source: model === TINY ? TINY_FILE : `/${FILES[dtype]}`,
  prompts,
  quick,
});

/** In the order of their turns; `quick` holds the prompts of a quick run, or is missing where that leaves it out. */
const VARIANTS = [
  cacher(GPT2, "q8", 1, ALL, ALL),
  transformers(1, SHORT),
  cacher(GPT2, "q8", 2, ALL, ALL),
  wllama(GPT2, "q4_k", 1, ALL, SHORT),
  cacher(GPT2, "q4", 1, ALL, ALL),
  transformers(2),
  cacher(GPT2, "q4", 2, ALL, ALL),
  wllama(GPT2, "q8_0", 1, MIDDLE),
  cacher(GPT2, "q5", 1, ALL),
  wllama(GPT2, "q4_k", 2, ALL),
  cacher(GPT2, "q5", 2, ALL),
  wllama(GPT2, "q8_0", 2, MIDDLE),
  cacher(GPT2, "f32", 1, MIDDLE, SHORT),
  cacher(TINY, "q8", 1, ALL, SHORT),
  cacher(TINY, "q8", 2, ALL),
  wllama(TINY, "q8_0", 1, SHORT),
  cacher(TINY, "f32", 1, SHORT),
];

/** The variants of a run, each with its version and the prompts of that run. */
export function chooseVariants({ quick, only, dtypes }) {
  return VARIANTS.filter(
    (variant) =>
      (!quick || variant.quick !== undefined) &&
      (only === undefined || only.includes(variant.engine)) &&
      (dtypes === undefined || variant.engine !== "cacher" || dtypes.includes(variant.dtype)),
  ).map(({ quick: quickPrompts, ...variant }) => ({
    ...variant,
    version: versionOf(variant.engine),
    prompts: quick ? quickPrompts : variant.prompts,
  }));
}

/** The variants whose states are measured: the default format's, in a quick run with one thread. */
export function chooseStateVariants({ quick, only, dtypes }) {
  if (only !== undefined && !only.includes(STATES)) return [];
  const threads = quick ? [1] : [1, 2];
  return threads
    .map((count) => ({ ...cacher(GPT2, "q8", count), version: versionOf("cacher") }))
    .filter(({ dtype }) => dtypes === undefined || dtypes.includes(dtype));
}

/** What the cache of responses is measured with: no model, then the default format of each; threads matter to computing alone. */
export function chooseResponseVariants({ only, dtypes }) {
  if (only !== undefined && !only.includes(RESPONSES)) return [];
  const version = versionOf("cacher");
  const models = [TINY, GPT2].map((model) => ({ ...cacher(model, "q8", 1), version }));
  return [
    { engine: "cacher", version, model: NONE, dtype: NONE, threads: 1 },
    ...models.filter(({ dtype }) => dtypes === undefined || dtypes.includes(dtype)),
  ];
}

/** What generation is measured with: the default format of each model, with one thread. A trained one is among them, since what sampling costs depends on the distribution. */
export function chooseGenerationVariants(options) {
  return chooseDefaults(GENERATION, options);
}

/** What analysis is measured with: the same. */
export function chooseAnalysisVariants(options) {
  return chooseDefaults(ANALYSIS, options);
}

function chooseDefaults(part, { only, dtypes }) {
  if (only !== undefined && !only.includes(part)) return [];
  return [TINY, GPT2]
    .map((model) => ({ ...cacher(model, "q8", 1), version: versionOf("cacher") }))
    .filter(({ dtype }) => dtypes === undefined || dtypes.includes(dtype));
}

/** "Cacher q8, 2 threads". */
export function nameOf({ engine, model, dtype, threads }) {
  const where = model === TINY ? `, ${TINY}` : "";
  return `${ENGINES[engine].label} ${dtype}, ${threads} thread${threads === 1 ? "" : "s"}${where}`;
}
