/**
 * The random models are what they claim to be.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHalf, toHalf } from "../models/half.mjs";
import { integer, nested, string } from "../models/protobuf.mjs";
import { MULTIPLIED, floats, halves, random, tensors, transposed } from "../models/weights.mjs";
import { isWhole, tokens } from "../models/tokenizer.mjs";
import { prompt } from "../lib/prompts.mjs";

test("halves are the nearest, ties to even", () => {
  for (const [value, bits] of [[0, 0], [1, 0x3c00], [-2, 0xc000], [65504, 0x7bff], [1e9, 0x7c00], [1 + 2 ** -11, 0x3c00], [1 + 3 * 2 ** -11, 0x3c02]]) {
    assert.equal(toHalf(value), bits, String(value));
  }
  for (const bits of [0x3c00, 0x0400, 0x7bff, 0xb555]) assert.equal(toHalf(fromHalf(bits)), bits);
});

test("the shape is GPT-2's with 124M weights", () => {
  const count = tensors().reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b), 0);
  assert.equal(count, 124_439_808);
  assert.equal(MULTIPLIED, 123_532_032);
});

test("a tensor is the same each time, normally distributed, and not another's", () => {
  const values = floats("h.3.attn.c_proj.weight");
  const mean = values.reduce((a, b) => a + b) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  assert.ok(Math.abs(mean) < 1e-4 && Math.abs(deviation - 0.02) < 1e-3, `${mean} ${deviation}`);
  assert.deepEqual(halves("h.3.attn.c_proj.weight"), halves("h.3.attn.c_proj.weight"));
  assert.notDeepEqual(halves("h.3.attn.c_proj.weight"), halves("h.4.attn.c_proj.weight"));
  assert.ok(floats("h.3.ln_1.weight").every((value) => value === 1));
  assert.notEqual(random(1)(), random(2)());
});

test("a matrix is turned", () => {
  assert.deepEqual(transposed(Float32Array.of(1, 2, 3, 4, 5, 6), 2, 3), Float32Array.of(1, 4, 2, 5, 3, 6));
});

test("messages are encoded as the format's documentation shows", () => {
  const hex = (parts) => Buffer.concat(parts).toString("hex");
  assert.equal(hex(integer(1, 150)), "089601");
  assert.equal(hex(string(2, "testing")), "120774657374696e67");
  assert.equal(hex(nested(3, integer(1, 150))), "1a03089601");
  assert.equal(hex(integer(1, -1)), "08ffffffffffffffffff01");
});

test("prompts have the length asked for, and differ", () => {
  const [one, two] = [prompt(128), prompt(128)];
  assert.equal(one.ids.length, 128);
  assert.equal(one.text.trim().split(" ").length, 128);
  assert.notDeepEqual(one.ids, two.ids);
});

test("tokens that are a part of a character are told from whole ones", () => {
  // "Ġ" is a space, "Ã©" is "é", "Ã" is its first byte, "âĢ" two of three.
  assert.deepEqual(["Ġthe", "Ã©", "Ã", "âĢ", "!"].map(isWhole), [true, true, false, false, true]);
  const parts = tokens().filter((token) => token !== "<|endoftext|>" && !isWhole(token));
  assert.ok(parts.length > 128 && parts.length < 2000, String(parts.length));
});
