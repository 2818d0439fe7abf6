/** What entries can be invalidated by, and what is typed for it as the cache takes it. */

import type { Invalidation } from "cacher-wasm";
import { splitTags } from "./cache-settings.svelte.ts";

export type Criterion = "tags" | "model" | "age";

export interface CriterionWords {
  name: string;
  label: string;
  help: string;
  /** What is wrong where something is typed that cannot be used. */
  rule: string;
}

export const criteria: Readonly<Record<Criterion, CriterionWords>> = {
  tags: { name: "Tag", label: "Tags to delete", help: "Entries with any of these; with commas between them.", rule: "At least one tag." },
  model: {
    name: "Model",
    label: "Model to delete",
    help: "SHA-256 of its weights. Filled in: the model in use. An entry’s details have that of others.",
    rule: "64 hexadecimal digits.",
  },
  age: { name: "Age", label: "Older than", help: "In seconds, since they were computed. 0: all up to now.", rule: "A whole number of seconds." },
};

/** `null` where nothing, or nothing of use, is typed. */
export function toInvalidation(criterion: Criterion, typed: string): Invalidation | null {
  const text = typed.trim();
  switch (criterion) {
    case "tags": {
      const tags = splitTags(text);
      return tags.length > 0 ? { tags } : null;
    }
    case "model":
      return /^[0-9a-f]{64}$/i.test(text) ? { model: text.toLowerCase() } : null;
    case "age":
      return /^\d{1,9}$/.test(text) ? { olderThanMs: Number(text) * 1000 } : null;
  }
}
