/** What the model would say after each layer, cell by cell, and what each part of it adds to a token's logit. */

import type { AttributionAnalysis, Cacher, LensAnalysis } from "cacher-wasm";
import type { Bar } from "./plot.ts";

export interface LensCell {
  piece: string;
  id: number;
  probability: number;
  /** In nats. */
  entropy: number;
  norm: number;
  /** Rank of the token that follows in the text; 0 where none does. */
  nextRank: number;
  /** Whether it is that token. */
  right: boolean;
}

/** By place on the axes: layers, then positions. */
export function toCells(lens: LensAnalysis, pieces: ReadonlyMap<number, string>): LensCell[][] {
  const positions = lens.range.end - lens.range.start;
  return lens.layers.map((_, layer) =>
    Array.from({ length: positions }, (_, position) => {
      const at = position * lens.layers.length + layer;
      const id = lens.tokens.data[at * lens.top]!;
      const nextRank = lens.nextRank.data[at]!;
      return {
        id,
        piece: pieces.get(id) ?? "",
        probability: Math.exp(lens.logprobs.data[at * lens.top]!),
        entropy: lens.entropy.data[at]!,
        norm: lens.norms.data[at]!,
        nextRank,
        right: nextRank === 1,
      };
    }),
  );
}

/** What each of the tokens reads by itself. */
export async function spellAll(engine: Cacher, ids: Iterable<number>, signal: AbortSignal): Promise<Map<number, string>> {
  const different = [...new Set(ids)];
  const pieces = await Promise.all(different.map((id) => engine.detokenize([id], { signal })));
  return new Map(different.map((id, index) => [id, pieces[index]!]));
}

/** From the embeddings to the last LayerNorm, in the order in which they add up. */
export function toBars({ tokenEmbedding, positionEmbedding, finalBias, layers }: AttributionAnalysis): Bar[] {
  const parts: [string, number][] = [
    ["Token embedding", tokenEmbedding],
    ["Position embedding", positionEmbedding],
    ...layers.flatMap(({ layer, attention, mlp }): [string, number][] => [[`L${layer} attention`, attention], [`L${layer} MLP`, mlp]]),
    ["Last bias", finalBias],
  ];
  return parts.map(([label, value]) => ({ label, value, note: signed(value) }));
}

export function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}
