/**
 * Commands and their options, in one table: what is parsed and what `--help`
 * says come from it both.
 */

export interface Option {
  /** What stands for the value in `--help`; none: a switch. */
  value?: string;
  /** May be given several times. */
  several?: true;
  /** A letter that means the same. */
  short?: string;
  help: string;
}

export const OPTIONS = {
  model: { value: "MODEL", help: "a path (./folder/, ./file.gguf), a URL, a hub repository (owner/name), or tiny-gpt2 in ./models/" },
  dtype: { value: "q8|q5|q4|f32", help: "number format of the weights (default: q8)" },

  "max-tokens": { value: "N", help: "most tokens to generate (default: 128)" },
  temperature: { value: "X", help: "0 takes the most probable token (default: 1)" },
  "top-k": { value: "N", help: "keep the N most probable tokens; 0: all (default: 50)" },
  "top-p": { value: "X", help: "keep the most probable tokens that reach X together (default: 1)" },
  "min-p": { value: "X", help: "keep tokens at least X times as probable as the best (default: 0)" },
  "repetition-penalty": { value: "X", help: "above 1: against repetition (default: 1)" },
  seed: { value: "N", help: "the same seed gives the same text (default: a fresh one)" },
  stop: { value: "TEXT", several: true, help: "end before this text; may be given several times" },
  set: { value: "NAME=VALUE", several: true, help: "any other option of cacher.generate, its value as JSON, else as text: --set noRepeatNgramSize=3" },

  cache: { help: "use the cache also where chance decides the answer and no seed is set" },
  "no-cache": { help: "neither read nor write the cache" },
  "only-cached": { help: "answer from the cache, or fail" },
  refresh: { help: "compute, and keep the answer in place of what is there" },
  "cache-backend": { value: "memory|file|redis", help: "where answers are kept (default: file)" },
  "cache-dir": { value: "DIR", help: "folder of the backend file" },
  "redis-url": { value: "URL", help: "of a Webdis or Upstash-style server, for the backend redis" },
  "redis-kind": { value: "webdis|upstash", help: "which of them it is (default: webdis)" },
  "redis-prefix": { value: "TEXT", help: "put before each key in Redis (default: cacher:)" },
  "cache-ttl": { value: "TIME", help: "how long an answer is kept: seconds, or 30s, 5m, 2h, 7d; 0: for ever (default: 0)" },
  tag: { value: "TAG", several: true, help: "to find and to delete answers by; may be given several times" },
  replay: { value: "instant|recorded", help: "how a kept answer comes: at once, or in the time that it took (default: instant)" },

  "older-than": { value: "TIME", help: "those computed longer ago than this: 7d, 12h, 30m" },
  remote: { help: "delete in Redis, where others may use the answers too" },
  search: { value: "TEXT", help: "those with this in the beginning of the prompt, a tag or the key" },
  limit: { value: "N", help: "most lines (default: 20)" },
  concurrency: { value: "N", help: "how many are computed at a time (default: 1)" },

  json: { help: "one JSON object on stdout, and errors as JSON on stderr" },
  help: { short: "h", help: "show this" },
  version: { help: "show the version" },
} as const satisfies Record<string, Option>;

export type OptionName = keyof typeof OPTIONS;

const BACKEND = ["cache-backend", "cache-dir", "redis-url", "redis-kind", "redis-prefix"] as const;
const GENERATION = [
  ...["model", "dtype", "max-tokens", "temperature", "top-k", "top-p", "min-p", "repetition-penalty", "seed", "stop", "set"] as const,
];

export interface Command {
  usage: string;
  help: string;
  /** Besides `json` and `help`. */
  options: readonly OptionName[];
  /** Where an option means something else here. */
  otherwise?: Partial<Record<OptionName, Option>>;
}

export const COMMANDS = {
  run: {
    usage: 'run "PROMPT" --model MODEL',
    help: "continue a prompt; `-` reads it from stdin",
    options: [...GENERATION, "cache", "no-cache", "only-cached", "refresh", ...BACKEND, "cache-ttl", "tag", "replay"],
  },
  "cache-stats": { usage: "cache-stats", help: "how much is kept, and what it has saved", options: BACKEND },
  "cache-list": { usage: "cache-list", help: "what is kept, last used first", options: [...BACKEND, "search", "limit"] },
  "cache-clear": {
    usage: "cache-clear",
    help: "delete answers: all, or those that fit what is given",
    options: [...BACKEND, "tag", "model", "older-than", "remote"],
    otherwise: {
      model: { value: "SHA256", help: "those of the model whose weights have this SHA-256, which cache-stats tells" },
      tag: { value: "TAG", several: true, help: "those with this tag, or with any of several" },
    },
  },
  "cache-warm": {
    usage: "cache-warm FILE --model MODEL",
    help: 'compute ahead: one prompt a line, as text or as {"prompt": "…", "options": {…}}; `-` reads stdin',
    options: [...GENERATION, ...BACKEND, "cache-ttl", "tag", "concurrency"],
  },
} as const satisfies Record<string, Command>;

export type CommandName = keyof typeof COMMANDS;
