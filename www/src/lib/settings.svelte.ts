/**
 * What the visitor set, kept from visit to visit in localStorage and passed
 * on in links. Both are read as foreign input: a value that does not fit its
 * range is replaced by the default, one by one.
 */

import type { Dtype, EngineOptions, StreamOptions } from "cacher-wasm";
import { CacheSettings } from "./cache/cache-settings.svelte.ts";
import { OptionValues } from "./generation/option-values.svelte.ts";
import { generationGroups, STREAM_OPTIONS } from "./generation/options/catalogue.ts";
import { beams, samples } from "./generation/options/many.ts";
import { modelChoices, namedModel, type ModelChoice } from "./models.ts";
import { numberFormats } from "./number-formats.ts";

export interface Range {
  min: number;
  max: number;
  step: number;
  initial: number;
}

/** What the view of the tokens shows of each. */
const ALTERNATIVES = 8;
const LONGEST_TEXT = 10_000;
const STORAGE_KEY = "cacher-demo-settings";

export class Settings {
  /** Of a generation. */
  readonly options = new OptionValues(generationGroups);
  /** Of samples and of beams, beside those. */
  readonly samples = new OptionValues([samples]);
  readonly beams = new OptionValues([beams]);
  /** The output is shown as its tokens, for which the model tells how likely each was. */
  showTokens = $state(false);
  model = $state<ModelChoice>(modelChoices[0]!);
  dtype = $state<Dtype>(numberFormats[0].id);
  /** Address of the visitor's own model. */
  url = $state("");
  /** Of the response cache; kept apart, and not part of links. */
  readonly cache = new CacheSettings();

  /** What was kept from the last visit, and over it what the link says. */
  static restore(): Settings {
    const settings = new Settings();
    settings.cache.restore();
    try {
      settings.#take(JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}"));
    } catch {
      // Storage is forbidden or its content is damaged: the defaults serve.
    }
    const link = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    // A link must not choose where this page downloads from.
    delete link.url;
    if (link.model !== undefined && !namedModel(link.model)) delete link.model;
    if (settings.options.knows(link)) settings.options.reset();
    settings.#take(link);
    return settings;
  }

  save(): void {
    this.cache.save();
    const { showTokens, model, dtype, url } = this;
    const content = JSON.stringify({
      ...this.options.kept(),
      ...this.samples.kept(),
      ...this.beams.kept(),
      showTokens,
      model,
      dtype,
      url,
    });
    try {
      localStorage.setItem(STORAGE_KEY, content);
    } catch {
      // Storage is forbidden or full: the settings last until the page closes.
    }
  }

  /** A link to this page with these settings; never with the text. */
  link(): string {
    const fields: Record<string, string> = { ...this.options.shared(), dtype: this.dtype };
    if (namedModel(this.model)) fields.model = this.model;
    const url = new URL(location.href);
    url.hash = new URLSearchParams(fields).toString();
    return url.href;
  }

  /** Takes over the settings that a text was written with; seed and model stay. */
  adopt(config: EngineOptions): void {
    this.options.adopt(config, ["seed", "logprobs", ...STREAM_OPTIONS]);
  }

  /** As typed; empty asks for a fresh seed each time. */
  get seed(): string {
    return this.options.drafts.seed!;
  }

  set seed(seed: string) {
    this.options.set("seed", seed);
  }

  /** Those that belong to a text. Error: `invalid-option`. */
  toOptions(): EngineOptions {
    const options: EngineOptions & StreamOptions = this.options.values();
    for (const name of [...STREAM_OPTIONS, "logprobs"] as const) delete options[name];
    if (options.seed === undefined && this.cache.wantsKept) options.seed = 0;
    return options;
  }

  /** Those that make no other text: how it is streamed, and what is told of it. Error: `invalid-option`. */
  toStream(): StreamOptions & Pick<EngineOptions, "logprobs"> {
    const values = this.options.values() as StreamOptions & Pick<EngineOptions, "logprobs"> & { stopWhen?: RegExp };
    const { chunk, highWaterMark, stopWhen, logprobs = this.showTokens ? ALTERNATIVES : undefined } = values;
    return {
      ...(chunk === undefined ? {} : { chunk }),
      ...(highWaterMark === undefined ? {} : { highWaterMark }),
      ...(stopWhen === undefined ? {} : { stopWhen: (text: string) => stopWhen.test(text) }),
      ...(logprobs === undefined ? {} : { logprobs }),
    };
  }

  /** Shows what the engine says of an option at its control. */
  refuse(details: Readonly<Record<string, unknown>>): void {
    for (const values of [this.options, this.samples, this.beams]) if (values.refuse(details)) return;
  }

  #take(fields: Readonly<Record<string, unknown>>): void {
    for (const values of [this.options, this.samples, this.beams]) values.take(fields);
    if (typeof fields.url === "string" && fields.url.length <= LONGEST_TEXT) this.url = fields.url;
    if (typeof fields.showTokens === "boolean") this.showTokens = fields.showTokens;
    if (modelChoices.includes(fields.model as string)) this.model = fields.model as ModelChoice;
    if (numberFormats.some(({ id }) => id === fields.dtype)) this.dtype = fields.dtype as Dtype;
  }
}
