/** What tokens cost or gain beside what the model says of them. */

import { ABOVE_ZERO, FINITE, flag, ids, number, sequence, sequenceBiases, sequences, tokenBiases, tokenIdOnly, whole } from "./codecs.ts";
import { single, type Group } from "./control.ts";

const TEXT = "Write \\n for a line break, [464, 318] for token ids.";

export const penalties: Group = {
  id: "penalties",
  name: "Penalties and bans",
  help: "What tokens cost or gain beside what the model says: against repetition, for or against certain words.",
  options: [
    single("repetitionPenalty", number(ABOVE_ZERO), {
      label: "Repetition penalty",
      help: "Above 1, avoids words already used.",
      kind: "slider",
      initial: "1.1",
      fallback: "1",
      scale: { min: 1, max: 2, step: 0.01 },
      off: { at: 1, meaning: "off" },
    }),
    single("frequencyPenalty", number(FINITE), { label: "Frequency penalty", help: "For each time that the output has the token.", kind: "number", fallback: "0" }),
    single("presencePenalty", number(FINITE), { label: "Presence penalty", help: "Once, where the output has the token.", kind: "number", fallback: "0" }),
    single("noRepeatNgramSize", whole(), { label: "No repeated n-grams", help: "No run of so many tokens comes twice; 0 is off.", kind: "number", fallback: "0" }),
    single("badWords", sequences, { label: "Bad words", help: `Never written, one a line. ${TEXT}`, kind: "area" }),
    single("sequenceBias", sequenceBiases, { label: "Sequence bias", help: `One a line: a number, a space, a text. “-5 the sea” makes it rarer. ${TEXT}`, kind: "area" }),
    single("logitBias", tokenBiases, { label: "Token bias", help: "One a line: a number or “never”, a space, one token’s text or id. A second space belongs to the text.", kind: "area" }),
    single("suppressTokens", ids, { label: "Suppressed tokens", help: "Ids that are never chosen, with commas between.", kind: "line" }),
    single("beginSuppressTokens", ids, { label: "Suppressed at first", help: "Ids that are not chosen as the first token.", kind: "line" }),
    single("forcedBosTokenId", tokenIdOnly, { label: "Forced first token", help: "Id of the token after a prompt of one token.", kind: "line" }),
    single("removeInvalidValues", flag, { label: "Replace invalid scores", help: "Instead of an error where the model gives no numbers.", kind: "switch", fallback: "off" }),
    single("renormalizeLogits", flag, { label: "Renormalise scores", help: "Changes what is reported, not what is chosen.", kind: "switch", fallback: "off" }),
  ],
};

export const guidance: Group = {
  id: "guidance",
  name: "Guidance",
  help: "Go further from what the model would write without the prompt. Each token then costs two.",
  options: [
    single("guidanceScale", number(FINITE), { label: "Guidance scale", help: "1 is off, 1.5 follows the prompt more closely.", kind: "number", fallback: "1" }),
    single("negativePrompt", sequence, { label: "Negative prompt", help: `What to go away from. ${TEXT}`, kind: "area", fallback: "the prompt’s last token" }),
  ],
};
