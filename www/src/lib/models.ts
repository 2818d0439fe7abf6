/** The models the page offers by name. Sizes are stated before anything is downloaded. */

export interface NamedModel {
  id: string;
  /** What the package is asked for, and the id under which it stores it. */
  source: string;
  /** Bytes of the weights file, by far the largest part of the download. */
  bytes: number;
  note: string;
}

export const namedModels: readonly NamedModel[] = [
  {
    id: "tiny-gpt2",
    source: "tiny-gpt2",
    bytes: 42_854_752,
    note: "37 million weights, comes with this page. Fluent simple English, few facts.",
  },
  {
    id: "distilgpt2",
    source: "distilbert/distilgpt2@main",
    bytes: 352_824_413,
    note: "82 million weights, from Hugging Face. Half the layers of gpt2.",
  },
  {
    id: "gpt2",
    source: "openai-community/gpt2@main",
    bytes: 548_105_171,
    note: "124 million weights, from Hugging Face. The one OpenAI published in 2019.",
  },
];

/** A named model, an address, or files from the device. */
export type ModelChoice = string;
export const URL_CHOICE = "url";
export const FILES_CHOICE = "files";
export const modelChoices: readonly ModelChoice[] = [...namedModels.map(({ id }) => id), URL_CHOICE, FILES_CHOICE];

export function namedModel(choice: ModelChoice): NamedModel | undefined {
  return namedModels.find(({ id }) => id === choice);
}

/** What to call the chosen model in a few words. */
export function choiceName(choice: ModelChoice): string {
  if (choice === URL_CHOICE) return "from an address";
  return choice === FILES_CHOICE ? "from this device" : choice;
}
