/**
 * The public types of analyses that look into the model: attention, heads,
 * layers, KV cache.
 *
 * Layers and heads are lists of indices from 0; results tell them ascending,
 * each once, and name the axes of arrays by them. Attention weights are
 * probabilities: of one query over all keys up to itself they sum to 1. The
 * arrays of one result may take 64 MiB; a request for more is refused with code
 * `invalid-argument` and the number of bytes, before anything runs.
 */

import type { AnalysisArray, AnalysisOptions, TokenRange } from "./types.js";

/** A range that was asked for, in whole positions from the text's beginning: from `start` up to but not `end`. */
export interface PositionRange {
  start: number;
  end: number;
}

/** Which layers and heads. */
export interface LayersAndHeads {
  /** Default: all. An index that the model does not have, or an empty list, is an error. */
  layers?: readonly number[];
  /** Default: all. */
  heads?: readonly number[];
}

export interface AttentionOptions extends AnalysisOptions, LayersAndHeads {
  /** Positions that look. Default: all. */
  queries?: TokenRange;
  /** Positions that are looked at. Default: all. */
  keys?: TokenRange;
  /** The mean over heads, layers or both; that axis then has length 1. Default: `"none"`. */
  average?: "none" | "heads" | "layers" | "both";
  /** Only weights of at least this, above 0 and at most 1, after averaging: the result is sparse then. Default: all, dense. */
  threshold?: number | undefined;
  /** Scales what is left of each row to sum to 1, last of all: such weights are no longer the model's. Default: false. */
  normalize?: boolean;
}

/** For whole maps. */
export interface DenseAttentionOptions extends AttentionOptions {
  threshold?: undefined;
}

/** For the weights that reach a threshold. */
export interface SparseAttentionOptions extends AttentionOptions {
  threshold: number;
}

export interface AttentionResult {
  layers: number[];
  heads: number[];
  queries: PositionRange;
  keys: PositionRange;
  average: "none" | "heads" | "layers" | "both";
  /** Whether rows were scaled to sum to 1. */
  normalized: boolean;
  /** Rows of which nothing is left: nothing reaches the threshold, or all keys come after the query. */
  emptyRows: number;
  /** Tokens that the model was run for; known rows and KV blocks are not run again. */
  tokensEvaluated: number;
}

export interface DenseAttention extends AttentionResult {
  threshold: null;
  /** `[layers, heads, queries, keys]`, an axis averaged over having length 1; 0 where the key comes after the query. */
  weights: AnalysisArray;
}

/** Lists of equal length, ascending by layer, head, query and key. */
export interface SparseAttention extends AttentionResult {
  threshold: number;
  /** Missing where averaged over. */
  layer?: AnalysisArray<Uint32Array>;
  /** Missing where averaged over. */
  head?: AnalysisArray<Uint32Array>;
  query: AnalysisArray<Uint32Array>;
  key: AnalysisArray<Uint32Array>;
  weight: AnalysisArray;
}

export interface RolloutOptions extends AnalysisOptions {
  /** Up to the output of which layer; negative ones count from the last. Default: -1, the last. */
  layer?: number;
  /** Heads whose mean counts. Default: all. */
  heads?: readonly number[];
  /** Positions whose rows are told. Default: all. */
  queries?: TokenRange;
}

/** Attention rollout (Abnar and Zuidema 2020). */
export interface RolloutAnalysis {
  layer: number;
  heads: number[];
  queries: PositionRange;
  tokensEvaluated: number;
  /** `[queries, tokens]`, tokens from 0 to the last query: the share of each in a query, each row summing to 1; 0 after the query. */
  weights: AnalysisArray;
}

export interface FlowOptions extends AnalysisOptions {
  /** Up to the output of which layer; negative ones count from the last. Default: -1, the last. */
  layer?: number;
  /** Heads whose mean counts. Default: all. */
  heads?: readonly number[];
  /** Positions to which the flow is computed: none after the 64th token. Default: the last. */
  queries?: TokenRange;
}

/** Attention flow (Abnar and Zuidema 2020). */
export interface FlowAnalysis {
  layer: number;
  heads: number[];
  queries: PositionRange;
  tokensEvaluated: number;
  /** `[queries, tokens]`, tokens from 0 to the last query: the maximum flow, from 0 to 1; 0 after the query. */
  flow: AnalysisArray<Float64Array>;
}

