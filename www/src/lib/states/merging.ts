/** What a merge could not decide, and the answers in the form that the merge takes. */

import type { MergeConflict, MergeOptions } from "cacher-wasm";

export interface Disagreement {
  conflicts: readonly MergeConflict[];
  /** Settings that differ. */
  keys: readonly string[];
}

export type Choice = "ours" | "theirs" | "base" | "both" | "text";

export interface Answers {
  /** One for each conflict, in their order. */
  texts: { choice: Choice; text: string }[];
  settings: "ours" | "theirs";
}

export function disagreementOf(error: unknown): Disagreement {
  const { details } = error as { details?: Partial<Disagreement> | null };
  return { conflicts: details?.conflicts ?? [], keys: details?.keys ?? [] };
}

export function toOnConflict({ conflicts }: Disagreement, { texts, settings }: Answers): MergeOptions["onConflict"] {
  if (conflicts.length === 0) return settings;
  const answers = new Map(conflicts.map(({ index }, place) => [index, texts[place]!]));
  return ({ index }) => {
    const { choice, text } = answers.get(index) ?? { choice: settings, text: "" };
    return choice === "text" ? { text } : choice;
  };
}
