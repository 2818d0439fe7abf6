/**
 * Values as they are typed: numbers, token ids, texts and lists of them. In
 * texts `\n`, `\t` and `\\` stand for what cannot be typed in a line.
 */

import { OptionProblem, type Codec } from "./control.ts";

interface Range {
  /** What may be given, in the engine's words. */
  words: string;
  has(value: number): boolean;
}

export const ABOVE_ZERO: Range = { words: "a number above 0", has: (value) => value > 0 };
export const NOT_NEGATIVE: Range = { words: "a number of at least 0", has: (value) => value >= 0 };
export const SHARE: Range = { words: "from 0 to 1", has: (value) => value >= 0 && value <= 1 };
/** Of probabilities that add up. */
export const PART: Range = { words: "above 0 and at most 1", has: (value) => value > 0 && value <= 1 };
export const CUTOFF: Range = { words: "at least 0 and below 1", has: (value) => value >= 0 && value < 1 };
export const FINITE: Range = { words: "a finite number", has: () => true };

/** Finite, and within `range`. */
export function number(range: Range): Codec<number> {
  return {
    parse: (text, key) => {
      const value = Number(text);
      // Blanks would be read as 0.
      if (text.trim() === "" || !Number.isFinite(value) || !range.has(value)) throw new OptionProblem(key, text.trim() || "blank", range.words);
      return value;
    },
    format: String,
  };
}

const LARGEST_COUNT = 2 ** 32 - 1;

/** Whole, from `min` to `max`. */
export function whole(min = 0, max = LARGEST_COUNT): Codec<number> {
  const words = max === LARGEST_COUNT ? `a whole number of at least ${min}` : `from ${min} to ${max}`;
  return number({ words, has: (value) => Number.isInteger(value) && value >= min && value <= max });
}

export const flag: Codec<boolean> = { parse: (text) => text === "true", format: String };

export const choice: Codec<string> = { parse: (text) => text, format: String };

const LARGEST_SEED = 2n ** 64n - 1n;

/** Numbers where JavaScript has them exactly, above that a bigint. */
export const seed: Codec<number | bigint> = {
  parse: (text, key) => {
    const digits = text.trim();
    if (!/^\d{1,20}$/.test(digits) || BigInt(digits) > LARGEST_SEED) throw new OptionProblem(key, digits, "an integer from 0 to 2^64-1");
    const value = BigInt(digits);
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
  },
  format: String,
};

/** With commas or spaces between them. */
export const ids: Codec<number[]> = {
  parse: (text, key) => text.split(/[\s,]+/).filter((id) => id !== "").map((id) => tokenId(id, key)),
  format: (value) => [value].flat().join(", "),
};

/** The same, where none at all is something else than nothing being set. */
export const idsOrNone: Codec<number[]> = {
  parse: (text, key) => (text.trim() === "none" ? [] : ids.parse(text, key)),
  format: (value) => (value.length === 0 ? "none" : ids.format(value)),
};

export const tokenIdOnly: Codec<number> = { parse: (text, key) => tokenId(text.trim(), key), format: String };

function tokenId(text: string, key: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new OptionProblem(key, text, "token ids: whole numbers of at least 0");
  return Number(text);
}

/** One text. */
export const text: Codec<string> = { parse: unescaped, format: escaped };

/** One a line. */
export const texts: Codec<string[]> = {
  parse: (typed) => lines(typed).map(unescaped),
  format: (value) => [value].flat().map(escaped).join("\n"),
};

export type Sequence = string | number[];

/** A text, or the ids of its tokens: `[464, 318]`. */
export const sequence: Codec<Sequence> = {
  parse: (typed, key) => {
    const list = /^\s*\[([\d\s,]*)\]\s*$/.exec(typed)?.[1];
    return list === undefined ? unescaped(typed) : ids.parse(list, key);
  },
  format: (value) => (typeof value === "string" ? escaped(value) : JSON.stringify(value)),
};

export const sequences: Codec<Sequence[]> = {
  parse: (typed, key) => lines(typed).map((line) => sequence.parse(line, key)),
  format: (value) => value.map(sequence.format).join("\n"),
};

