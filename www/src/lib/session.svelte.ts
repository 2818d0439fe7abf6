/**
 * One visitor at work: loads the chosen model when it is first needed, does one
 * thing with it at a time, and says in words what is going on. Components show
 * its fields and call its methods.
 */

import {
  Cacher,
  type CacheControls,
  type Dtype,
  type EngineOptions,
  type GenerateOptions,
  type GenerationProgress,
  type LoadProgress,
  type ModelSource,
  type StateGenerationResult,
  type TokenLogprobs,
} from "cacher-wasm";
import { AnswerCache } from "./cache/answer-cache.svelte.ts";
import { describeFailure, errorCode, errorDetails, type Failure } from "./failure.ts";
import { measure } from "./measure.ts";
import { FILES_CHOICE, namedModel, URL_CHOICE } from "./models.ts";
import type { Settings } from "./settings.svelte.ts";
import { Speed } from "./speed.svelte.ts";
import type { OpenState } from "./states/open-state.svelte.ts";
import { StateLibrary } from "./states/state-library.svelte.ts";
import { describeEnd, formatRate } from "./words.ts";

/** What the model is at work on: a text, samples, beams, answers ahead of time, the measurement, an analysis. */
export type Work = "generating" | "sampling" | "searching" | "warming" | "measuring" | "analysing";
export type Phase = "idle" | "loading" | "ready" | "error" | Work;

/** What can be held up while it runs. */
export interface Pausable {
  pause(): void;
  resume(): void;
}

/** A request of the visitor, as the settings were when it was made. */
interface Asked {
  /** What becomes part of the state. */
  options: EngineOptions;
  run: GenerateOptions & CacheControls;
}

export class Session {
  readonly speed = new Speed();
  /** What was written is kept here; the text that is shown is that of its open state. */
  readonly states = new StateLibrary((open) => this.#show(open));
  readonly answers = new AnswerCache();
  phase = $state<Phase>("idle");
  /** One sentence for the status line. */
  status = $state("Press Generate to begin.");
  failure = $state.raw<Failure | null>(null);
  /** Of loading. */
  progress = $state.raw<LoadProgress | null>(null);
  /** Of the text that is being written. */
  writing = $state.raw<GenerationProgress | null>(null);
  /** The prompt that the shown text continues. */
  shownPrompt = $state("");
  generated = $state("");
  generatedTokens = $state(0);
  /** How likely each of them was, where that is told. */
  logprobs = $state.raw<readonly TokenLogprobs[]>([]);
  result = $state.raw<StateGenerationResult | null>(null);
  /** Why the model in use is not kept for the next visit; empty where it is, or where it came from files. */
  notStored = $state("");
  /** Files chosen from the device. */
  files = $state.raw<readonly File[]>([]);
  paused = $state(false);
  /** The model's end-of-text token, where it has one and is loaded. */
  endToken = $state<number | null>(null);

  #engine: Cacher | null = null;
  #loaded: { model: ModelSource; dtype: Dtype } | null = null;
  /** How the cache was set up when the model was loaded; empty while none is. */
  #cacheSetup = $state("");
  #controller: AbortController | null = null;
  #running = $state.raw<Pausable | null>(null);

  get busy(): boolean {
    return !["idle", "ready", "error"].includes(this.phase);
  }

  stop(): void {
    this.#controller?.abort();
  }

  get canPause(): boolean {
    return this.#running !== null;
  }

  togglePause(): void {
    if (!this.#running) return;
    this.paused = !this.paused;
    if (this.paused) this.#running.pause();
    else this.#running.resume();
    this.status = this.paused ? "Paused." : "Going on…";
  }

  /** Lets `running` be held up while `work` waits for it. */
  async pausable<T>(running: Pausable, work: () => Promise<T>): Promise<T> {
    this.#running = running;
    try {
      return await work();
    } finally {
      this.#running = null;
      this.paused = false;
    }
  }

  chooseFiles(files: readonly File[]): void {
    this.files = files;
    if (this.busy) return;
    const names = files.map(({ name }) => name).join(", ");
    this.status = `Chosen from this device: ${names}. Generate loads ${files.length === 1 ? "it" : "them"}.`;
  }

  /** Whether the cache was opened with other places to keep answers in than are now wanted. */
  cacheOutdated({ cache }: Settings): boolean {
    return this.#cacheSetup !== "" && this.#cacheSetup !== JSON.stringify(cache.toSetup());
  }

  /** The whole text that is shown. */
  get text(): string {
    return this.shownPrompt + this.generated;
  }

  /** Loads the model if need be, then begins a state with `prompt` and continues it. */
  generate(prompt: string, settings: Settings): Promise<void> {
    return this.#attempt(settings, async (signal) => {
      const asked = ask(settings, signal);
      const engine = await this.#load(settings, signal);
      await this.#begin(engine, prompt, asked);
    });
  }

