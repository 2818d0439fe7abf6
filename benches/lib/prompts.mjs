/**
 * Prompts of an exact number of tokens, as ids and as text, never one twice.
 *
 * Each token is a whole word with the space before it, so that a tokenizer
 * makes of the text just these tokens. No two prompts begin alike: a cache of
 * prompts must not help.
 */
import { tokens } from "../models/tokenizer.mjs";
import { random } from "../models/weights.mjs";

const words = tokens()
  .map((token, id) => ({ id, text: token.replace("Ġ", " ") }))
  .filter(({ text }) => /^ [a-z]{2,}$/.test(text));

const next = random(1);

export function prompt(length) {
  const chosen = Array.from({ length }, () => words[next() % words.length]);
  return { ids: chosen.map(({ id }) => id), text: chosen.map(({ text }) => text).join("") };
}