/** A line each: a number, one space, a sequence. */
export const sequenceBiases: Codec<[Sequence, number][]> = {
  parse: (typed, key) =>
    lines(typed).map((line) => {
      const { bias, rest } = biased(line, key);
      return [sequence.parse(rest, key), Number(bias)];
    }),
  format: (value) => value.map(([of, bias]) => `${bias} ${sequence.format(of)}`).join("\n"),
};

/** A line each: a number or `never`, one space, a token's text or its id. */
export const tokenBiases: Codec<[string | number, number | false][]> = {
  parse: (typed, key) =>
    lines(typed).map((line) => {
      const { bias, rest } = biased(line, key, "never");
      return [/^\d+$/.test(rest) ? Number(rest) : unescaped(rest), bias === "never" ? false : Number(bias)];
    }),
  format: (value) =>
    (Array.isArray(value) ? value : Object.entries(value as Record<string, number | false>))
      .map(([token, bias]) => `${bias === false ? "never" : bias} ${typeof token === "string" ? escaped(token) : token}`)
      .join("\n"),
};

function biased(line: string, key: string, word?: string): { bias: string; rest: string } {
  const [, bias = "", rest = ""] = /^(\S+) (.+)$/.exec(line) ?? [];
  const known = bias === word || (bias !== "" && Number.isFinite(Number(bias)));
  const words = `lines of ${word === undefined ? "a number" : `a number or “${word}”`}, a space, and ${word === undefined ? "a text or ids" : "a token"}`;
  if (!known || rest === "") throw new OptionProblem(key, JSON.stringify(line), words);
  return { bias, rest };
}

export const json: Codec<unknown> = {
  parse: (typed, key) => {
    try {
      return JSON.parse(typed) as unknown;
    } catch (error) {
      throw new OptionProblem(key, "no JSON", `JSON: ${(error as Error).message}`);
    }
  },
  format: (value) => JSON.stringify(value, null, 2),
};

/** `layer.head` after `layer.head`; JSON where a head is replaced by numbers. */
export const heads: Codec<Head[]> = {
  parse: (typed, key) => {
    if (typed.startsWith("[")) return json.parse(typed, key) as Head[];
    return entriesOf(typed).map((word) => {
      const [, layer, head] = /^(\d+)\.(\d+)$/.exec(word) ?? [];
      if (layer === undefined) throw new OptionProblem(key, JSON.stringify(word), "a layer, a point and a head, such as 0.3");
      return { layer: Number(layer), head: Number(head) };
    });
  },
  format: (value) => (value.some(({ mean }) => mean) ? json.format(value) : value.map(({ layer, head }) => `${layer}.${head}`).join(", ")),
};

/** `all`, or layers; JSON where heads are chosen too. */
export const captured: Codec<{ layers?: number[]; heads?: number[] }> = {
  parse: (typed, key) => {
    if (typed.startsWith("{")) return json.parse(typed, key) as object;
    if (typed === "all") return {};
    const layers = entriesOf(typed).map(Number);
    if (!layers.every((layer) => Number.isInteger(layer) && layer >= 0)) throw new OptionProblem(key, JSON.stringify(typed), "“all”, or numbers of layers");
    return { layers };
  },
  format: ({ layers, heads, ...rest }) => {
    if (heads !== undefined || Object.keys(rest).length > 0) return json.format({ layers, heads, ...rest });
    return layers === undefined ? "all" : layers.join(", ");
  },
};

const entriesOf = (typed: string) => typed.split(/[\s,]+/).filter((word) => word !== "");

export interface Head {
  layer: number;
  head: number;
  mean?: number[] | null;
}

export const pattern: Codec<RegExp> = {
  parse: (typed, key) => {
    try {
      return new RegExp(typed, "u");
    } catch (error) {
      throw new OptionProblem(key, JSON.stringify(typed), `a regular expression: ${(error as Error).message}`);
    }
  },
  format: ({ source }) => source,
};

function lines(typed: string): string[] {
  return typed.split("\n").filter((line) => line !== "");
}

const CHARACTERS: Readonly<Record<string, string>> = { n: "\n", t: "\t", "\\": "\\" };
const LETTERS: Readonly<Record<string, string>> = { "\n": "\\n", "\t": "\\t", "\\": "\\\\" };

function unescaped(typed: string): string {
  return typed.replace(/\\([nt\\])/g, (_, letter: string) => CHARACTERS[letter]!);
}

function escaped(value: string): string {
  return value.replace(/[\n\t\\]/g, (character) => LETTERS[character]!);
}
