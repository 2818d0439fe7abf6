/**
 * A GPT-2 that says what it is told to, byte by byte.
 *
 * Its tokens are the 256 bytes, so every character beyond ASCII is split
 * across tokens. Attention and MLP are zero; the position embeddings alone
 * decide: at position p the likeliest token is byte p of the script. A greedy
 * continuation of one token is therefore the script, through the very same
 * code as any other model's.
 */

const VOCABULARY = 257;
const END = 256;
const WIDTH = 264;
const INNER = 4;

/** The files of a model whose greedy continuation of any one token is `script`, then end-of-text. */
export function scriptedModel(script) {
  const bytes = Buffer.from(script);
  const positions = bytes.length + 1;
  return {
    "config.json": JSON.stringify({
      model_type: "gpt2",
      architectures: ["GPT2LMHeadModel"],
      activation_function: "gelu_new",
      layer_norm_epsilon: 1e-5,
      vocab_size: VOCABULARY,
      n_positions: positions,
      n_embd: WIDTH,
      n_layer: 1,
      n_head: 1,
      n_inner: INNER,
      bos_token_id: END,
      eos_token_id: END,
    }),
    "tokenizer.json": JSON.stringify(tokenizer()),
    "model.safetensors": weights([...bytes, END]),
  };
}

function weights(script) {
  const zero = (...shape) => ({ shape, values: new Float32Array(shape.reduce((a, b) => a * b)) });
  const oneHot = (ids, height) => {
    const matrix = zero(ids.length, WIDTH);
    ids.forEach((id, row) => (matrix.values[row * WIDTH + id] = height));
    return matrix;
  };
  const ones = { shape: [WIDTH], values: new Float32Array(WIDTH).fill(1) };
  return safetensors({
    "wte.weight": oneHot(Array.from({ length: VOCABULARY }, (_, id) => id), 1),
    "wpe.weight": oneHot(script, 10),
    "h.0.ln_1.weight": ones,
    "h.0.ln_1.bias": zero(WIDTH),
    "h.0.attn.c_attn.weight": zero(WIDTH, 3 * WIDTH),
    "h.0.attn.c_attn.bias": zero(3 * WIDTH),
    "h.0.attn.c_proj.weight": zero(WIDTH, WIDTH),
    "h.0.attn.c_proj.bias": zero(WIDTH),
    "h.0.ln_2.weight": ones,
    "h.0.ln_2.bias": zero(WIDTH),
    "h.0.mlp.c_fc.weight": zero(WIDTH, INNER),
    "h.0.mlp.c_fc.bias": zero(INNER),
    "h.0.mlp.c_proj.weight": zero(INNER, WIDTH),
    "h.0.mlp.c_proj.bias": zero(WIDTH),
    "ln_f.weight": ones,
    "ln_f.bias": zero(WIDTH),
  });
}

function safetensors(tensors) {
  const header = {};
  let offset = 0;
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, (offset += values.byteLength)] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const data = Object.values(tensors).map(({ values }) => Buffer.from(values.buffer));
  return Buffer.concat([length, json, ...data]);
}

function tokenizer() {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true };
  const content = "<|endoftext|>";
  const vocab = Object.fromEntries(byteCharacters().map((character, byte) => [character, byte]));
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [
      { id: END, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    ],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: { ...vocab, [content]: END },
      merges: [],
    },
  };
}

/** GPT-2's spelling of each byte: itself where it is printable, else a character from U+0100 on. */
function byteCharacters() {
  const printable = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}