/** A part of a text. */
export interface TextSegment {
  /** Told in the result. Default: none. */
  name?: string;
  /** One or more; they may overlap, with those of other segments too. */
  ranges: readonly TokenRange[];
}

export interface SegmentsOptions extends AnalysisOptions, LayersAndHeads {
  /** 1 to 64 parts of the text: an answer and its prompt, say, or the parents of a merge. */
  segments: readonly TextSegment[];
}

/** Attention between parts of a text: what stands for cross-attention in a decoder. */
export interface SegmentsAnalysis {
  layers: number[];
  heads: number[];
  /** With the number of tokens in each. */
  segments: { name: string; tokens: number }[];
  tokensEvaluated: number;
  /** `[layers, heads, segments, segments]`, the one that looks first: mean over its queries of the sum of their weights on the other. */
  mass: AnalysisArray<Float64Array>;
  /** As `mass`: mean over the pairs in which the query sees the key; 0 where there are none. */
  meanWeight: AnalysisArray<Float64Array>;
  /** `[segments, segments]`: how many such pairs there are. */
  pairs: AnalysisArray<Uint32Array>;
}

export interface HeadsOptions extends AnalysisOptions, LayersAndHeads {
  /** How attention is compared with a pattern: the part of it that lies there, or 1 less the mean difference. Default: `"mul"`. */
  measure?: "mul" | "abs";
  /** Leaves attention to the first token out of the comparison. Default: false. */
  excludeBos?: boolean;
  /** Leaves a token's attention to itself out of it. Default: false. */
  excludeCurrentToken?: boolean;
}

export interface RankedHead {
  layer: number;
  head: number;
  score: number;
}

/** Where heads look. All arrays are `[layers, heads]`. */
export interface HeadsAnalysis {
  layers: number[];
  heads: number[];
  measure: "mul" | "abs";
  excludeBos: boolean;
  excludeCurrentToken: boolean;
  /** Length of the text. */
  tokens: number;
  tokensEvaluated: number;
  /** The 20 highest scores of each, highest first. */
  ranking: { previousToken: RankedHead[]; duplicateToken: RankedHead[]; induction: RankedHead[] };
  /** Mean over queries, in nats. */
  entropy: AnalysisArray<Float64Array>;
  /** Mean over queries of how far back they look, in tokens. */
  meanDistance: AnalysisArray<Float64Array>;
  /** Mean weight on the first token, of the queries after it. */
  firstTokenMass: AnalysisArray<Float64Array>;
  /** Attention to the token before, */
  previousToken: AnalysisArray<Float64Array>;
  /** to earlier places of the same token, */
  duplicateToken: AnalysisArray<Float64Array>;
  /** and to the token after such a place (Olsson et al. 2022). */
  induction: AnalysisArray<Float64Array>;
}

export interface ImportanceOptions extends AnalysisOptions, LayersAndHeads {
  /** What replaces a head's output: its mean over the text, or zero. Default: `"mean"`. */
  method?: "mean" | "zero";
  /** Tokens whose log-probabilities count; the first of a text has none. Default: all. */
  range?: TokenRange;
}

/** What each head is worth to the text (Michel et al. 2019). */
export interface ImportanceAnalysis {
  layers: number[];
  heads: number[];
  method: "mean" | "zero";
  /** The tokens that count. */
  range: PositionRange;
  /** Of these with all heads, in nats. */
  logLikelihood: number;
  tokensScored: number;
  /** The text is run once, and once more for each head. */
  tokensEvaluated: number;
  /** All heads, the most missed first; `change` in nats, in all and for each scored token. */
  ranking: { layer: number; head: number; change: number; changePerToken: number }[];
  /** `[layers, heads]`: the log-likelihood without the head less that with it, in nats; negative where the head is missed. */
  change: AnalysisArray<Float64Array>;
}

export interface LensOptions extends AnalysisOptions {
  /** Positions whose predictions are told. Default: all. */
  range?: TokenRange;
  /** 0 is the sum of the embeddings, `i` the output of block `i - 1`; `nLayer` is the model's own prediction. Default: all. */
  layers?: readonly number[];
  /** Likeliest tokens of each: 1 to 100. Default: 5. */
  top?: number;
}

