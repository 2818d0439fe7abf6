/** Errors in words: what went wrong, and what a person can do about it. */

export interface Failure {
  message: string;
  /** What to try, where there is something to try. */
  advice: string | undefined;
  /** The stable code, for reports. */
  code: string;
}

type Advice = Readonly<Partial<Record<string, string>>>;

const advice: Advice = {
  "checksum-mismatch": "Generate downloads it anew.",
  "checkpoint-not-found": "It may have been removed in another tab.",
  "context-overflow": "The prompt is longer than the model can read: shorten it.",
  "engine-crashed": "Generate starts it anew.",
  "engine-unavailable": "Reload the page; if it stays so, check the connection.",
  "http-error": "Try again later, or choose another model.",
  "invalid-cache-record": "Choose a file that this page exported.",
  "invalid-state-file": "Choose a file that this page exported.",
  "input-too-long": "Shorten the prompt.",
  "invalid-option": "It is marked among the options of the generation.",
  "invalid-model-file": "If it was downloaded, delete it below and load it again.",
  "merge-conflict": "Choose below what the merged text is to say.",
  "not-cached": "Choose another use of the answer cache, or generate it once.",
  "network-error": "Check the connection. What was downloaded is kept; Generate goes on from there.",
  "no-tokenizer": "Add the model’s tokenizer.json, or its vocab.json and merges.txt.",
  "not-a-model-file": "A GPT-2 model in .gguf or .safetensors form is needed.",
  "not-found": "Check the address.",
  "out-of-memory": "Close other tabs, or choose a smaller model.",
  "revision-not-found": "It may have gone with a state that was deleted.",
  "state-conflict": "What was not yet stored here is kept as a state of its own, in the list below.",
  "state-locked": "Finish or close the other tab, or fork the state and go on with the fork.",
  "state-not-found": "It was deleted, perhaps in another tab.",
  "storage-error": "The text is still in this tab: export what you want to keep.",
  "storage-full": "Delete a model below, or free space on the device.",
  "storage-newer": "A newer version of this page wrote what is stored: reload the page. Nothing was changed.",
  "truncated-file": "If it was downloaded, delete it below and load it again.",
  "unsupported-model": "This page runs models of the GPT-2 family only.",
  "unsupported-version": "A newer version of this page wrote it: reload the page and try again.",
};

/** Where the same code means something else when it is about states. */
const stateAdvice: Advice = {
  ...advice,
  "checksum-mismatch": "The file was damaged on its way: export it again.",
  "out-of-memory": "Close other tabs, or delete states that you no longer need.",
  "storage-full": "Delete states or models that you no longer need. What could not be stored stays in this tab until it closes.",
};

/** And when it is about kept answers. */
const cacheAdvice: Advice = {
  ...advice,
  "http-error": "The server refused: see its token and access in Settings.",
  "network-error": "Check the connection and the server’s address in Settings.",
  "not-cached": "It lies on the server alone, or is gone.",
  "not-found": "It was deleted or has expired.",
  "storage-full": "Delete models, states or answers that you no longer need.",
};

export function describeFailure(error: unknown): Failure {
  return describe(error, advice);
}

export function describeStateFailure(error: unknown): Failure {
  return describe(error, stateAdvice);
}

export function describeCacheFailure(error: unknown): Failure {
  return describe(error, cacheAdvice);
}

function describe(error: unknown, advice: Advice): Failure {
  const message = error instanceof Error ? error.message : String(error);
  const code = errorCode(error);
  return { message: sentence(message), advice: advice[code], code };
}

export function errorCode(error: unknown): string {
  if (typeof error === "object" && error !== null && "code" in error && typeof error.code === "string") {
    return error.code;
  }
  return error instanceof Error ? error.name : "unknown";
}

/** What an error carries beside its words; empty where that is nothing. */
export function errorDetails(error: unknown): Readonly<Record<string, unknown>> {
  const details = typeof error === "object" && error !== null && "details" in error ? error.details : null;
  return typeof details === "object" && details !== null ? { ...details } : {};
}

/** Engine messages begin in lower case and carry no full stop. */
function sentence(message: string): string {
  const text = message.trim();
  const capital = /^[a-z]+\b(?!:)/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
