/**
 * Merges the chunks of a stream into larger ones, and loses nothing: the chunks
 * that come out have, put together, all text, tokens and other lists of those
 * that went in.
 *
 * Text may be cut inside a chunk; tokens go with the chunk that has the end of
 * their text.
 */

import type { GenerationChunk } from "../wasm/cacher_wasm.js";
import { type Boundaries, lineEnds, segmenterOf, sentenceEnds, wordEnds } from "./boundaries.js";
import type { Chunking } from "./types.js";

/** A pure transform, but for the clock that it is told. */
export interface Chunker {
  /** What is complete now that `chunk` has come, at `now` milliseconds. */
  take(chunk: GenerationChunk, now: number): GenerationChunk[];
  /** What was held back. */
  end(): GenerationChunk[];
  /** When, in milliseconds of the same clock, what is held back is complete without more coming. */
  readonly due: number | undefined;
}

export function chunkerOf(chunking: Chunking): Chunker {
  if (chunking === "word") return new TextChunker(wordEnds(segmenterOf("word")));
  if (chunking === "sentence") return new TextChunker(sentenceEnds(segmenterOf("sentence")));
  if (chunking === "line") return new TextChunker(lineEnds);
  if (chunking === "token") return new WholeChunker(() => true);
  if ("ms" in chunking) return new TimeChunker(chunking.ms);
  if ("tokens" in chunking) return new WholeChunker(({ tokens }) => tokens.length >= chunking.tokens);
  return new WholeChunker(({ text }) => [...text].length >= chunking.characters);
}

/** Holds chunks back until there are enough. */
class WholeChunker implements Chunker {
  readonly #enough: (held: GenerationChunk) => boolean;
  #held: GenerationChunk | undefined;
  readonly due = undefined;

  constructor(enough: (held: GenerationChunk) => boolean) {
    this.#enough = enough;
  }

  take(chunk: GenerationChunk): GenerationChunk[] {
    this.#held = this.#held === undefined ? chunk : merge(this.#held, chunk);
    return this.#enough(this.#held) ? this.end() : [];
  }

  end(): GenerationChunk[] {
    const held = this.#held;
    this.#held = undefined;
    return held === undefined ? [] : [held];
  }
}

/** Holds chunks back for some time from the first on. */
class TimeChunker implements Chunker {
  readonly #ms: number;
  #held: GenerationChunk | undefined;
  due: number | undefined;

  constructor(ms: number) {
    this.#ms = ms;
  }

  take(chunk: GenerationChunk, now: number): GenerationChunk[] {
    const made = this.due !== undefined && now >= this.due ? this.end() : [];
    this.due ??= now + this.#ms;
    this.#held = this.#held === undefined ? chunk : merge(this.#held, chunk);
    return made;
  }

  end(): GenerationChunk[] {
    const held = this.#held;
    this.#held = undefined;
    this.due = undefined;
    return held === undefined ? [] : [held];
  }
}

/** Cuts the text at boundaries. */
class TextChunker implements Chunker {
  readonly #boundaries: Boundaries;
  /** Chunks whose text has not all been given on. */
  readonly #held: GenerationChunk[] = [];
  /** That text. */
  #text = "";
  readonly due = undefined;

  constructor(boundaries: Boundaries) {
    this.#boundaries = boundaries;
  }

  take(chunk: GenerationChunk): GenerationChunk[] {
    this.#held.push(chunk);
    this.#text += chunk.text;
    let cut = 0;
    return this.#boundaries(this.#text).map((end) => {
      const made = this.#cut(end - cut);
      cut = end;
      return made;
    });
  }

  end(): GenerationChunk[] {
    return this.#held.length === 0 ? [] : [this.#cut(this.#text.length)];
  }

  /** Takes the first `length` of the text, and the chunks that end in it. */
  #cut(length: number): GenerationChunk {
    const parts: GenerationChunk[] = [];
    let left = length;
    for (let first = this.#held[0]; first !== undefined && first.text.length <= left; first = this.#held[0]) {
      left -= first.text.length;
      parts.push(first);
      this.#held.shift();
    }
    const [first] = this.#held;
    if (first !== undefined) this.#held[0] = { ...first, text: first.text.slice(left) };
    const text = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    return { ...parts.reduce(merge, { text: "", tokens: [] }), text };
  }
}

/** Two chunks as one: lists are put together, numbers added. */
function merge(a: GenerationChunk, b: GenerationChunk): GenerationChunk {
  const merged: Record<string, unknown> = { ...a };
  for (const [name, value] of Object.entries(b)) {
    const before = merged[name];
    if (Array.isArray(before) && Array.isArray(value)) merged[name] = [...before, ...(value as unknown[])];
    else if (typeof before === "number" && typeof value === "number") merged[name] = before + value;
    else if (value !== undefined && value !== null) merged[name] = value;
  }
  return { ...(merged as unknown as GenerationChunk), text: a.text + b.text };
}
