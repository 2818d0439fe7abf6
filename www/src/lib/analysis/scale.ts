/**
 * Numbers as one of eight levels, each a shade of one hue that is told apart
 * without seeing colour, by how dark it is. `scale.css` has the shades.
 */

export const LEVELS = 8;

export interface Scale {
  /** What the numbers are, with the unit. */
  label: string;
  /** The least number of each level after the first. */
  from: readonly number[];
  format: (value: number) => string;
}

export const shares: Scale = {
  label: "probability",
  from: [0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.75],
  format: (value) => `${Number((value * 100).toPrecision(2))} %`,
};

/** More than a dozen bits are rare even in nonsense. */
export const surprisals: Scale = {
  label: "surprisal in bits",
  from: [0.5, 1, 2, 4, 6, 9, 12],
  format: (value) => value.toFixed(1),
};

export const uses: Scale = {
  label: "texts that began with it",
  from: [1, 2, 3, 5, 8, 13, 21],
  format: String,
};

/** Eight equal steps over what the numbers span. */
export function evenly(values: Iterable<number>, label: string, digits = 2): Scale {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  if (least > most) [least, most] = [0, 1];
  const step = (most - least || 1) / LEVELS;
  return { label, from: Array.from({ length: LEVELS - 1 }, (_, index) => least + step * (index + 1)), format: (value) => value.toFixed(digits) };
}

/** From 0 to 7. */
export function levelOf({ from }: Scale, value: number): number {
  let level = 0;
  while (level < from.length && value >= from[level]!) level += 1;
  return level;
}

/** A token in a drawing or a table, with what cannot be seen made visible. */
export function visible(piece: string): string {
  const text = piece.replaceAll("\n", "↵").replaceAll("\t", "⇥");
  return text.replace(/^ +| +$/g, (spaces) => "·".repeat(spaces.length)) || "∅";
}

/** The same, no longer than `most` characters. */
export function short(piece: string, most: number): string {
  const characters = [...visible(piece)];
  return characters.length <= most ? characters.join("") : `${characters.slice(0, most - 1).join("")}…`;
}
