/**
 * The model as transformers.js runs it: an ONNX decoder with a KV cache, its
 * matrices in 8 bits.
 *
 * The graph is what Hugging Face's exporter makes of GPT-2, and the 8 bits are
 * what onnxruntime's `quantize_dynamic` makes of that with transformers.js' own
 * settings: a scale for each output, 7 bits of range, activations quantised as
 * they come. onnxruntime fuses each such group of nodes into one kernel. Where
 * an exporter has a choice, the faster one is taken: LayerNorm and GELU are
 * single nodes, and only the logits that are asked for are computed.
 */
import { Graph } from "./onnx-file.mjs";
import { CONFIG, LINEARS, floats, transposed } from "./weights.mjs";

const { n_embd, n_head, n_layer, vocab_size, n_positions, layer_norm_epsilon } = CONFIG;
const HEAD = n_embd / n_head;
const BATCH = "batch_size";
const SEQUENCE = "sequence_length";
const PAST = "past_sequence_length";
const TOTAL = "total_sequence_length";
/** The largest integer of 64 bits: slices up to the end. */
const END = (1n << 63n) - 1n;
/** Keeps a sum of products of two 8-bit numbers within 16 bits, as processors without VNNI need. */
const REDUCED_RANGE = 64;
const LOWEST = -3.4028234663852886e38;

/** A matrix `[inputs, outputs]` in 8 bits, with a scale for each output. */
function quantiseColumns(values, inputs, outputs) {
  const scales = new Float32Array(outputs);
  for (let i = 0; i < values.length; i++) {
    const column = i % outputs;
    scales[column] = Math.max(scales[column], Math.abs(values[i]));
  }
  for (let column = 0; column < outputs; column++) scales[column] = scales[column] / REDUCED_RANGE || 1;
  const quantised = Int8Array.from(values, (value, i) => Math.round(value / scales[i % outputs]));
  return { quantised, scales, shape: [inputs, outputs] };
}

