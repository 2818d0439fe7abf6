/** How the chunks of a stream are merged: nothing is lost, and cuts are where they should be. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { lineEnds, segmenterOf, sentenceEnds, wordEnds } from "../dist/streaming/boundaries.js";
import { chunkerOf } from "../dist/streaming/chunking.js";

/** A generator of the same numbers below `n` for the same seed. */
function randomFrom(seed) {
  let state = seed * 2654435761 + 1;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** Texts with all that is awkward. */
const PIECES = ["Once", " upon", " a", " time", ",", " there", "'", "t", " Dr", ".", " Who", "?!", "\n", "\r\n", "\n\n", " ", "  ", "", "3", ".", "14", " “Yes", ".”", "我喜欢", "猫", "。", "é", "👩‍👩‍👧", "\u00a0", "\t", "U.S", ". and", " x-y"];

/** Chunks as an engine gives them: some without text, some of several tokens. */
function randomChunks(seed) {
  const random = randomFrom(seed);
  let id = 0;
  return Array.from({ length: random(40) }, () => {
    const text = Array.from({ length: random(3) }, () => PIECES[random(PIECES.length)]).join("");
    const tokens = Array.from({ length: random(4) === 0 ? random(4) : 1 }, () => id++);
    const dropped = random(10) === 0 ? { droppedTokens: random(5) + 1 } : {};
    return { text, tokens, logprobs: tokens.map((token) => ({ id: token, logprob: -token })), ...dropped };
  });
}

const CHUNKINGS = ["token", "word", "sentence", "line", { ms: 7 }, { tokens: 3 }, { characters: 10 }];

function run(chunking, chunks, random = () => 1) {
  const chunker = chunkerOf(chunking);
  let now = 0;
  const made = chunks.flatMap((chunk) => chunker.take(chunk, (now += random(5))));
  const rest = chunker.end();
  assert.deepEqual(chunker.end(), [], "its end is its end");
  return { made, rest, all: [...made, ...rest] };
}

test("whatever the chunking, no text, token or log-probability is lost, doubled or moved", () => {
  for (const chunking of CHUNKINGS) {
    for (let seed = 0; seed < 300; seed++) {
      const chunks = randomChunks(seed);
      const { all } = run(chunking, chunks, randomFrom(seed));
      assert.equal(all.map(({ text }) => text).join(""), chunks.map(({ text }) => text).join(""));
      assert.deepEqual(all.flatMap(({ tokens }) => tokens), chunks.flatMap(({ tokens }) => tokens));
      assert.deepEqual(all.flatMap(({ logprobs = [] }) => logprobs), chunks.flatMap(({ logprobs }) => logprobs));
      const dropped = (list) => list.reduce((sum, { droppedTokens = 0 }) => sum + droppedTokens, 0);
      assert.equal(dropped(all), dropped(chunks));
      for (const { tokens, logprobs = [] } of all) assert.deepEqual(logprobs.map(({ id }) => id), tokens);
    }
  }
});

test("tokens come with the chunk that has the end of their text, never before it", () => {
  for (const chunking of ["word", "sentence", "line"]) {
    for (let seed = 0; seed < 300; seed++) {
      const chunks = randomChunks(seed);
      const ends = new Map();
      let text = 0;
      for (const chunk of chunks) {
        text += chunk.text.length;
        for (const token of chunk.tokens) ends.set(token, text);
      }
      let given = 0;
      for (const { text: part, tokens } of run(chunking, chunks).all) {
        given += part.length;
        for (const token of tokens) assert.ok(ends.get(token) <= given, `${JSON.stringify(chunking)} ${seed}`);
      }
    }
  }
});

test("words, sentences and lines are the same however the text comes", () => {
  const text = "Once upon a time, there was Mr. Fox.  He can't swim!\n\n“Really?” I asked. In the U.S. and 3.14 cases, e.g. this one. End";
  const whole = { word: [], sentence: [], line: [] };
  for (const chunking of Object.keys(whole)) whole[chunking] = run(chunking, [{ text, tokens: [0] }]).all.map((chunk) => chunk.text);
  assert.deepEqual(whole.word.slice(0, 6), ["Once", " upon", " a", " time,", " there", " was"]);
  assert.ok(whole.word.includes(" can't"));
  assert.ok(whole.word.includes(" 3.14"));
  assert.deepEqual(whole.line, [text.slice(0, text.indexOf("\n") + 1), "\n", text.slice(text.indexOf("\n") + 2)]);
  assert.ok(whole.sentence.includes("He can't swim!\n"));
  assert.ok(whole.sentence.some((each) => each.startsWith("In the U.S. and 3.14")), whole.sentence.join("|"));
  for (let seed = 0; seed < 200; seed++) {
    const random = randomFrom(seed);
    const chunks = [];
    for (let at = 0; at < text.length; ) {
      const length = 1 + random(6);
      chunks.push({ text: text.slice(at, at + length), tokens: [at] });
      at += length;
    }
    for (const chunking of Object.keys(whole)) {
      assert.deepEqual(run(chunking, chunks).all.map((chunk) => chunk.text), whole[chunking], `${chunking} ${seed}`);
    }
  }
});

test("without a segmenter, white space and marks decide", () => {
  const cut = (boundaries, text) => [0, ...boundaries(text)].map((start, index, starts) => text.slice(start, starts[index + 1]));
  assert.deepEqual(cut(wordEnds(undefined), "a can't  do x"), ["a", " can't", "  do", " x"]);
  assert.deepEqual(cut(sentenceEnds(undefined), "One. Two?! “Three.”  Four 3.14 five\nsix"), ["One. ", "Two?! ", "“Three.”  ", "Four 3.14 five\n", "six"]);
  assert.deepEqual(cut(sentenceEnds(undefined), "Not yet. "), ["Not yet. "], "the next may be small");
  assert.deepEqual(cut(lineEnds, "a\n\r\nb"), ["a\n", "\r\n", "b"]);
});

test("scripts without spaces are cut between words, but not before the last", () => {
  const boundaries = wordEnds(segmenterOf("word"))("我喜欢猫");
  assert.ok(boundaries.length >= 1, "there are words");
  assert.ok(boundaries.every((end) => end < "我喜欢".length), "the last is not sure yet");
});

test("a word is given on as soon as the next begins", () => {
  const chunker = chunkerOf("word");
  const give = (text) => chunker.take({ text, tokens: [] }, 0).map((chunk) => chunk.text);
  assert.deepEqual(give("On"), []);
  assert.deepEqual(give("ce"), []);
  assert.deepEqual(give(" upon"), ["Once"]);
  assert.deepEqual(give(" a time"), [" upon", " a"]);
});

test("by number, a chunk has as much as was asked for, and no step is torn apart", () => {
  const chunks = Array.from({ length: 7 }, (_, id) => ({ text: "ab", tokens: [id] }));
  assert.deepEqual(run({ tokens: 3 }, chunks).all.map(({ tokens }) => tokens.length), [3, 3, 1]);
  assert.deepEqual(run({ characters: 5 }, chunks).all.map(({ text }) => text.length), [6, 6, 2]);
  // A character is a code point.
  assert.deepEqual(run({ characters: 2 }, [{ text: "👍", tokens: [0] }, { text: "👍", tokens: [1] }]).made.length, 1);
});

test("by time, a chunk has what came since its first", () => {
  const chunker = chunkerOf({ ms: 10 });
  const give = (text, now) => chunker.take({ text, tokens: [] }, now).map((chunk) => chunk.text);
  assert.equal(chunker.due, undefined);
  assert.deepEqual(give("a", 100), []);
  assert.equal(chunker.due, 110);
  assert.deepEqual(give("b", 109), []);
  assert.deepEqual(give("c", 111), ["ab"]);
  assert.equal(chunker.due, 121);
  assert.deepEqual(chunker.end().map((chunk) => chunk.text), ["c"]);
  assert.equal(chunker.due, undefined);
});
