/** What is told of each head, and in what order a table of them stands. */

import type { HeadsAnalysis, ImportanceAnalysis } from "cacher-wasm";

export interface Measure {
  id: "importance" | "previousToken" | "duplicateToken" | "induction" | "entropy" | "meanDistance" | "firstTokenMass";
  name: string;
  unit: string;
  digits: number;
  help: string;
}

export const measures: readonly Measure[] = [
  { id: "importance", name: "Importance", unit: "nats", digits: 2, help: "How much likelier the text is with the head than without it." },
  { id: "previousToken", name: "Previous token", unit: "share", digits: 2, help: "The part of its attention that goes to the token before." },
  { id: "duplicateToken", name: "Duplicate token", unit: "share", digits: 2, help: "To earlier places of the same token." },
  { id: "induction", name: "Induction", unit: "share", digits: 2, help: "To the token after an earlier place of the same token: “A B … A” looks at B." },
  { id: "entropy", name: "Entropy", unit: "nats", digits: 2, help: "How widely it looks: 0 is one token only." },
  { id: "meanDistance", name: "Distance", unit: "tokens", digits: 1, help: "How far back it looks." },
  { id: "firstTokenMass", name: "First token", unit: "share", digits: 2, help: "The part that goes to the first token, where heads look that have nothing to say." },
];

export interface Head {
  layer: number;
  head: number;
  /** By measure; importance is missing where it was not measured. */
  values: Partial<Record<Measure["id"], number>>;
}

export function toHeads(heads: HeadsAnalysis, importance: ImportanceAnalysis | null): Head[] {
  return heads.layers.flatMap((layer, row) =>
    heads.heads.map((head, column) => {
      const at = row * heads.heads.length + column;
      const values: Head["values"] = {};
      for (const { id } of measures) {
        // What is lost without it is what it is worth.
        if (id === "importance") { if (importance) values.importance = -importance.change.data[at]!; }
        else values[id] = heads[id].data[at]!;
      }
      return { layer, head, values };
    }),
  );
}

/** The highest first; those without a number last. */
export function ranked(heads: readonly Head[], by: Measure["id"]): Head[] {
  return [...heads].sort((a, b) => (b.values[by] ?? -Infinity) - (a.values[by] ?? -Infinity));
}
