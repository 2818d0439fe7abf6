/** What the output has to be, what is told of it, and how it is run and streamed. */

import { captured, choice, flag, heads, json, texts, whole, type Sequence } from "./codecs.ts";
import { needed, parsed, part, single, type Codec, type Drafts, type Group, type Option } from "./control.ts";

export const constraint: Group = {
  id: "constraint",
  name: "Constraint",
  help: "The output is made to match: tokens that could not lead there are ruled out.",
  options: [constrained()],
};

export const context: Group = {
  id: "context",
  name: "Context and speed",
  help: "What becomes of texts longer than the model can read, and how they are read.",
  options: [
    single("contextPolicy", choice, {
      label: "When the context is full",
      help: "Nothing is ever dropped without being told.",
      kind: "choice",
      fallback: "error",
      choices: [
        { value: "", name: "error, or end there" },
        { value: "truncate-start", name: "drop the oldest" },
        { value: "truncate-middle", name: "drop from the middle" },
        { value: "keep-prefix", name: "keep the beginning" },
      ],
    }),
    single("keepPrefixTokens", whole(), { label: "Beginning kept", help: "In tokens, where the beginning is kept.", kind: "number", fallback: "0" }),
    single("promptLookupNumTokens", whole(0, 32), { label: "Prompt lookup", help: "Drafts of so many tokens from the text itself: faster where it repeats. 0 is off.", kind: "number", fallback: "0" }),
    single("cachePrompt", flag, {
      label: "Reuse what was read",
      help: "Take from the KV cache what it has of the prompt.",
      kind: "choice",
      fallback: "yes",
      choices: [
        { value: "", name: "yes" },
        { value: "false", name: "no" },
      ],
    }),
    single("parseSpecial", flag, { label: "Read special tokens", help: "<|endoftext|> in the prompt is then the token, not its letters.", kind: "switch", fallback: "off" }),
  ],
};

export const telling: Group = {
  id: "telling",
  name: "What is told",
  help: "How likely each token was, and what else might have come. The view “Tokens” of the output asks for 8.",
  options: [single("logprobs", whole(0, 100), { label: "Alternatives", help: "Told of each token, with their log-probabilities.", kind: "number", fallback: "nothing told" })],
};

export const inside: Group = {
  id: "inside",
  name: "Inside the model",
  help: "What is taken out of the model, and what is kept of its attention. “Look inside” shows which heads matter.",
  options: [
    single("ablateHeads", heads, { label: "Heads taken out", help: "As layer.head, such as 0.3, 2.1: their output is replaced by zero.", kind: "line", fallback: "none" }),
    single("captureAttention", captured, {
      label: "Attention kept",
      help: "“all”, or layers such as 0, 2: an analysis of this text need not compute it again.",
      kind: "line",
      fallback: "none",
    }),
  ],
};

const SIZES: readonly string[] = ["tokens", "characters", "ms"];

/** How the text comes; it makes no other text. */
export const streaming: Group = {
  id: "streaming",
  name: "Streaming",
  help: "How the text comes to the page. It makes no other text.",
  options: [
    chunking(),
    single("highWaterMark", whole(1), { label: "High-water mark", help: "How many chunks the engine may be ahead of the page.", kind: "number", fallback: "64" }),
  ],
};

function constrained(): Option {
  const name = "constraint";
  const kinds: Readonly<Record<string, Codec<never>>> = {
    regex: { parse: (text: string) => text as never, format: String },
    choices: texts as unknown as Codec<never>,
    jsonSchema: json as Codec<never>,
  };
  const is = (kind: string) => (drafts: Drafts) => drafts[name] === kind;
  const kind = part(name, {
    label: "The output is",
    help: "As a whole; it ends when it is complete.",
    kind: "choice",
    fallback: "free",
    choices: [
      { value: "", name: "free" },
      { value: "regex", name: "a match of a pattern" },
      { value: "choices", name: "one of some texts" },
      { value: "jsonSchema", name: "JSON of a schema" },
    ],
  });
  const parts = [
    part(`${name}.regex`, { label: "Pattern", help: "A regular expression for the whole output.", kind: "line", fallback: "needed", shown: is("regex") }),
    part(`${name}.choices`, { label: "Allowed texts", help: "One a line. Write \\n for a line break.", kind: "area", fallback: "needed", shown: is("choices") }),
    part(`${name}.jsonSchema`, { label: "Schema", help: "As JSON: types, properties, enums, lengths.", kind: "area", fallback: "needed", shown: is("jsonSchema") }),
  ];
  return {
    name,
    controls: [kind, ...parts],
    read: (drafts) => {
      const chosen = parsed(drafts, kind, choice);
      const codec = chosen === undefined ? undefined : kinds[chosen];
      return codec && { [chosen!]: needed(drafts, { key: `${name}.${chosen}` }, codec) };
    },
    write: (value) => {
      const [chosen, content] = Object.entries(value as Record<string, Sequence>)[0] ?? [""];
      return { [name]: chosen, [`${name}.${chosen}`]: kinds[chosen]?.format(content as never) ?? "" };
    },
  };
}

function chunking(): Option {
  const name = "chunk";
  const sized = (drafts: Drafts) => SIZES.includes(drafts[name] ?? "");
  const kind = part(name, {
    label: "Chunks",
    help: "What comes at a time.",
    kind: "choice",
    fallback: "token",
    choices: [
      { value: "", name: "tokens, as they come" },
      { value: "word", name: "words" },
      { value: "sentence", name: "sentences" },
      { value: "line", name: "lines" },
      { value: "tokens", name: "so many tokens" },
      { value: "characters", name: "so many characters" },
      { value: "ms", name: "so many milliseconds" },
    ],
  });
  const size = part(`${name}.size`, { label: "So many", help: "In a chunk, at least.", kind: "number", fallback: "needed", shown: sized });
  return {
    name,
    controls: [kind, size],
    read: (drafts) => {
      const chosen = parsed(drafts, kind, choice);
      return chosen !== undefined && sized(drafts) ? { [chosen]: needed(drafts, size, whole(1)) } : chosen;
    },
    write: (value): Drafts => {
      if (typeof value === "string") return { [name]: value === "token" ? "" : value };
      const [chosen, amount] = Object.entries(value as Record<string, number>)[0] ?? ["", 0];
      return { [name]: chosen, [`${name}.size`]: String(amount) };
    },
  };
}
