/** Several texts of one prompt, written at once, each with a seed of its own. */

import type { CachedGenerationResult, EngineOptions } from "cacher-wasm";
import { describeFailure } from "../failure.ts";
import type { Session } from "../session.svelte.ts";
import type { Settings } from "../settings.svelte.ts";
import { keep, startFrom, toState, type From, type Start } from "./start.ts";

export interface Sample {
  text: string;
  /** Once it has ended. */
  result: CachedGenerationResult | null;
  /** Mean of its tokens' log-probabilities, in nats. */
  meanLogProb: number | null;
  /** Why it failed, in words; else empty. */
  problem: string;
  kept: boolean;
}

const EMPTY: Sample = { text: "", result: null, meanLogProb: null, problem: "", kept: false };

export class Samples {
  list = $state.raw<readonly Sample[]>([]);
  #start: Start | null = null;
  #options: EngineOptions = {};

  /** The number of the likeliest, once all have ended; -1 where there is none. */
  readonly likeliest = $derived.by(() => {
    const means = this.list.map(({ meanLogProb }) => meanLogProb ?? -Infinity);
    const done = this.list.length > 1 && this.list.every(({ result, problem }) => result !== null || problem !== "");
    return done && Math.max(...means) > -Infinity ? means.indexOf(Math.max(...means)) : -1;
  });

  write(session: Session, settings: Settings, from: From, prompt: string): Promise<void> {
    return session.use("sampling", "Writing several texts…", settings, async (engine, signal) => {
      this.list = [];
      const options = settings.toOptions();
      // Needed for how likely the whole is; alternatives are not.
      const run = { ...settings.toStream(), ...settings.cache.toControls(), logprobs: 0, signal };
      const start = await startFrom(from, prompt, engine, session);
      const batch = engine.generateBatch([start.input], { ...options, ...run, ...settings.samples.values() });
      const [generations = []] = batch.generations;
      this.#start = start;
      this.#options = options;
      this.list = generations.map(() => EMPTY);
      const ended = await session.pausable(batch, async () => {
        for await (const { sample, chunk } of batch) this.#change(sample, { text: this.list[sample]!.text + chunk.text });
        return Promise.allSettled(generations.map(({ result }) => result));
      });
      for (const [index, each] of ended.entries()) {
        if (each.status === "fulfilled") this.#change(index, { text: each.value.text, result: each.value, meanLogProb: mean(each.value) });
        else this.#change(index, { problem: describeFailure(each.reason).message });
      }
      const [first] = ended;
      if (first?.status === "rejected" && ended.every(({ status }) => status === "rejected")) {
        this.list = [];
        throw first.reason;
      }
      return signal.aborted ? "Stopped by you." : `Wrote ${ended.length} ${ended.length === 1 ? "text" : "texts"}: choose one to go on with.`;
    });
  }

  async keep(session: Session, index: number): Promise<void> {
    const start = this.#start;
    const { result } = this.list[index]!;
    if (!start || !result) return;
    const config = { ...this.#options, seed: result.seed as number };
    if (await keep(session, start, () => toState(start, result.promptTokens, writtenOf(result), config))) this.#change(index, { kept: true });
  }

  #change(index: number, change: Partial<Sample>): void {
    this.list = this.list.map((sample, at) => (at === index ? { ...sample, ...change } : sample));
  }
}

function mean({ logprobs }: CachedGenerationResult): number | null {
  if (!logprobs || logprobs.length === 0) return null;
  return logprobs.reduce((sum, { logprob }) => sum + logprob, 0) / logprobs.length;
}

/** What is in the text: as tokens where they say just that, without the one that ended it. */
function writtenOf({ text, tokens, finishReason }: CachedGenerationResult): string | readonly number[] {
  if (finishReason === "eos") return tokens.slice(0, -1);
  return finishReason === "stop" || finishReason === "boundary" || finishReason === "stop-token" ? text : tokens;
}
