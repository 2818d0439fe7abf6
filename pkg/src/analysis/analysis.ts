/**
 * `cacher.analysis`: what the model expects of a text, and how it comes to it.
 */

import { toInput } from "../arguments.js";
import type { Client } from "../client.js";
import { CacherError } from "../errors.js";
import { optionsToJson } from "../states/json.js";
import { State } from "../states/state.js";
import { requireFunction } from "../streaming/options.js";
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
