/**
 * The public types of analyses.
 *
 * Log-probabilities, surprisals, entropies and divergences are in nats (natural
 * logarithm) unless the name says bits. Places are indices of tokens. Numbers
 * that are not finite are `null`, in arrays `NaN` and infinities.
 */

import type { Distributions } from "../wasm/cacher_wasm.js";
import type { State } from "../states/state.js";
import type { EngineOptions, Input } from "../types.js";

/** A text, token ids (numbers or a `Uint32Array`), or a state. */
export type AnalysisInput = Input | State;

/** In tokens run through the model, or work of about that size. */
export interface AnalysisProgress {
  done: number;
  total: number;
}

export interface AnalysisOptions {
  /** Ends it; the call rejects with code `aborted`. */
  signal?: AbortSignal;
  /** Called after each step. */
  onProgress?: (progress: AnalysisProgress) => void;
}

/** From `start` up to but not `end`; negative ones count from the end. Default: all. A range that is empty or leaves the text is an error. */
export interface TokenRange {
  start?: number;
  end?: number;
}

/** Numbers with a shape, the last axis contiguous. */
export interface AnalysisArray<Data = Float32Array> {
  shape: number[];
  data: Data;
}

export interface TokensOptions extends AnalysisOptions {
  range?: TokenRange;
  /** Most likely alternatives to tell of each token: 0 to 100. Default: 0. */
  top?: number;
}

/** A token that might come. */
export interface AlternativeToken {
  id: number;
  /** What it reads by itself; bytes that are no whole character are U+FFFD. Empty without a tokenizer. */
  piece: string;
  logprob: number;
}

/** How a token was expected, from those before it. */
export interface TokenExpectation {
  logprob: number;
  /** `-logprob`. */
  surprisal: number;
  surprisalBits: number;
  /** 1 is the likeliest. */
  rank: number;
  /** Of the distribution that the token was one of. */
  entropy: number;
  /** The likeliest tokens in its place, best first. */
  top: AlternativeToken[];
}

export interface AnalysedToken {
  index: number;
  id: number;
  piece: string;
  /** Its place in the text, in UTF-16 code units; `null` without a tokenizer. */
  start: number | null;
  end: number | null;
  /** `null` for the first token of a text: nothing predicts it. */
  expected: TokenExpectation | null;
}

export interface TokenAnalysis {
  tokens: AnalysedToken[];
  /** Sum of the log-probabilities. */
  logprob: number;
  /** Tokens that the model was run for; the others were in the KV cache. */
  tokensEvaluated: number;
}

export interface DistributionOptions extends AnalysisOptions {
  /** The token after which; negative ones count from the end. Default: -1, what comes next. */
  position?: number;
  /** Sampling options to process the distribution with; all but mirostat and guidance. Default: none. */
  options?: EngineOptions;
  /** How many tokens are the prompt, for options that tell prompt and output apart. Default: all up to `position`. */
  promptTokens?: number;
  /** Likeliest tokens to tell: 0 to 100. Default: 20. */
  top?: number;
  /** Also gives the whole distributions. Default: false. */
  full?: boolean;
}

export interface CandidateToken extends AlternativeToken {
  rank: number;
  /** After the options; `null` where they rule it out, or there are none. */
  processedLogprob: number | null;
  processedRank: number | null;
}

export interface DistributionAnalysis {
  position: number;
  /** The token that follows in the text, if one does. */
  next: CandidateToken | null;
  entropy: number;
  /** The model's likeliest, best first. */
  top: CandidateToken[];
  /** What the options make of it; `null` without options. */
  processed: {
    /** `null` where no token is left. */
    entropy: number | null;
    /** Number of tokens that are not ruled out, */
    left: number;
    /** and their share in the model's distribution, from 0 to 1. */
    mass: number;
    /** The likeliest after the options, best first. */
    top: CandidateToken[];
  } | null;
  tokensEvaluated: number;
  /** With `full`: `[vocabSize]`. */
  logprobs?: AnalysisArray;
  /** With `full` and `options`: `[vocabSize]`; `-Infinity` is ruled out. */
  processedLogprobs?: AnalysisArray;
}

export interface PerplexityOptions extends AnalysisOptions {
  /** Which tokens are scored; those before give context. */
  range?: TokenRange;
  /** Tokens of a window, from 2 to the model's positions. Default: all of them. */
  window?: number;
  /** How far a window is from the next, from 1 to `window - 1`: each token is scored once, after at least `window - stride` others. Default: half a window. */
  stride?: number;
  /** Puts the end-of-text token before the text, so that its first token is scored too. Default: false. */
  bos?: boolean;
}

