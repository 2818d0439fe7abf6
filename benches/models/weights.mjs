/**
 * The weights that every engine runs: GPT-2's 124M shape, random, the same on
 * every machine.
 *
 * Speed depends on shapes and formats, not on what a model has learnt, so no
 * download is needed. A weight is one of 65536 values of a normal distribution,
 * each exact in half precision, picked by a generator seeded with the tensor's
 * name: any writer can make any tensor at any time, and all get the same bits.
 */
import { fromHalf, toHalf } from "./half.mjs";

export const CONFIG = {
  architectures: ["GPT2LMHeadModel"],
  model_type: "gpt2",
  activation_function: "gelu_new",
  layer_norm_epsilon: 1e-5,
  n_layer: 12,
  n_embd: 768,
  n_head: 12,
  n_ctx: 1024,
  n_positions: 1024,
  vocab_size: 50257,
  bos_token_id: 50256,
  eos_token_id: 50256,
};

/** Spread of the weights: what GPT-2 is initialised with. */
const DEVIATION = 0.02;

/** The linear layers of a block, with the factors of `n_embd` they take in and give out. */
export const LINEARS = [
  { name: "attn.c_attn", inputs: 1, outputs: 3 },
  { name: "attn.c_proj", inputs: 1, outputs: 1 },
  { name: "mlp.c_fc", inputs: 1, outputs: 4 },
  { name: "mlp.c_proj", inputs: 4, outputs: 1 },
];

/** Weights that are multiplied for every token: the linear layers and the head. */
export const MULTIPLIED =
  CONFIG.vocab_size * CONFIG.n_embd +
  CONFIG.n_layer * LINEARS.reduce((sum, { inputs, outputs }) => sum + inputs * outputs, 0) * CONFIG.n_embd ** 2;

/** Name and shape of every tensor, by Hugging Face's names; matrices are `[in, out]`. */
export function tensors() {
  const { n_embd, n_layer, n_positions, vocab_size } = CONFIG;
  const norm = (name) => ["weight", "bias"].map((kind) => ({ name: `${name}.${kind}`, shape: [n_embd] }));
  const blocks = Array.from({ length: n_layer }, (_, layer) => [
    ...norm(`h.${layer}.ln_1`),
    ...norm(`h.${layer}.ln_2`),
    ...LINEARS.flatMap(({ name, inputs, outputs }) => [
      { name: `h.${layer}.${name}.weight`, shape: [inputs * n_embd, outputs * n_embd] },
      { name: `h.${layer}.${name}.bias`, shape: [outputs * n_embd] },
    ]),
  ]);
  return [
    { name: "wte.weight", shape: [vocab_size, n_embd] },
    { name: "wpe.weight", shape: [n_positions, n_embd] },
    ...blocks.flat(),
    ...norm("ln_f"),
  ];
}

const sizes = new Map(tensors().map(({ name, shape }) => [name, shape.reduce((a, b) => a * b)]));

/** The normal distribution's quantile, good to 5e-4 (Abramowitz and Stegun 26.2.23). */
function quantile(p) {
  if (p > 0.5) return -quantile(1 - p);
  const t = Math.sqrt(-2 * Math.log(p));
  const above = 2.515517 + t * (0.802853 + t * 0.010328);
  return above / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
}

const table = Uint16Array.from({ length: 65536 }, (_, i) => toHalf(DEVIATION * quantile((i + 0.5) / 65536)));

/** A generator of 32 random bits (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
}

/** FNV-1a. */
const seedOf = (name) => [...name].reduce((hash, c) => Math.imul(hash ^ c.charCodeAt(0), 0x01000193), 0x811c9dc5);

/** A tensor's values in half precision. */
export function halves(name) {
  const values = new Uint16Array(sizes.get(name));
  if (/ln_\w+\.weight$/.test(name)) return values.fill(toHalf(1));
  const next = random(seedOf(name));
  for (let i = 0; i < values.length; i += 2) {
    const bits = next();
    values[i] = table[bits & 0xffff];
    values[i + 1] = table[bits >>> 16];
  }
  return values;
}

const widened = Float32Array.from({ length: 65536 }, (_, bits) => fromHalf(bits));

/** The same values as numbers. */
export function floats(name) {
  return Float32Array.from(halves(name), (bits) => widened[bits]);
}

/** A matrix `[rows, columns]` as `[columns, rows]`. */
export function transposed(values, rows, columns) {
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) result[column * rows + row] = values[row * columns + column];
  }
  return result;
}
