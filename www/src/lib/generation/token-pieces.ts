/**
 * A text that was written, as the tokens it came from: which part of it each
 * made. Tokens that share a character make it with the last of them.
 */

import type { TokenLogprobs } from "cacher-wasm";

export interface TokenPiece {
  token: TokenLogprobs;
  /** Its part of the text; empty where that is a piece of a character, or nothing. */
  content: string;
  /** Whether its text is not, or not yet, in the output: what ended it, or what is held back. */
  outside: boolean;
}

/** What stands for bytes that are no whole character. */
const UNKNOWN = "\uFFFD";

export function toPieces(text: string, tokens: readonly TokenLogprobs[]): TokenPiece[] {
  const pieces: TokenPiece[] = [];
  let at = 0;
  for (const [index, token] of tokens.entries()) {
    const end = endOf(text, at, tokens, index);
    pieces.push({ token, content: text.slice(at, end), outside: at >= text.length });
    at = end;
  }
  return pieces;
}

/** Where the part of the token at `index` ends, which begins at `at`. */
function endOf(text: string, at: number, tokens: readonly TokenLogprobs[], index: number): number {
  const own = tokens[index]!.text;
  if (own !== "" && !own.includes(UNKNOWN) && text.startsWith(own, at)) return at + own.length;
  // What comes before the next token that can be found is of this one and those between.
  const next = tokens.slice(index + 1).findIndex((token) => token.text !== "" && !token.text.includes(UNKNOWN));
  if (next === 0) {
    const found = text.indexOf(tokens[index + 1]!.text, at);
    return found >= 0 ? found : text.length;
  }
  return next < 0 && index + 1 === tokens.length ? text.length : at;
}

/** How sure the model was: from 0, sure, to 4, a surprise. */
export function band(probability: number): 0 | 1 | 2 | 3 | 4 {
  if (probability >= 0.8) return 0;
  if (probability >= 0.4) return 1;
  if (probability >= 0.15) return 2;
  return probability >= 0.03 ? 3 : 4;
}

/** The lower end of each band, in per cent. */
export const bands = [80, 40, 15, 3, 0] as const;

/** Which of the two probabilities is shown. */
export type Shown = "model" | "drawn";

/** Of a token, 0 where the options rule it out. */
export function probabilityOf({ logprob, processedLogprob }: Pick<TokenLogprobs, "logprob" | "processedLogprob">, shown: Shown): number {
  if (shown === "model") return Math.exp(logprob);
  return processedLogprob === null ? 0 : Math.exp(processedLogprob);
}

/** A token as it can be named in a sentence. */
export function spell(text: string): string {
  return `“${text.replaceAll("\n", "↵").replaceAll("\t", "⇥")}”`;
}
