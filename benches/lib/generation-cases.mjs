/**
 * What is compared with what, of generation.
 *
 * A group has a base, which is run before, between and after its cases. `how`
 * is what pages/generation.js does with options, `prepare` what it does before a
 * case is timed; `long` says that a few tokens are not enough. `metrics` names
 * what is told of each case, such as a difference from the base for each token,
 * or a ratio to it.
 */
import { prompt } from "./prompts.mjs";

/** The sections of the report, by which a case's name begins. */
export const SECTIONS = {
  base: "Without any of it",
  option: "Options",
  beams: "Beams",
  constraint: "Constraints",
  stream: "Streaming",
  batch: "Texts at once",
};

/** "generate option: topK 50". */
export const caseOf = (section, name) => `generate ${section}: ${name}`;

/** The section and name of a case; `undefined` of another part's. */
export function readCase(text) {
  const [, section, name] = /^generate (\w+): (.+)$/.exec(text) ?? [];
  return section === undefined ? undefined : { section, name };
}

export const BEAMS_METRIC = "over one beam's, ratio";

const GREEDY = { temperature: 0 };
/** Drawn from all tokens as they are. */
const SAMPLING = { topK: 0 };

const words = (count) => prompt(count).text.trim();
const phrases = (count, length) => Array.from({ length: count }, () => words(length));
const ids = (count) => [...new Set(prompt(count).ids)];

/** The same as the base: how far the others' figures can be trusted. */
const NOTHING = { name: "nothing (the noise)", options: {} };

/** What does something whether the best token is taken or one is drawn. */
const processors = () => [
  NOTHING,
  { name: "repetitionPenalty 1.2", options: { repetitionPenalty: 1.2 } },
  { name: "frequencyPenalty 0.5", options: { frequencyPenalty: 0.5 } },
  { name: "presencePenalty 0.5", options: { presencePenalty: 0.5 } },
  { name: "noRepeatNgramSize 3", options: { noRepeatNgramSize: 3 } },
  { name: "badWords, 100 texts", options: { badWords: phrases(100, 1) } },
  { name: "sequenceBias, 10 texts", options: { sequenceBias: phrases(10, 2).map((text) => [text, -2]) } },
  { name: "logitBias, 100 ids", options: { logitBias: ids(100).map((id) => [id, -2]) } },
  { name: "suppressTokens, 100 ids", options: { suppressTokens: ids(100) } },
  { name: "renormalizeLogits", options: { renormalizeLogits: true } },
  { name: "logprobs 0", options: { logprobs: 0 } },
  { name: "logprobs 8", options: { logprobs: 8 } },
  { name: "stop, 16 texts", options: { stop: phrases(16, 4) } },
  // No distribution over GPT-2's vocabulary has so much.
  { name: "stopAboveEntropy", options: { stopAboveEntropy: 11 } },
  { name: "guidanceScale 1.5", options: { guidanceScale: 1.5 } },
];

/** What is about drawing alone; and looking for loops, into which what is greedy soon gets. */
const warpers = () => [
  { name: "temperature 0.8", options: { temperature: 0.8 } },
  { name: "temperatureSchedule linear", options: { temperatureSchedule: { type: "linear", to: 0.5, tokens: 64 } } },
  { name: "temperatureSchedule entropy", options: { temperatureSchedule: { type: "entropy", min: 0.5, max: 1.5 } } },
  { name: "topH 0.4", options: { topH: 0.4 } },
  { name: "topK 50", options: { topK: 50 } },
  { name: "adaptiveTopK 10–100", options: { adaptiveTopK: { min: 10, max: 100 } } },
  { name: "topP 0.9", options: { topP: 0.9 } },
  { name: "adaptiveTopP 0.5–0.95", options: { adaptiveTopP: { min: 0.5, max: 0.95 } } },
  { name: "minP 0.05", options: { minP: 0.05 } },
  { name: "typicalP 0.9", options: { typicalP: 0.9 } },
  { name: "epsilonCutoff 0.0003", options: { epsilonCutoff: 3e-4 } },
  { name: "etaCutoff 0.0003", options: { etaCutoff: 3e-4 } },
  { name: "mirostat", options: { mirostat: {} } },
  { name: "temperature 0.8, topK 50, topP 0.9", options: { temperature: 0.8, topK: 50, topP: 0.9 } },
  { name: "stopOnLoop", options: { stopOnLoop: {} } },
];

const SCHEMA = {
  type: "array",
  minItems: 8,
  items: {
    type: "object",
    properties: {
      name: { type: "string", maxLength: 20 },
      age: { type: "integer", minimum: 0, maximum: 150 },
      kind: { enum: ["person", "animal", "plant"] },
    },
    required: ["name", "age", "kind"],
    additionalProperties: false,
  },
};

