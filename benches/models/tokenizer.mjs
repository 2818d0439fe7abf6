/**
 * GPT-2's tokenizer, from the vocabulary of the tests, in the forms that the
 * engines read.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/lib/process.mjs";

const read = (name) => readFileSync(join(root, "tests", "fixtures", "gpt2-tokenizer", name), "utf8");

export const END_OF_TEXT = "<|endoftext|>";

/** Merge rules, best first. */
export const merges = () => read("merges.txt").trimEnd().split("\n").slice(1);

const vocabulary = () => JSON.parse(read("vocab.json"));

/** Tokens in the order of their ids. */
export function tokens() {
  const list = [];
  for (const [token, id] of Object.entries(vocabulary())) list[id] = token;
  return list;
}

/** Hugging Face's tokenizer.json. */
export function tokenizerJson() {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true };
  const vocab = vocabulary();
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [{ id: vocab[END_OF_TEXT], content: END_OF_TEXT, ...special }],
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
      vocab,
      merges: merges(),
    },
  };
}

/** The byte that each character of a token stands for: visible ones for themselves, the others from 256 on. */
const byteOf = new Map();
for (let byte = 0, next = 256; byte < 256; byte++) {
  const visible = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  byteOf.set(String.fromCharCode(visible ? byte : next++), byte);
}

/** Whether a token's bytes are characters by themselves, not a part of one. */
export function isWhole(token) {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(token, (character) => byteOf.get(character)));
    return true;
  } catch {
    return false;
  }
}
