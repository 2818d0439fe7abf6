/** How long a text becomes, and what ends it. */

import { ABOVE_ZERO, NOT_NEGATIVE, SHARE, choice, flag, ids, idsOrNone, number, pattern, texts, whole } from "./codecs.ts";
import { part, single, switchable, together, type Group } from "./control.ts";

export const length: Group = {
  id: "length",
  name: "Length",
  help: "How many tokens are written at most and at least.",
  open: true,
  options: [
    single("maxTokens", whole(), { label: "Max tokens", help: "A token is about ¾ of an English word.", kind: "number", initial: "128", fallback: "128" }),
    single("minNewTokens", whole(), { label: "Min new tokens", help: "No end of text before the output has so many.", kind: "number" }),
    single("minLength", whole(), { label: "Min length", help: "The same, the prompt’s tokens counted in.", kind: "number", fallback: "0" }),
    together(
      "exponentialDecayLengthPenalty",
      [
        { ...part("exponentialDecayLengthPenalty.start", { label: "Decay: start", help: "From this token on, the end of text becomes likelier.", kind: "number", fallback: "off" }), codec: whole() },
        { ...part("exponentialDecayLengthPenalty.factor", { label: "Decay: factor", help: "By so much a token; above 1.", kind: "number", fallback: "off" }), codec: number(ABOVE_ZERO) },
      ],
      true,
    ),
    single("forcedEosTokenId", ids, { label: "Forced last token", help: "Ids for the last token; of several, the likeliest.", kind: "line" }),
  ],
};

export const stopping: Group = {
  id: "stopping",
  name: "Stopping",
  help: "What ends the text before it has all its tokens. The status line then says what it was.",
  options: [
    single("stop", texts, { label: "Stop strings", help: "Ends before any of these, one a line. Write \\n for a line break.", kind: "area" }),
    single("includeStop", flag, { label: "Keep the stop string", help: "Or the text of the stop token.", kind: "switch", fallback: "off" }),
    single("stopAt", choice, {
      label: "Stop after",
      help: "The first of these that is complete.",
      kind: "choice",
      fallback: "nothing",
      choices: [
        { value: "", name: "nothing" },
        { value: "line", name: "a line" },
        { value: "sentence", name: "a sentence" },
        { value: "paragraph", name: "a paragraph" },
      ],
    }),
    single("stopTokenIds", ids, { label: "Stop tokens", help: "Ids that end the text, with commas between.", kind: "line" }),
    single("eosTokenIds", idsOrNone, { label: "End-of-text tokens", help: "Ids in place of the model’s own. Write none for text without end.", kind: "line", fallback: "the model’s" }),
    single("maxTimeMs", number(NOT_NEGATIVE), { label: "Max time", help: "In milliseconds.", kind: "number" }),
    single("stopBelowProbability", number(SHARE), { label: "Least probability", help: "Ends before a token that the model thinks less likely.", kind: "number", fallback: "0" }),
    single("stopAboveEntropy", number(NOT_NEGATIVE), { label: "Most entropy", help: "Ends where the model is less sure, in nats.", kind: "number" }),
    switchable("stopOnLoop", { label: "Stop in loops", help: "Ends where the text goes in circles." }, [
      { ...part("stopOnLoop.maxPeriod", { label: "Loop: longest", help: "In tokens.", kind: "number", fallback: "64" }), codec: whole(1, 256) },
      { ...part("stopOnLoop.repeats", { label: "Loop: times", help: "That it stands there one after the other.", kind: "number", fallback: "4" }), codec: whole(2, 64) },
    ]),
    single("stopWhen", pattern, { label: "Stop when", help: "A callback, asked at every token. Here: whether the text matches this regular expression.", kind: "line" }),
  ],
};
