/**
 * `cacher.analysis`: what the model expects of a text, and how it comes to it.
 */

import { toInput } from "../arguments.js";
import type { Client } from "../client.js";
import { CacherError } from "../errors.js";
import { optionsToJson } from "../states/json.js";
import { State } from "../states/state.js";
import { requireFunction } from "../streaming/options.js";
import type * as inside from "./inside-types.js";
import type { AnalysisSubject } from "./messages.js";
import type * as types from "./types.js";

export class Analysis {
  readonly #client: Client;

  /** @internal */
  constructor(client: Client) {
    this.#client = client;
  }

  /** How each token was expected: probability, rank, surprise, and what else might have come. */
  tokens(input: types.AnalysisInput, options: types.TokensOptions = {}): Promise<types.TokenAnalysis> {
    return this.#ask("tokens", options, input);
  }

  /** What may come after a token, and what sampling options make of that. */
  distribution(input: types.AnalysisInput, options: types.DistributionOptions = {}): Promise<types.DistributionAnalysis> {
    return this.#ask("distribution", options, input);
  }

  /** How well the model predicts a text of any length. */
  perplexity(input: types.AnalysisInput, options: types.PerplexityOptions = {}): Promise<types.PerplexityAnalysis> {
    return this.#ask("perplexity", options, input);
  }

  /** Runs of tokens: the frequent ones, repetition, and novelty. The model is not run. */
  ngrams(input: types.AnalysisInput, options: types.NgramsOptions = {}): Promise<types.NgramAnalysis> {
    const { prompt, ...others } = options ?? {};
    return this.#ask("ngrams", others, input, prompt);
  }

  /** How alike the model sees the tokens of a text. */
  correlation(input: types.AnalysisInput, options: types.CorrelationOptions = {}): Promise<types.CorrelationAnalysis> {
    return this.#ask("correlation", options, input);
  }

  /** Which tokens a prediction rests on: what leaving each out does to it. */
  leaveOneOut(input: types.AnalysisInput, options: types.LeaveOneOutOptions = {}): Promise<types.LeaveOneOutAnalysis> {
    return this.#ask("leaveOneOut", options, input);
  }

  /** Two texts, or one text under two sets of sampling options: where they part, and how far. */
  compare(input: types.AnalysisInput, options: types.CompareTextsOptions): Promise<types.TextComparison>;
  compare(input: types.AnalysisInput, options: types.CompareSettingsOptions): Promise<types.SettingsComparison>;
  compare(input: types.AnalysisInput, options: types.CompareTextsOptions | types.CompareSettingsOptions): Promise<unknown> {
    const { with: other, ...others } = (options ?? {}) as types.CompareTextsOptions;
    return this.#ask("compare", others, input, other);
  }

  /** What each position looks at, in any layers and heads: whole maps, or the weights that reach a threshold. */
  attention(input: types.AnalysisInput, options?: inside.DenseAttentionOptions): Promise<inside.DenseAttention>;
  attention(input: types.AnalysisInput, options: inside.SparseAttentionOptions): Promise<inside.SparseAttention>;
  attention(input: types.AnalysisInput, options: inside.AttentionOptions): Promise<inside.DenseAttention | inside.SparseAttention>;
  attention(input: types.AnalysisInput, options: inside.AttentionOptions = {}): Promise<never> {
    return this.#ask("attention", options, input);
  }

  /** How much of each token reaches a position through the attention of all layers. */
  rollout(input: types.AnalysisInput, options: inside.RolloutOptions = {}): Promise<inside.RolloutAnalysis> {
    return this.#ask("rollout", options, input);
  }

  /** The same as a maximum flow, which the thinnest edge of a path bounds; of up to 64 tokens. */
  flow(input: types.AnalysisInput, options: inside.FlowOptions = {}): Promise<inside.FlowAnalysis> {
    return this.#ask("flow", options, input);
  }

  /** Attention between parts of a text: from an answer to its prompt, or between the parents of a merge. */
  segments(input: types.AnalysisInput, options: inside.SegmentsOptions): Promise<inside.SegmentsAnalysis> {
    return this.#ask("segments", options, input);
  }

  /** Where each head looks, and which kind of head it is. */
  heads(input: types.AnalysisInput, options: inside.HeadsOptions = {}): Promise<inside.HeadsAnalysis> {
    return this.#ask("heads", options, input);
  }

  /** How much less likely the text is without each head. It runs the model once for each. */
  importance(input: types.AnalysisInput, options: inside.ImportanceOptions = {}): Promise<inside.ImportanceAnalysis> {
    return this.#ask("importance", options, input);
  }

  /** What the model would say if it stopped after each layer. */
  lens(input: types.AnalysisInput, options: inside.LensOptions = {}): Promise<inside.LensAnalysis> {
    return this.#ask("lens", options, input);
  }

  /** How much each layer and head adds to a token's logit. */
  attribution(input: types.AnalysisInput, options: inside.AttributionOptions = {}): Promise<inside.AttributionAnalysis> {
    return this.#ask("attribution", options, input);
  }

  /** What is in the KV cache of a text. */
  kv(input: types.AnalysisInput, options: inside.KvOptions = {}): Promise<inside.KvAnalysis> {
    return this.#ask("kv", options, input);
  }

  async #ask<Result>(kind: string, options: types.AnalysisOptions, ...inputs: (types.AnalysisInput | undefined)[]): Promise<Result> {
    if (typeof options !== "object" || options === null) throw new CacherError("invalid-argument", `${kind}: its options must be an object`);
    const { signal, onProgress, ...engine } = options;
    requireFunction("onProgress", onProgress);
    const subjects = inputs.flatMap((input, index) => (index > 0 && input === undefined ? [] : [toSubject(input as types.AnalysisInput)]));
    const request = optionsToJson({ ...engine, kind });
    const { value, arrays } = await this.#client.call("analyse", { request, subjects }, { signal, ...(onProgress && { onEvent: onProgress }) });
    const result = JSON.parse(value) as Record<string, unknown>;
    for (const { name, shape, data } of arrays) result[name] = { shape, data };
    return result as Result;
  }
}

function toSubject(input: types.AnalysisInput): AnalysisSubject {
  return input instanceof State ? { state: input.id } : toInput("input", input);
}
