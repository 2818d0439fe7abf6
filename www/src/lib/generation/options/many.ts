/** Options of several texts at once: samples, and beams. */

import { FINITE, NOT_NEGATIVE, flag, number, tokenIdOnly, whole } from "./codecs.ts";
import { single, type Codec, type Group } from "./control.ts";

const earlyStopping: Codec<boolean | "never"> = {
  parse: (text) => (text === "never" ? "never" : text === "true"),
  format: String,
};

export const samples: Group = {
  id: "samples",
  name: "How many",
  help: "",
  options: [
    single("numSamples", whole(1, 16), { label: "Texts", help: "Text n has the seed after that of the one before.", kind: "number", initial: "3", fallback: "1" }),
    single("concurrency", whole(1, 256), { label: "At a time", help: "They share the passes through the model.", kind: "number", fallback: "8" }),
  ],
};

export const beams: Group = {
  id: "beams",
  name: "The search",
  help: "",
  options: [
    single("numBeams", whole(1, 64), { label: "Beams", help: "Followed at once.", kind: "number", initial: "4", fallback: "4" }),
    single("numReturnSequences", whole(1, 64), { label: "Returned", help: "So many of the best.", kind: "number", initial: "3", fallback: "1" }),
    single("lengthPenalty", number(FINITE), { label: "Length penalty", help: "Above 0 favours long texts, below 0 short ones.", kind: "number", fallback: "1" }),
    single("earlyStopping", earlyStopping, {
      label: "Early stopping",
      help: "When enough have ended.",
      kind: "choice",
      fallback: "when no better is likely",
      choices: [
        { value: "", name: "when no better is likely" },
        { value: "true", name: "at once" },
        { value: "never", name: "when no better is possible" },
      ],
    }),
    single("numBeamGroups", whole(1, 64), { label: "Groups", help: "Made to differ; a divisor of the beams.", kind: "number", fallback: "1" }),
    single("diversityPenalty", number(NOT_NEGATIVE), {
      label: "Diversity penalty",
      help: "What a token costs that an earlier group took, in nats. Needed with groups.",
      kind: "number",
      fallback: "0",
    }),
    single("padTokenId", tokenIdOnly, { label: "Padding token", help: "Id that a group which is done counts as taking.", kind: "line", fallback: "the end of text" }),
    single("doSample", flag, { label: "Draw by chance", help: "With the settings of Sampling, instead of taking the best.", kind: "switch", fallback: "off" }),
  ],
};
