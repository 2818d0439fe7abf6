/** Errors in words: what went wrong, and what a person can do about it. */

export interface Failure {
  message: string;
  /** What to try, where there is something to try. */
  advice: string | undefined;
  /** The stable code, for reports. */
  code: string;
}

const advice: Readonly<Partial<Record<string, string>>> = {
  "checksum-mismatch": "Generate downloads it anew.",
  "context-overflow": "The prompt is longer than the model can read: shorten it.",
  "engine-crashed": "Generate starts it anew.",
  "engine-unavailable": "Reload the page; if it stays so, check the connection.",
  "http-error": "Try again later, or choose another model.",
  "input-too-long": "Shorten the prompt.",
  "invalid-model-file": "If it was downloaded, delete it below and load it again.",
  "network-error": "Check the connection. What was downloaded is kept; Generate goes on from there.",
  "no-tokenizer": "Add the model’s tokenizer.json, or its vocab.json and merges.txt.",
  "not-a-model-file": "A GPT-2 model in .gguf or .safetensors form is needed.",
  "not-found": "Check the address.",
  "out-of-memory": "Close other tabs, or choose a smaller model.",
  "storage-full": "Delete a model below, or free space on the device.",
  "truncated-file": "If it was downloaded, delete it below and load it again.",
  "unsupported-model": "This page runs models of the GPT-2 family only.",
};

export function describeFailure(error: unknown): Failure {
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

/** Engine messages begin in lower case and carry no full stop. */
function sentence(message: string): string {
  const text = message.trim();
  const capital = /^[a-z]+\b(?!:)/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