/** What the model would say after each layer (logit lens; nostalgebraist 2020). */
export interface LensAnalysis {
  range: PositionRange;
  layers: number[];
  top: number;
  tokensEvaluated: number;
  /** `[positions, layers, top]`: ids, the likeliest first. */
  tokens: AnalysisArray<Uint32Array>;
  /** `[positions, layers, top]`: of these, in nats. */
  logprobs: AnalysisArray<Float64Array>;
  /** `[positions, layers]`, in nats. */
  entropy: AnalysisArray<Float64Array>;
  /** `[positions, layers]`: of the token that follows in the text, in nats; NaN after the last. */
  nextLogprob: AnalysisArray<Float64Array>;
  /** `[positions, layers]`: its rank, 1 being the likeliest; 0 after the last. */
  nextRank: AnalysisArray<Uint32Array>;
  /** `[positions, layers]`: Euclidean length of the residual stream. */
  norms: AnalysisArray<Float64Array>;
}

export interface AttributionOptions extends AnalysisOptions {
  /** The position that predicts; negative ones count from the end. Default: -1, the last. */
  position?: number;
  /** Whose logit. Default: the token that follows in the text, after its end the likeliest. */
  token?: number;
  /** A token whose logit is taken off, so that the difference is attributed. Default: none. */
  against?: number;
}

/** What a layer adds, in logits. */
export interface LayerAttribution {
  layer: number;
  /** Heads, bias and remainder together. */
  attention: number;
  /** Of each head. */
  heads: number[];
  /** The bias of `c_proj`. */
  bias: number;
  /** `attention` less heads and bias: what quantisation loses. */
  remainder: number;
  mlp: number;
}

/** What each part of the model adds to a token's logit (direct logit attribution; Elhage et al. 2021). In logits. */
export interface AttributionAnalysis {
  position: number;
  token: number;
  against: number | null;
  /** As the model computes it; with `against` the difference. */
  logit: number;
  /** Of `token`, in nats, */
  logprob: number;
  /** and its rank; 1 is the likeliest. */
  rank: number;
  /** Of all parts. */
  sum: number;
  /** `logit - sum`: what rounding loses, and in packed models quantisation. */
  difference: number;
  /** By which the last LayerNorm multiplies, frozen at what it is. */
  scale: number;
  tokenEmbedding: number;
  positionEmbedding: number;
  /** The bias of the last LayerNorm. */
  finalBias: number;
  layers: LayerAttribution[];
  tokensEvaluated: number;
}

export interface KvOptions extends AnalysisOptions, LayersAndHeads {
  /** Positions that are looked at. Default: all. */
  range?: TokenRange;
  /** Positions whose keys and values are told whole, up to 64; negative ones count from the end. Default: none. */
  samples?: readonly number[];
}

/** Of the keys or values of a head over the range. */
export interface KvStatistics {
  min: number;
  max: number;
  mean: number;
  /** Root of the mean square. */
  rms: number;
  /** Mean Euclidean norm of a position's vector. */
  meanNorm: number;
}

/** What is in the KV cache of a text; numbers are as attention reads them. */
export interface KvAnalysis {
  /** How they are stored: 8-bit numbers with scales, or as they are. */
  dtype: "q8" | "f32";
  nLayer: number;
  nHead: number;
  headDim: number;
  layers: number[];
  heads: number[];
  range: PositionRange;
  samples: number[];
  /** Positions in the cache. */
  positions: number;
  blocks: number;
  /** Positions of a block. */
  blockTokens: number;
  blockBytes: number;
  /** Of all blocks of the text. */
  bytes: number;
  tokensEvaluated: number;
  statistics: { layer: number; head: number; keys: KvStatistics; values: KvStatistics }[];
  /** `[layers, heads, positions]`: Euclidean. */
  keyNorms: AnalysisArray;
  valueNorms: AnalysisArray;
  /** With `samples`: `[layers, heads, samples, headDim]`. */
  keys?: AnalysisArray;
  values?: AnalysisArray;
}