  /** Continues the open state, under the settings as they are now. */
  continue(settings: Settings): Promise<void> {
    const { text } = this;
    return this.#attempt(settings, async (signal) => {
      const asked = ask(settings, signal);
      const engine = await this.#load(settings, signal);
      const open = this.states.current;
      // Another model has its own states: it begins one with the text so far.
      if (!open) return this.#begin(engine, text, asked);
      await this.#goOn(engine, open, asked);
    });
  }

  /** Forks the open state before the token of this number that was written last, and goes on from `token` in its place. */
  takeOther(index: number, token: number, settings: Settings): Promise<void> {
    const { result } = this;
    const { current } = this.states;
    return this.#attempt(settings, async (signal) => {
      const asked = ask(settings, signal);
      const engine = await this.#load(settings, signal);
      if (!current || !result || this.states.current !== current) {
        throw Object.assign(new Error("The text is of another model: generate anew"), { code: "invalid-argument" });
      }
      this.phase = "generating";
      this.status = "Forking…";
      const fork = await current.handle.fork({ at: result.usage.promptTokens + index });
      const ends = token === engine.model.eosTokenId;
      if (!ends) await fork.append([token], { evaluate: false, signal });
      await this.states.openHandle(fork);
      if (!ends) return this.#goOn(engine, this.states.current!, asked);
      this.phase = "ready";
      this.status = "Forked: the text ends here.";
      this.#show(this.states.current);
      await this.states.refresh();
    });
  }

  /** Opens a state, with the settings that it was written with. */
  async open(id: string, settings: Settings): Promise<void> {
    if (this.busy) return;
    if (await this.states.open(id)) settings.adopt(this.states.current!.info.config);
  }

  /** Takes over exported states, for which a model must be there. */
  async importStates(files: readonly File[]): Promise<void> {
    if (this.busy) return;
    if (this.states.attached) await this.states.import(files);
    else this.status = "Load a model first: states are read into it. Then drop the file again.";
  }

  /** Loads the chosen model, whose states are then there. */
  load(settings: Settings): Promise<void> {
    return this.#attempt(settings, async (signal) => {
      await this.#load(settings, signal);
      this.phase = "ready";
      this.status = "The model is loaded.";
    });
  }

  /** Loads the model if need be, then takes the standard measurement. */
  measure(settings: Settings): Promise<void> {
    return this.use("measuring", "Measuring. This takes a few seconds.", settings, async (engine, signal) => {
      const speeds = await measure(engine, signal);
      if (speeds) this.speed.measured(speeds);
      return speeds
        ? `Measured: reads ${formatRate(speeds.prefill)} tokens per second, writes ${formatRate(speeds.decode)}.`
        : "Measuring stopped.";
    });
  }

  /** Loads the model if need be and has it do something else, which says in the end what came of it. */
  use(phase: Work, status: string, settings: Settings, work: (engine: Cacher, signal: AbortSignal) => Promise<string>): Promise<void> {
    return this.#attempt(settings, async (signal) => {
      const engine = await this.#load(settings, signal);
      this.phase = phase;
      this.status = status;
      this.progress = null;
      const done = await work(engine, signal);
      await this.speed.weigh(engine);
      this.phase = "ready";
      this.status = done;
    });
  }

  async #attempt(settings: Settings, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.busy) return;
    const controller = new AbortController();
    this.#controller = controller;
    this.failure = null;
    try {
      await work(controller.signal);
    } catch (error) {
      settings.refuse(errorDetails(error));
      this.#fail(error, controller.signal);
    } finally {
      this.progress = null;
      this.writing = null;
      this.#controller = null;
    }
  }

  async #load(settings: Settings, signal: AbortSignal): Promise<Cacher> {
    const model = this.#source(settings);
    const { dtype } = settings;
    if (this.#engine && this.#loaded?.model === model && this.#loaded.dtype === dtype && !this.cacheOutdated(settings)) return this.#engine;

    this.phase = "loading";
    this.status = "Looking for the model…";
    // Before the next one comes: two models may not fit into memory.
    await this.#unload();
    let phase = "";
    const setup = settings.cache.toSetup();
    const tuning = settings.cache.toTuning();
    this.#engine = await Cacher.load({
      model,
      dtype,
      cache: { ...setup, ...tuning },
      signal,
      onProgress: (progress) => {
        this.progress = progress;
        if (progress.phase === phase) return;
        phase = progress.phase;
        if (phase === "download") this.status = "Downloading the model. It stays on this device.";
        if (phase === "load") this.status = "Loading the model into memory…";
      },
    });
    this.#loaded = { model, dtype };
    this.endToken = this.#engine.model.eosTokenId;
    this.speed.loaded(this.#engine, settings.model);
    this.#cacheSetup = JSON.stringify(setup);
    await this.answers.attach(this.#engine.cache, tuning, this.#engine.model.sha256);
    await this.states.attach(this.#engine.states);
    this.notStored = settings.model === FILES_CHOICE ? "" : (this.#engine.storage.reason ?? "");
    return this.#engine;
  }

  #source({ model, url }: Settings): ModelSource {
    if (model === URL_CHOICE) {
      const address = url.trim();
      if (!URL.canParse(address)) {
        throw Object.assign(new Error("The model’s address is not complete: it begins with https://"), { code: "invalid-argument" });
      }
      return address;
    }
    if (model === FILES_CHOICE) {
      if (this.files.length === 0) {
        throw Object.assign(new Error("No model files are chosen yet"), { code: "invalid-argument" });
      }
      return this.files;
    }
    return namedModel(model)!.source;
  }

  async #begin(engine: Cacher, text: string, asked: Asked): Promise<void> {
    this.#beginWriting(text);
    const config = { seed: freshSeed(), ...asked.options };
    // The generation reads the prompt itself, and so can tell how long that takes.
    const open = await this.states.create({ text, config, evaluate: false, signal: asked.run.signal! });
    await this.#run(engine, open, asked);
  }

  async #goOn(engine: Cacher, open: OpenState, asked: Asked): Promise<void> {
    this.#beginWriting(open.reading.text);
    await open.adapt(asked.options);
    await this.#run(engine, open, asked);
  }

  #beginWriting(text: string): void {
    this.phase = "generating";
    this.status = "Reading the prompt…";
    this.progress = null;
    this.shownPrompt = text;
    this.#showGenerated("");
  }

  #showGenerated(text: string): void {
    this.generated = text;
    this.generatedTokens = 0;
    this.logprobs = [];
    this.result = null;
  }

  async #run(engine: Cacher, open: OpenState, { run }: Asked): Promise<void> {
    this.speed.begin(open.info.tokens);
    // Before it is written on, after which the question would be another. Nobody need wait for it.
    const explained = open.handle.explainGeneration(run.logprobs === undefined ? {} : { logprobs: run.logprobs }).catch(() => null);
    const generation = open.handle.generate({ ...run, onProgress: (progress) => (this.writing = progress) });
    const result = await this.pausable(generation, async () => {
      for await (const chunk of generation) {
        this.speed.advance(chunk.tokens.length);
        if (this.generatedTokens === 0) this.status = "Generating…";
        this.generated += chunk.text;
        this.generatedTokens += chunk.tokens.length;
        // It is told ten times a second only.
        if (this.writing) this.writing = { ...this.writing, generatedTokens: this.generatedTokens };
        if (chunk.logprobs) this.logprobs = [...this.logprobs, ...chunk.logprobs];
      }
      return generation.result;
    });
    if (result.cache.hit) this.speed.replayed();
    else this.speed.end(result.timings);
    await this.speed.weigh(engine);
    this.generated = result.text;
    this.generatedTokens = result.usage.completionTokens;
    this.logprobs = result.logprobs ?? [];
    this.result = result;
    open.work = { computed: result.state.tokensEvaluated, of: result.usage.promptTokens };
    this.answers.noteRequest(await explained);
    await this.states.refresh();
    this.phase = "ready";
    this.status = describeEnd(result);
  }

  /** Another state was opened, or the open one has another text. */
  #show(open: OpenState | null): void {
    // What is being written is shown as it comes.
    if (!open || this.busy) return;
    this.#showGenerated(open.lastGenerated);
    this.shownPrompt = open.reading.text.slice(0, open.reading.text.length - this.generated.length);
  }

  #fail(error: unknown, signal: AbortSignal): void {
    if (signal.aborted && errorCode(error) === "aborted") {
      this.status =
        this.phase === "generating"
          ? "Stopped by you before the first token."
          : "Loading stopped. What was downloaded is kept; Generate goes on from there.";
      this.phase = this.#engine ? "ready" : "idle";
      return;
    }
    this.phase = "error";
    this.status = "That did not work.";
    this.failure = describeFailure(error);
  }

  async #unload(): Promise<void> {
    const engine = this.#engine;
    this.states.detach();
    this.answers.detach();
    this.#cacheSetup = "";
    this.#engine = null;
    this.#loaded = null;
    this.speed.unloaded();
    await engine?.dispose();
  }
}

/** Error: `invalid-option`. */
function ask(settings: Settings, signal: AbortSignal): Asked {
  return { options: settings.toOptions(), run: { ...settings.toStream(), ...settings.cache.toControls(), signal } };
}

/** Of a state whose settings leave the seed to the page. */
function freshSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
