/**
 * One beam search in progress: the tree of what it tries, and what it finds.
 */

import { requireKnown, toInput } from "../arguments.js";
import type { Client } from "../client.js";
import { State } from "../states/state.js";
import { StateLine, type States } from "../states/states.js";
import { requireCount, requireFunction } from "../streaming/options.js";
import type { Sink } from "../streaming/sink.js";
import { type Stage, type StageControl, type StartStream, Streaming } from "../streaming/streaming.js";
import type { Input } from "../types.js";
import { Asking } from "./asking.js";
import type { BeamResult, BeamSearchOptions, BeamStep, FoundSequence, StateOfBeam } from "./types.js";

/** Has steps pass as they are; its control is how a callback ends the search. */
class Passing implements Stage<BeamStep, BeamStep> {
  readonly lookahead = Infinity;
  control: StageControl<BeamStep> | undefined;

  attach(control: StageControl<BeamStep>): void {
    this.control = control;
  }

  take(step: BeamStep): readonly BeamStep[] {
    return [step];
  }

  readPrompt(): void {}

  paused(): void {}

  end(): readonly BeamStep[] {
    return [];
  }
}

/** What a search begins from. */
export interface SearchSettings {
  client: Client;
  states: States;
  from: Input | State;
  options: BeamSearchOptions;
  /** Of the engine, where the options have none and it is no state's. */
  seed: number | bigint | undefined;
}

/**
 * The steps of a search, and its result. Iterate over it for the tree as it
 * grows, or await its `result`, or both. An abort, by signal, `abort()` or
 * `break`, is no error: the open beams are sequences then, with `finishReason:
 * "aborted"`.
 */
export class BeamSearch extends Streaming<BeamStep, BeamResult> {
  readonly #from: Input | State;
  readonly #states: States;

  /** @internal */
  constructor({ client, states, from, options, seed }: SearchSettings) {
    const stage = new Passing();
    const { signal, highWaterMark, prefixAllowedTokens: ask, ...engine } = options;
    let start: StartStream<BeamStep, BeamResult>;
    try {
      requireFunction("prefixAllowedTokens", ask);
      requireCount("highWaterMark", highWaterMark, 0xffff_ffff);
      const asking =
        ask === undefined
          ? null
          : new Asking(
              ask,
              (told) => void client.call("allowTokens", told, {}).catch((error: unknown) => stage.control?.fail(error)),
              (error) => stage.control?.fail(error),
            );
      const prompt = from instanceof State ? null : toInput("prompt", from);
      start = async ({ give, flow, signal: ended }: Sink<BeamStep>) => {
        const settings = {
          ...{ signal: ended, onAbort: "finish" as const, flow: asking?.within(flow) ?? flow },
          onEvent: (step: BeamStep) => {
            give(step);
            void asking?.next(step);
          },
        };
        const asks = asking?.search ?? null;
        const result =
          prompt === null
            ? new StateLine(client).ask("beamSearch", { id: (from as State).id, options: engine, asks }, settings)
            : client.call("beamSearch", { prompt, options: seed === undefined ? engine : { seed, ...engine }, asks }, settings);
        void asking?.begin();
        return result;
      };
    } catch (error) {
      // Told where every other error of a search is told.
      start = () => Promise.reject(error as Error);
    }
    super(start, { signal, highWaterMark, stage, aborted: () => emptyResult(options.seed ?? seed ?? 0) });
    this.#from = from;
    this.#states = states;
  }

  /**
   * A new state of the prompt and the text of a sequence that was found: a fork
   * of the state where the search began from one, at the text that it began
   * from. What the search has computed of it is not computed again.
   */
  async toState({ textTokens }: FoundSequence, options: StateOfBeam = {}): Promise<State> {
    requireKnown(options, ["name", "evaluate", "signal"] satisfies (keyof StateOfBeam)[], "toState");
    const { promptTokens } = await this.result;
    const from = this.#from;
    if (!(from instanceof State)) return this.#states.create({ ...options, tokens: [...promptTokens, ...textTokens] });
    const { evaluate = true, ...named } = options;
    const fork = await from.fork({ ...named, at: promptTokens.length });
    await fork.append(textTokens, { evaluate, ...(options.signal === undefined ? {} : { signal: options.signal }) });
    return fork;
  }
}

/** Of a search that was aborted before it began. */
function emptyResult(seed: number | bigint): BeamResult {
  return {
    sequences: [],
    promptTokens: [],
    steps: 0,
    seed,
    usage: {
      ...{ promptTokens: 0, tokensEvaluated: 0, completionTokens: 0, totalTokens: 0 },
      ...{ droppedTokens: 0, draftTokens: 0, acceptedDraftTokens: 0 },
    },
    timings: { prefillMs: 0, decodeMs: 0, prefillTokensPerSecond: 0, tokensPerSecond: 0 },
  };
}
