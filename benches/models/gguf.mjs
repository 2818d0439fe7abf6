/**
 * The model as llama.cpp reads it: GGUF with 8-bit blocks or with the 4-bit ones
 * that it runs fastest in WebAssembly.
 *
 * Every matrix has the same format. Vectors and the position table stay in f32, as llama.cpp's own
 * converter leaves them.
 */
import { fromHalf, toHalf } from "./half.mjs";
import { writeChunks } from "./output.mjs";
import { END_OF_TEXT, isWhole, merges, tokens } from "./tokenizer.mjs";
import { CONFIG, floats, tensors, transposed } from "./weights.mjs";

const ALIGNMENT = 32;

/** Of each format: its number, that of a file all in it, weights and bytes of a block. */
const FORMATS = {
  q8_0: { type: 8, file: 7, block: 32, blockBytes: 34, pack: packQ8 },
  q4_k: { type: 12, file: 14, block: 256, blockBytes: 144, pack: packQ4K },
};

/** A scale, then 32 signed bytes. */
function packQ8(values, start, block) {
  let largest = 0;
  for (let i = 0; i < 32; i++) largest = Math.max(largest, Math.abs(values[start + i]));
  const half = toHalf(largest / 127);
  const scale = fromHalf(half);
  block.setUint16(0, half, true);
  for (let i = 0; i < 32; i++) {
    const q = scale === 0 ? 0 : Math.round(values[start + i] / scale);
    block.setInt8(2 + i, Math.max(-127, Math.min(127, q)));
  }
}

/**
 * Eight groups of 32 nibbles. Each group has a factor and an offset of 6 bits,
 * in units that the block has in half precision.
 */
function packQ4K(values, start, block) {
  const groups = Array.from({ length: 8 }, (_, group) => {
    let least = 0;
    let most = 0;
    for (let i = start + 32 * group; i < start + 32 * (group + 1); i++) {
      least = Math.min(least, values[i]);
      most = Math.max(most, values[i]);
    }
    return { factor: (most - least) / 15, offset: -least };
  });
  const unit = (name) => toHalf(Math.max(...groups.map((group) => group[name])) / 63);
  const units = [unit("factor"), unit("offset")];
  units.forEach((half, i) => block.setUint16(2 * i, half, true));
  const [factorUnit, offsetUnit] = units.map(fromHalf);
  const sixBits = (value, unit) => (unit === 0 ? 0 : Math.min(63, Math.round(value / unit)));
  groups.forEach((group, i) => {
    const factor = sixBits(group.factor, factorUnit);
    const offset = sixBits(group.offset, offsetUnit);
    putSixBits(block, i, factor, offset);
    for (let k = 0; k < 32; k++) {
      const value = values[start + 32 * i + k] + offset * offsetUnit;
      const q = factor === 0 ? 0 : Math.max(0, Math.min(15, Math.round(value / (factor * factorUnit))));
      // Two groups share 32 bytes, the second in the high nibbles.
      const at = 16 + 32 * (i >> 1) + k;
      block.setUint8(at, i % 2 === 0 ? q : block.getUint8(at) | (q << 4));
    }
  });
}

/** Of 12 bytes the first 8 hold groups 0 to 3; groups 4 to 7 have 4 bits in the last, and 2 on top of the first. */
function putSixBits(block, group, factor, offset) {
  const at = 4 + group;
  if (group < 4) {
    block.setUint8(at, factor);
    block.setUint8(at + 4, offset);
    return;
  }
  block.setUint8(at + 4, (factor & 15) | ((offset & 15) << 4));
  block.setUint8(at - 4, block.getUint8(at - 4) | ((factor >> 4) << 6));
  block.setUint8(at, block.getUint8(at) | ((offset >> 4) << 6));
}

function quantised(values, { block: weights, blockBytes, pack }) {
  const bytes = new Uint8Array((values.length / weights) * blockBytes);
  for (let block = 0; block * weights < values.length; block++) {
    pack(values, block * weights, new DataView(bytes.buffer, block * blockBytes, blockBytes));
  }
  return bytes;
}

/** Numbers of the types of metadata. */
const UINT32 = 4;
const INT32 = 5;
const FLOAT32 = 6;
const STRING = 8;
const ARRAY = 9;

const TOKEN = { normal: 1, control: 3, unused: 5 };