/** Each long enough for every token that is asked for. */
const constraints = () => [
  { name: "regex of words", options: { constraint: { regex: "[A-Z][a-z]+(,? [a-z]+){80}\\." } } },
  { name: "regex of dates", options: { constraint: { regex: "([0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\\n){20}" } } },
  { name: "choices, 80 of 80 words", options: { constraint: { choices: phrases(80, 80) } } },
  { name: "jsonSchema, 8 objects", options: { constraint: { jsonSchema: SCHEMA } } },
];

const streams = () => [
  { name: "result alone", read: "result" },
  NOTHING,
  ...["word", "sentence", "line"].map((chunk) => ({ name: `chunk ${chunk}`, options: { chunk } })),
  { name: "chunk of 50 ms", options: { chunk: { ms: 50 } } },
  { name: "chunk of 8 tokens", options: { chunk: { tokens: 8 } } },
  { name: "chunk of 32 characters", options: { chunk: { characters: 32 } } },
  { name: "highWaterMark 1", options: { highWaterMark: 1 } },
  { name: "onProgress", callback: "onProgress" },
  { name: "stopWhen", callback: "stopWhen" },
  { name: "textStream()", read: "textStream" },
  { name: "toEventStream()", read: "toEventStream" },
  { name: "logprobs 8", options: { logprobs: 8 } },
];

const beams = (numBeams, more) => ({ numBeams, ...more });

/** The groups of one round, with texts of its own among their options. */
export const groups = () => [
  {
    section: "option",
    how: "decode",
    base: { name: "greedy", options: GREEDY },
    cases: processors(),
    metrics: { extra: "over greedy", ratio: "over greedy, ratio" },
  },
  {
    section: "option",
    how: "decode",
    base: { name: "sampling", options: SAMPLING },
    cases: [{ name: "greedy", options: GREEDY }, ...processors(), ...warpers()],
    metrics: { extra: "over sampling", ratio: "over sampling, ratio" },
  },
  {
    section: "beams",
    how: "beams",
    base: { name: "one beam", options: beams(1) },
    cases: [
      { name: "3", options: beams(3) },
      { name: "5", options: beams(5) },
      { name: "8", options: beams(8) },
      { name: "5, doSample", options: beams(5, { doSample: true }) },
      { name: "6 in 3 groups", options: beams(6, { numBeamGroups: 3, diversityPenalty: 1 }) },
    ],
    metrics: { time: "a step", ratio: BEAMS_METRIC },
  },
  {
    section: "constraint",
    how: "decode",
    long: true,
    prepare: "forgetConstraints",
    base: { name: "free, beside new constraints", options: SAMPLING },
    cases: constraints(),
    metrics: { extra: "new, over free", ratio: "new, over free, ratio" },
  },
  {
    section: "constraint",
    how: "decode",
    long: true,
    // The same text: every state has been come to.
    prepare: "repeat",
    base: { name: "free, beside known constraints", options: SAMPLING },
    cases: constraints(),
    metrics: { extra: "known, over free", ratio: "known, over free, ratio" },
  },
  {
    section: "constraint",
    how: "first",
    prepare: "forgetConstraints",
    base: { name: "free, from the call to the first token", options: SAMPLING },
    cases: constraints(),
    metrics: { later: "new, first token later by" },
  },
  {
    section: "stream",
    how: "read",
    long: true,
    base: { name: "read by tokens, from the call to the end", options: SAMPLING },
    cases: streams(),
    metrics: { extra: "over reading tokens", ratio: "over reading tokens, ratio" },
  },
  {
    section: "batch",
    how: "batch",
    base: { name: "one text by generateBatch", options: SAMPLING, count: 1 },
    cases: [2, 4, 8].map((count) => ({ name: String(count), count })),
    metrics: { time: "a step", speed: "tokens a second over one's, ratio" },
  },
];

/** What to record of a case that the page has measured, as `{ case, metric, unit, value }`. */
export function figuresOf({ section, metrics }, { name, count = 1 }, { ms, extraMs, ratio }) {
  const of = {
    extra: { unit: "µs/token", value: extraMs * 1e3 },
    later: { unit: "ms", value: extraMs },
    time: { unit: "ms", value: ms },
    ratio: { unit: "ratio", value: ratio },
    speed: { unit: "ratio", value: count / ratio },
  };
  return Object.entries(metrics).map(([kind, metric]) => ({ case: caseOf(section, name), metric, ...of[kind] }));
}