class Decoder extends Graph {
  /** Rows of a table in 8 bits with one scale. */
  embedding(name, shape, ids) {
    const values = floats(`${name}.weight`);
    const scale = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) / 127;
    const quantised = Int8Array.from(values, (value) => Math.round(value / scale));
    const rows = this.node("Gather", [this.constant(`${name}_quantized`, quantised, shape), ids]);
    return this.node("DequantizeLinear", [
      rows,
      this.constant(`${name}_scale`, Float32Array.of(scale), []),
      this.constant(`${name}_zero_point`, Int8Array.of(0), []),
    ]);
  }

  norm(name, x) {
    const [weight, bias] = ["weight", "bias"].map((kind) =>
      this.constant(`${name}.${kind}`, floats(`${name}.${kind}`)),
    );
    return this.node("LayerNormalization", [x, weight, bias], { axis: -1, epsilon: layer_norm_epsilon });
  }

  /** A product with a matrix in 8 bits. */
  product(name, x, { quantised, scales, shape }) {
    const [bytes, scale, zero] = this.node("DynamicQuantizeLinear", [x], { outputs: 3 });
    const sum = this.node("MatMulInteger", [
      bytes,
      this.constant(`${name}_quantized`, quantised, shape),
      zero,
      this.constant(`${name}_zero_point`, new Int8Array(shape[1])),
    ]);
    const bothScales = this.node("Mul", [scale, this.constant(`${name}_scale`, scales)]);
    return this.node("Mul", [this.node("Cast", [sum], { to: 1 }), bothScales]);
  }

  linear(name, x, inputs, outputs) {
    const product = this.product(
      `${name}.weight`,
      x,
      quantiseColumns(floats(`${name}.weight`), inputs, outputs),
    );
    return this.node("Add", [product, this.constant(`${name}.bias`, floats(`${name}.bias`))]);
  }

  /** The causal mask, and the caller's: what is added to the scores. */
  mask(attentionMask, firstKey) {
    const past = this.node("Squeeze", [this.node("Shape", [firstKey], { start: 2, end: 3 })]);
    const total = this.node("Squeeze", [this.node("Shape", [attentionMask], { start: 1, end: 2 })]);
    const columns = this.node("Range", [this.scalar(0), total, this.scalar(1)]);
    const rows = this.node("Range", [past, total, this.scalar(1)]);
    const later = this.node("Greater", [columns, this.node("Unsqueeze", [rows, this.integers(1)])]);
    const causal = this.node("Where", [later, this.number(LOWEST), this.number(0)]);
    const kept = this.node("Cast", [attentionMask], { to: 9 });
    const padding = this.node("Where", [kept, this.number(0), this.number(LOWEST)]);
    return this.node("Max", [
      this.node("Add", [causal, this.node("Unsqueeze", [padding, this.integers(1, 2)])]),
      this.number(LOWEST),
    ]);
  }

  /** `[batch, tokens, n_embd]` as `[batch, head, tokens, width]`. */
  heads(x) {
    return this.node("Transpose", [this.node("Reshape", [x, this.integers(0, 0, n_head, HEAD)])], {
      perm: [0, 2, 1, 3],
    });
  }

  attention(layer, x, mask, past) {
    const [c_attn, c_proj] = LINEARS;
    const all = this.linear(`h.${layer}.${c_attn.name}`, x, n_embd, 3 * n_embd);
    const parts = this.node("Split", [all], { outputs: 3, axis: 2, num_outputs: 3 });
    const [query, newKey, newValue] = parts.map((part) => this.heads(part));
    const [key, value] = [newKey, newValue].map((tokens, i) => {
      const kind = ["key", "value"][i];
      return this.node("Concat", [past[kind], tokens], { outputs: [`present.${layer}.${kind}`], axis: 2 });
    });
    const turned = this.node("Transpose", [key], { perm: [0, 1, 3, 2] });
    const scores = this.node("Mul", [this.node("MatMul", [query, turned]), this.number(HEAD ** -0.5)]);
    const weights = this.node("Softmax", [this.node("Add", [scores, mask])], { axis: -1 });
    const mixed = this.node("Transpose", [this.node("MatMul", [weights, value])], { perm: [0, 2, 1, 3] });
    const joined = this.node("Reshape", [mixed, this.integers(0, 0, n_embd)]);
    return this.linear(`h.${layer}.${c_proj.name}`, joined, n_embd, n_embd);
  }

  mlp(layer, x) {
    const [, , c_fc, c_proj] = LINEARS;
    const wide = this.linear(`h.${layer}.${c_fc.name}`, x, n_embd, 4 * n_embd);
    const active = this.node("Gelu", [wide], { approximate: "tanh" });
    return this.linear(`h.${layer}.${c_proj.name}`, active, 4 * n_embd, n_embd);
  }

  /** The head, for the last rows alone where `count` is not 0. */
  logits(x, count) {
    const start = this.node("Unsqueeze", [this.node("Neg", [count]), this.integers(0)]);
    const rows = this.node("Slice", [x, start, this.integers(END), this.integers(1)]);
    const head = quantiseColumns(transposed(floats("wte.weight"), vocab_size, n_embd), n_embd, vocab_size);
    const product = this.product("lm_head.weight", rows, head);
    this.node("Identity", [product], { outputs: ["logits"] });
  }
}

/** Writes the quantised decoder. */
export function writeOnnx(path) {
  const graph = new Decoder();
  const ids = graph.input("input_ids", "int64", [BATCH, SEQUENCE]);
  const attentionMask = graph.input("attention_mask", "int64", [BATCH, TOTAL]);
  const positions = graph.input("position_ids", "int64", [BATCH, SEQUENCE]);
  const count = graph.input("num_logits_to_keep", "int64", []);
  const layers = Array.from({ length: n_layer }, (_, layer) => layer);
  const pasts = layers.map((layer) => {
    const shape = [BATCH, n_head, PAST, HEAD];
    const [key, value] = ["key", "value"].map((kind) =>
      graph.input(`past_key_values.${layer}.${kind}`, "float", shape),
    );
    return { key, value };
  });
  graph.output("logits", "float", [BATCH, "num_logits", vocab_size]);
  for (const layer of layers) {
    for (const kind of ["key", "value"]) {
      graph.output(`present.${layer}.${kind}`, "float", [BATCH, n_head, TOTAL, HEAD]);
    }
  }

  let x = graph.node("Add", [
    graph.embedding("wte", [vocab_size, n_embd], ids),
    graph.embedding("wpe", [n_positions, n_embd], positions),
  ]);
  const mask = graph.mask(attentionMask, pasts[0].key);
  for (const layer of layers) {
    const attended = graph.attention(layer, graph.norm(`h.${layer}.ln_1`, x), mask, pasts[layer]);
    x = graph.node("Add", [x, attended]);
    x = graph.node("Add", [x, graph.mlp(layer, graph.norm(`h.${layer}.ln_2`, x))]);
  }
  graph.logits(graph.norm("ln_f", x), count);
  graph.write(path);
}