const u32 = (value) => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const text = (value) => [u64(Buffer.byteLength(value)), Buffer.from(value)];
const entry = (key, type, ...value) => [...text(key), u32(type), ...value];
const number = (key, value) => entry(key, UINT32, u32(value));
const string = (key, value) => entry(key, STRING, ...text(value));
const strings = (key, list) => entry(key, ARRAY, u32(STRING), u64(list.length), ...list.flatMap(text));

/**
 * Parts of characters are declared unused, for which llama.cpp writes nothing:
 * a random model puts them together wrongly, and wllama breaks off at text that
 * is not UTF-8.
 */
function tokenType(token) {
  if (token === END_OF_TEXT) return TOKEN.control;
  return isWhole(token) ? TOKEN.normal : TOKEN.unused;
}

function metadata(format) {
  const vocabulary = tokens();
  const types = Int32Array.from(vocabulary, tokenType);
  return [
    string("general.architecture", "gpt2"),
    string("general.name", "random GPT-2 124M"),
    number("general.file_type", format.file),
    number("gpt2.block_count", CONFIG.n_layer),
    number("gpt2.context_length", CONFIG.n_positions),
    number("gpt2.embedding_length", CONFIG.n_embd),
    number("gpt2.feed_forward_length", 4 * CONFIG.n_embd),
    number("gpt2.attention.head_count", CONFIG.n_head),
    entry(
      "gpt2.attention.layer_norm_epsilon",
      FLOAT32,
      Buffer.from(Float32Array.of(CONFIG.layer_norm_epsilon).buffer),
    ),
    string("tokenizer.ggml.model", "gpt2"),
    string("tokenizer.ggml.pre", "gpt-2"),
    strings("tokenizer.ggml.tokens", vocabulary),
    entry("tokenizer.ggml.token_type", ARRAY, u32(INT32), u64(types.length), Buffer.from(types.buffer)),
    strings("tokenizer.ggml.merges", merges()),
    number("tokenizer.ggml.bos_token_id", CONFIG.bos_token_id),
    number("tokenizer.ggml.eos_token_id", CONFIG.eos_token_id),
  ];
}

const RENAMED = {
  "wte": "token_embd",
  "wpe": "position_embd",
  "ln_f": "output_norm",
  "ln_1": "attn_norm",
  "ln_2": "ffn_norm",
  "attn.c_attn": "attn_qkv",
  "attn.c_proj": "attn_output",
  "mlp.c_fc": "ffn_up",
  "mlp.c_proj": "ffn_down",
};

/** llama.cpp's name of a tensor: `h.0.ln_1.bias` is `blk.0.attn_norm.bias`. */
function ggufName(name) {
  const [, layer = "", part, kind] = /^(?:h\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name);
  return `${layer === "" ? "" : `blk.${layer}.`}${RENAMED[part]}.${kind}`;
}

/** What a tensor is in the file: its lengths innermost first, its bytes' number, and how to make them. */
function describe({ name, shape }, format) {
  const count = shape.reduce((a, b) => a * b);
  const isVector = shape.length === 1;
  if (isVector || name === "wpe.weight") {
    return { type: 0, lengths: [...shape].reverse(), bytes: count * 4, make: () => floats(name) };
  }
  // The embedding's rows lie as llama.cpp wants them; the other matrices are turned.
  const upright = name === "wte.weight";
  return {
    type: format.type,
    lengths: upright ? [shape[1], shape[0]] : shape,
    bytes: (count / format.block) * format.blockBytes,
    make: () => quantised(upright ? floats(name) : transposed(floats(name), ...shape), format),
  };
}

const padding = (length) => -length & (ALIGNMENT - 1);

/** Writes the file; `formatName` is one of `FORMATS`. */
export function writeGguf(path, formatName) {
  const format = FORMATS[formatName];
  const described = tensors().map((tensor) => ({ name: ggufName(tensor.name), ...describe(tensor, format) }));
  const entries = metadata(format);
  let offset = 0;
  const index = described.flatMap(({ name, type, lengths, bytes }) => {
    const at = offset;
    offset += bytes + padding(bytes);
    return [...text(name), u32(lengths.length), ...lengths.map(u64), u32(type), u64(at)];
  });
  const header = Buffer.concat([
    Buffer.from("GGUF"),
    u32(3),
    u64(described.length),
    u64(entries.length),
    ...entries.flat(),
    ...index,
  ]);
  writeChunks(
    path,
    (function* () {
      yield header;
      yield Buffer.alloc(padding(header.length));
      for (const { bytes, make } of described) {
        yield make();
        yield Buffer.alloc(padding(bytes));
      }
    })(),
  );
}
