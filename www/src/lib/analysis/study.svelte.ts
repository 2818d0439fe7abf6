/**
 * One visitor's look inside the model: what is looked at, how far an analysis
 * is, and what came of those before. One runs at a time, as all that the model
 * does; a result keeps the tokens it is of, so that it stays true when the text
 * goes on.
 */

import type { AnalysisInput, AnalysisProgress, Cacher } from "cacher-wasm";
import { describeFailure, errorCode, type Failure } from "../failure.ts";
import type { Session } from "../session.svelte.ts";
import type { Settings } from "../settings.svelte.ts";

/** The text of the page, or one of its own. */
export type From = "page" | "own";

/** A text as it was when it was analysed. */
export interface Subject {
  input: AnalysisInput;
  ids: readonly number[];
  /** What each token reads; tokens that share a character each read all of it. */
  pieces: readonly string[];
}

/** What an analysis has to work with. */
export interface Work {
  engine: Cacher;
  subject: Subject;
  /** To be handed on to every call. */
  run: { signal: AbortSignal; onProgress: (progress: AnalysisProgress) => void };
  /** Says what is being done. */
  tell: (doing: string) => void;
}

export class Study {
  from = $state<From>("page");
  own = $state("");
  /** What is being done; empty while nothing is. */
  doing = $state("");
  progress = $state.raw<AnalysisProgress | null>(null);
  failure = $state.raw<Failure | null>(null);
  /** What was done last, in a sentence. */
  done = $state("");

  readonly #session: Session;
  readonly #settings: Settings;
  readonly #prompt: () => string;
  readonly #after: () => void;

  constructor(session: Session, settings: Settings, prompt: () => string, after: () => void) {
    this.#session = session;
    this.#settings = settings;
    this.#prompt = prompt;
    this.#after = after;
  }

  /** Whether something runs, here or elsewhere on the page. */
  get busy(): boolean {
    return this.#session.busy;
  }

  get running(): boolean {
    return this.doing !== "";
  }

  cancel(): void {
    if (this.running) this.#session.stop();
  }

  /** Loads the model if need be and does `work`; `null` where that failed or was cancelled. */
  async run<Result>(doing: string, work: (work: Work) => Promise<Result>): Promise<Result | null> {
    if (this.busy) return null;
    let result: Result | null = null;
    this.failure = null;
    this.done = "";
    await this.#session.use("analysing", `${doing}…`, this.#settings, async (engine, signal) => {
      this.#tell(doing);
      try {
        const subject = await this.#subject(engine);
        const onProgress = (progress: AnalysisProgress) => (this.progress = progress);
        result = await work({ engine, subject, run: { signal, onProgress }, tell: (next) => this.#tell(next) });
        this.done = "Analysed.";
      } catch (error) {
        if (signal.aborted && errorCode(error) === "aborted") this.done = "Cancelled.";
        else this.failure = describeFailure(error);
      } finally {
        this.#tell("");
      }
      return this.failure ? "The analysis failed." : this.done;
    });
    this.#after();
    return result;
  }

  #tell(doing: string): void {
    this.doing = doing;
    this.progress = null;
  }

  async #subject(engine: Cacher): Promise<Subject> {
    const open = this.from === "page" ? this.#session.states.current : null;
    if (open) {
      const [text, tokens] = await Promise.all([open.handle.text(), open.handle.tokens()]);
      return { input: open.handle, ids: [...tokens.ids], pieces: cut(text, tokens.offsets) };
    }
    const text = this.from === "page" ? this.#prompt() : this.own;
    if (text === "") throw Object.assign(new Error("There is no text to analyse"), { code: "invalid-argument" });
    const { ids, offsets } = await engine.tokenize(text);
    return { input: text, ids: [...ids], pieces: cut(text, offsets) };
  }
}

/** `offsets`: start and end of each token in the text, flat. */
function cut(text: string, offsets: ArrayLike<number>): string[] {
  return Array.from({ length: offsets.length / 2 }, (_, index) => text.slice(offsets[2 * index], offsets[2 * index + 1]));
}
