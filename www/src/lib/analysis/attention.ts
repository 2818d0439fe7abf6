/** Attention of a stretch of a text, in every layer and head, and the maps that are made of it. */

import type { DenseAttention, RolloutAnalysis } from "cacher-wasm";
import { levelOf, LEVELS, shares } from "./scale.ts";

/** How much each position looks at each of the stretch; rows look. */
export interface Weights {
  size: number;
  /** `[size, size]` */
  data: ArrayLike<number>;
}

/** What is shown: a head, the mean of a layer's heads, of a head's layers, of all, or the rollout. */
export type Shown = "head" | "heads" | "layers" | "all" | "rollout";

/** The longest stretch: longer ones can no longer be read. */
export const MAX_TOKENS = 256;

export function headOf({ weights: { data, shape } }: DenseAttention, layer: number, head: number): Weights {
  const [, heads = 0, size = 0] = shape;
  const at = (layer * heads + head) * size * size;
  return { size, data: data.subarray(at, at + size * size) };
}

/** The mean of such maps. */
export function meanOf(all: readonly Weights[]): Weights {
  const size = all[0]?.size ?? 0;
  const sums = new Float64Array(size * size);
  for (const { data } of all) for (let at = 0; at < sums.length; at += 1) sums[at]! += data[at]!;
  return { size, data: sums.map((sum) => sum / all.length) };
}

/** What is shown of an attention; `layer` and `head` are places on its axes. */
export function mapOf(attention: DenseAttention, rollout: RolloutAnalysis, shown: Shown, layer: number, head: number): Weights {
  const layers = attention.layers.map((_, index) => index);
  const heads = attention.heads.map((_, index) => index);
  switch (shown) {
    case "head":
      return headOf(attention, layer, head);
    case "heads":
      return meanOf(heads.map((each) => headOf(attention, layer, each)));
    case "layers":
      return meanOf(layers.map((each) => headOf(attention, each, head)));
    case "all":
      return meanOf(layers.flatMap((each) => heads.map((other) => headOf(attention, each, other))));
    case "rollout":
      return stretch(rollout, attention.keys.start);
  }
}

/** Its keys begin with the text; the stretch may begin later. */
function stretch({ weights: { data, shape } }: RolloutAnalysis, start: number): Weights {
  const [size = 0, keys = 0] = shape;
  const cut = new Float32Array(size * size);
  for (let query = 0; query < size; query += 1) cut.set(data.subarray(query * keys + start, (query + 1) * keys), query * size);
  return { size, data: cut };
}

/** A path for each level over 0, of squares of one; under the threshold there is nothing. */
export function squares({ size, data }: Weights, threshold: number): string[] {
  const paths = Array.from({ length: LEVELS }, () => [] as string[]);
  for (let query = 0; query < size; query += 1) {
    for (let key = 0; key <= query; key += 1) {
      const weight = data[query * size + key]!;
      if (weight < threshold) continue;
      paths[levelOf(shares, weight)]!.push(`M${key} ${query}h1v1h-1z`);
    }
  }
  return paths.map((path) => path.join(""));
}

export interface Look {
  query: number;
  key: number;
  weight: number;
}

/** The strongest weights from a position, strongest first. */
export function strongest({ size, data }: Weights, query: number, threshold: number, most: number): Look[] {
  const looks = Array.from({ length: query + 1 }, (_, key) => ({ query, key, weight: data[query * size + key]! }));
  return looks.filter(({ weight }) => weight >= threshold && weight > 0).sort((a, b) => b.weight - a.weight).slice(0, most);
}
