/**
 * What a generation's chunks go through: the caller's `stopWhen`, the counting
 * for `onProgress`, and the merging to larger chunks, in this order.
 */

import { invalidOption } from "../errors.js";
import type { GenerationChunk } from "../types.js";
import { type Chunker, chunkerOf } from "./chunking.js";
import { requireStreamOptions } from "./options.js";
import { ProgressMeter } from "./progress.js";
import type { PromptProgress } from "./sink.js";
import type { Stage, StageControl } from "./streaming.js";
import type { StreamOptions } from "./types.js";

export class GenerationStage implements Stage<GenerationChunk, GenerationChunk> {
  readonly lookahead: number;
  readonly #chunker: Chunker;
  readonly #stopWhen: StreamOptions["stopWhen"];
  readonly #meter: ProgressMeter | undefined;
  #control: StageControl<GenerationChunk> | undefined;
  #text = "";
  /** It has answered for the last time. */
  #decided = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Error: `invalid-option`. */
  constructor(options: StreamOptions) {
    requireStreamOptions(options);
    const { chunk = "token", stopWhen, onProgress } = options;
    this.lookahead = stopWhen === undefined ? Infinity : 1;
    this.#stopWhen = stopWhen;
    this.#chunker = chunkerOf(chunk);
    if (onProgress !== undefined) this.#meter = new ProgressMeter((progress) => this.#guarded(() => onProgress(progress)));
  }

  attach(control: StageControl<GenerationChunk>): void {
    this.#control = control;
  }

  take(chunk: GenerationChunk): GenerationChunk[] {
    this.#judge(chunk);
    this.#meter?.generated(chunk.tokens.length);
    const made = this.#chunker.take(chunk, performance.now());
    this.#wait();
    return made;
  }

  readPrompt(progress: PromptProgress): void {
    this.#meter?.prompt(progress);
  }

  paused(paused: boolean): void {
    if (this.#meter !== undefined) this.#meter.paused = paused;
  }

  end(): GenerationChunk[] {
    clearTimeout(this.#timer);
    this.#decided = true;
    this.#meter?.end();
    return this.#chunker.end();
  }

  #judge(chunk: GenerationChunk): void {
    if (this.#stopWhen === undefined || this.#decided) return;
    this.#text += chunk.text;
    this.#guarded(() => {
      const stop: unknown = this.#stopWhen!(this.#text, chunk);
      // A promise would count as true.
      if (typeof stop !== "boolean") throw invalidOption("stopWhen", stop, "a function that returns true or false");
      if (!stop) return;
      this.#decided = true;
      this.#control?.stop();
    });
  }

  /** Calls a callback of the caller. */
  #guarded(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#decided = true;
      this.#control?.fail(error);
    }
  }

  /** Gives on what is held back when its time has come, even if nothing more comes. */
  #wait(): void {
    const { due } = this.#chunker;
    clearTimeout(this.#timer);
    if (due === undefined) return;
    this.#timer = setTimeout(() => this.#control?.emit(this.#chunker.end()), due - performance.now());
  }
}