export interface PerplexityAnalysis {
  /** `exp` of the mean surprisal; `null` where nothing is scored. */
  perplexity: number | null;
  /** Sum over the scored tokens. */
  logprob: number;
  bitsPerToken: number | null;
  /** Also `null` without a tokenizer. */
  bitsPerByte: number | null;
  tokensScored: number;
  /** Bytes of UTF-8. */
  bytesScored: number | null;
  /** Index of the first scored token, where `logprobs` begins. */
  first: number;
  windows: number;
  window: number;
  stride: number;
  tokensEvaluated: number;
  /** `[tokensScored]`. */
  logprobs: AnalysisArray<Float64Array>;
}

export interface NgramsOptions extends AnalysisOptions {
  range?: TokenRange;
  /** A text of its own that novelty is against. */
  prompt?: AnalysisInput;
  /** Or so many of the first tokens, which are then not counted. */
  promptTokens?: number;
  /** Runs of 1 to so many tokens: 1 to 16. Default: 4. */
  maxN?: number;
  /** How many of the most frequent to tell of each length: 0 to 1000. Default: 10. */
  top?: number;
}

export interface NgramStatistics {
  n: number;
  total: number;
  /** How many different ones. */
  distinct: number;
  /** distinct-n (Li et al. 2016): `distinct` over the number of tokens. */
  distinctRatio: number;
  /** seq-rep-n (Welleck et al. 2019): `1 - distinct / total`. */
  repetition: number;
  /** Of `total`, those that the prompt does not have; `null` without one. */
  novel: number | null;
  /** `novel / total`. */
  novelty: number | null;
  /** Most frequent first. */
  top: { ids: number[]; text: string; count: number }[];
}

export interface NgramAnalysis {
  tokens: number;
  promptTokens: number;
  /** By length: those of one token first. */
  ngrams: NgramStatistics[];
}

/** What takes the place of a token that is left out: nothing, the end-of-text token, or a space. */
export type TokenReplacement = "remove" | "eos" | "space";

export interface CorrelationOptions extends AnalysisOptions {
  range?: TokenRange;
  /** 0 is the sum of the embeddings, `i` the output of block `i - 1`, `nLayer + 1` (or -1) the last after the final LayerNorm. Default: -1. */
  layer?: number;
  /** Takes the mean of the range away first. Default: false. */
  centered?: boolean;
  /** Also leaves each token out, for `influence`: it runs the model once for each. Default: false. */
  influence?: boolean;
  /** What takes its place. Default: `"remove"`. */
  replacement?: TokenReplacement;
}

export interface CorrelationAnalysis {
  layer: number;
  /** Index of the token of the first row and column. */
  start: number;
  ids: number[];
  tokensEvaluated: number;
  /** `[n, n]`, from -1 to 1. */
  cosines: AnalysisArray;
  /** With `influence`, `[n, n]`: by how many nats the column's token is less likely without the row's; 0 where it is not after it. */
  influence?: AnalysisArray;
}

export interface LeaveOneOutOptions extends AnalysisOptions {
  /** Which tokens are left out, one at a time. Default: all before the target. */
  range?: TokenRange;
  /** Place of the token that is looked at. Default: with `token` after the end, else all tokens together. */
  target?: number;
  /** The token to look at in that place. Default: the text's own. */
  token?: number;
  /** Default: `"remove"`. */
  replacement?: TokenReplacement;
}

export interface LeaveOneOutAnalysis {
  /** `change`: by how many nats what is looked at becomes less likely without it (negative: likelier); `null` where nothing is left to predict it from. */
  tokens: { index: number; id: number; piece: string; change: number | null }[];
  /** `null`: all tokens together. */
  target: { index: number; id: number; piece: string } | null;
  /** Of what is looked at, with nothing left out. */
  logprob: number;
  tokensEvaluated: number;
  /** `[tokens.length]`. */
  changes: AnalysisArray<Float64Array>;
}

export interface CompareTextsOptions extends AnalysisOptions {
  /** The text to compare with. */
  with: AnalysisInput;
  /** Of the first text. */
  range?: TokenRange;
}

export interface TextComparison extends Distributions {
  /** Index of the first token that differs; `null` where none does. */
  firstDivergence: number | null;
  sharedTokens: number;
  tokensEvaluated: number;
}

export interface CompareSettingsOptions extends AnalysisOptions {
  /** Two sets of sampling options; all but mirostat and guidance. */
  options: readonly [EngineOptions, EngineOptions];
  range?: TokenRange;
  /** How many tokens are the prompt. Default: those before the range, at least one. */
  promptTokens?: number;
}

export interface SettingsComparison {
  /** Index of the first token that is expected differently; `null` where none is. */
  firstDivergence: number | null;
  positions: {
    index: number;
    id: number;
    piece: string;
    /** KL(a || b); `null` where it is infinite, because `b` rules out what `a` does not. */
    kl: number | null;
    /** Jensen-Shannon divergence: from 0 to ln 2. */
    js: number;
    /** `null` where the token is ruled out. */
    logprobA: number | null;
    logprobB: number | null;
    rankA: number | null;
    rankB: number | null;
  }[];
  meanKl: number | null;
  meanJs: number;
  tokensEvaluated: number;
}
