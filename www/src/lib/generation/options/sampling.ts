/** Which of the likely tokens are kept, and what changes that while a text is written. */

import { ABOVE_ZERO, CUTOFF, NOT_NEGATIVE, PART, SHARE, choice, number, seed, whole } from "./codecs.ts";
import { needed, parsed, part, single, switchable, together, type Drafts, type Group, type Option } from "./control.ts";

/** Initial values suit small models: somewhat cool, and wary of repetition. */
export const sampling: Group = {
  id: "sampling",
  name: "Sampling",
  help: "The model gives every token a score. These say from which of them the next one is drawn.",
  open: true,
  options: [
    single("temperature", number(NOT_NEGATIVE), {
      label: "Temperature",
      help: "Low is predictable, high is daring.",
      kind: "slider",
      initial: "0.7",
      fallback: "1",
      scale: { min: 0, max: 2, step: 0.05 },
      off: { at: 0, meaning: "greedy" },
    }),
    single("topK", whole(), { label: "Top-k", help: "Keep this many likeliest; 0 keeps all.", kind: "number", initial: "50", fallback: "50" }),
    single("topP", number(PART), {
      label: "Top-p",
      help: "Keep the likeliest that add up to this.",
      kind: "slider",
      initial: "0.9",
      fallback: "1",
      scale: { min: 0.05, max: 1, step: 0.01 },
      off: { at: 1, meaning: "off" },
    }),
    single("minP", number(SHARE), {
      label: "Min-p",
      help: "Drop what is far less likely than the best.",
      kind: "slider",
      initial: "0",
      fallback: "0",
      scale: { min: 0, max: 0.5, step: 0.01 },
      off: { at: 0, meaning: "off" },
    }),
    single("typicalP", number(PART), { label: "Typical-p", help: "Keep what is about as surprising as is to be expected here, up to this share.", kind: "number", fallback: "1" }),
    single("topH", number(PART), { label: "Top-h", help: "Keep the likeliest, up to this part of the entropy.", kind: "number", fallback: "off" }),
    single("epsilonCutoff", number(CUTOFF), { label: "Epsilon cutoff", help: "Drop what is less probable than this.", kind: "number", fallback: "0" }),
    single("etaCutoff", number(CUTOFF), { label: "Eta cutoff", help: "The same, and laxer where the model is unsure.", kind: "number", fallback: "0" }),
    single("seed", seed, { label: "Seed", help: "Same seed, prompt, settings: same text.", kind: "line", fallback: "fresh each time" }),
  ],
};

const BY_ENTROPY = "Where the model is sure of one token it is the least, where it is not, the most.";

export const schedules: Group = {
  id: "schedules",
  name: "Schedules and Mirostat",
  help: "Values that change while the text is written. Each takes the place of the fixed one.",
  options: [
    temperatureSchedule(),
    together("adaptiveTopK", [
      { ...part("adaptiveTopK.min", { label: "Adaptive top-k, least", help: BY_ENTROPY, kind: "number", fallback: "off" }), codec: whole(1, 1_000_000) },
      { ...part("adaptiveTopK.max", { label: "Adaptive top-k, most", help: "At least as many.", kind: "number", fallback: "off" }), codec: whole(1, 1_000_000) },
    ]),
    together("adaptiveTopP", [
      { ...part("adaptiveTopP.min", { label: "Adaptive top-p, least", help: BY_ENTROPY, kind: "number", fallback: "off" }), codec: number(PART) },
      { ...part("adaptiveTopP.max", { label: "Adaptive top-p, most", help: "At least as much.", kind: "number", fallback: "off" }), codec: number(PART) },
    ]),
    switchable("mirostat", { label: "Mirostat", help: "Aims at a surprise. The filters above then do nothing." }, [
      { ...part("mirostat.tau", { label: "Mirostat: surprise", help: "In bits a token.", kind: "number", fallback: "5" }), codec: number(ABOVE_ZERO) },
      { ...part("mirostat.eta", { label: "Mirostat: speed", help: "How fast it corrects itself.", kind: "number", fallback: "0.1" }), codec: number(SHARE) },
    ]),
  ],
};

function temperatureSchedule(): Option {
  const name = "temperatureSchedule";
  const kind = part(name, {
    label: "Temperature schedule",
    help: "Towards another temperature, or by how sure the model is.",
    kind: "choice",
    fallback: "none",
    choices: [
      { value: "", name: "none" },
      { value: "linear", name: "linear" },
      { value: "cosine", name: "cosine" },
      { value: "entropy", name: "by entropy" },
    ],
  });
  const byEntropy = (drafts: Drafts) => drafts[name] === "entropy";
  const towards = (drafts: Drafts) => drafts[name] === "linear" || drafts[name] === "cosine";
  const to = part(`${name}.to`, { label: "Schedule: to", help: "The temperature in the end.", kind: "number", fallback: "needed", shown: towards });
  const tokens = part(`${name}.tokens`, { label: "Schedule: tokens", help: "Until it gets there.", kind: "number", fallback: "needed", shown: towards });
  const min = part(`${name}.min`, { label: "Schedule: least", help: "The temperature where the model is sure.", kind: "number", fallback: "needed", shown: byEntropy });
  const max = part(`${name}.max`, { label: "Schedule: most", help: "And where all tokens are equally likely.", kind: "number", fallback: "needed", shown: byEntropy });
  const exponent = part(`${name}.exponent`, { label: "Schedule: exponent", help: "Above 1, nearer to the least.", kind: "number", fallback: "1", shown: byEntropy });
  return {
    name,
    controls: [kind, to, tokens, min, max, exponent],
    read: (drafts) => {
      const type = parsed(drafts, kind, choice);
      if (type === undefined) return undefined;
      if (type !== "entropy") return { type, to: needed(drafts, to, number(ABOVE_ZERO)), tokens: needed(drafts, tokens, whole(1)) };
      const power = parsed(drafts, exponent, number(ABOVE_ZERO));
      return {
        type,
        min: needed(drafts, min, number(ABOVE_ZERO)),
        max: needed(drafts, max, number(ABOVE_ZERO)),
        ...(power === undefined ? {} : { exponent: power }),
      };
    },
    write: (value) => {
      const { type, ...numbers } = value as { type: string } & Record<string, number>;
      return { [name]: type, ...Object.fromEntries(Object.entries(numbers).map(([key, number]) => [`${name}.${key}`, String(number)])) };
    },
  };
}
