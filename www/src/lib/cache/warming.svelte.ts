/**
 * Answers computed ahead of time, for prompts that will be asked: a prompt a
 * line, each with the options of the next generation, so that it is that
 * request which is then found.
 */

import type { WarmProgress, WarmRequest } from "cacher-wasm";
import { errorCode } from "../failure.ts";
import { texts } from "../generation/options/codecs.ts";
import type { Session } from "../session.svelte.ts";
import type { Range, Settings } from "../settings.svelte.ts";
import { formatCount } from "../words.ts";

export const concurrencyRange = { min: 1, max: 16, step: 1, initial: 1 } as const satisfies Range;

type Counts = Omit<WarmProgress, "total">;

const NOTHING: Counts = { computed: 0, present: 0, failed: 0 };

export class Warming {
  /** As typed. */
  text = $state("");
  concurrency = $state(concurrencyRange.initial as number);
  progress = $state.raw<WarmProgress | null>(null);
  /** What came of it, in a sentence. */
  outcome = $state("");
  /** Loading the model included. */
  running = $state(false);

  readonly prompts = $derived(texts.parse(this.text, "prompts"));

  async run(session: Session, settings: Settings): Promise<void> {
    const { prompts, concurrency } = this;
    if (session.busy || prompts.length === 0) return;
    this.running = true;
    this.outcome = "";
    this.progress = { total: prompts.length, ...NOTHING };
    try {
      await session.use("warming", "Warming the cache…", settings, async (engine, signal) => {
        const options = optionsOf(settings);
        const requests: WarmRequest[] = prompts.map((prompt) => ({ prompt, options }));
        const onProgress = (progress: WarmProgress): void => void (this.progress = progress);
        const ended = await engine.cache.warm(requests, { concurrency, signal, onProgress }).then(
          () => "Warmed",
          (error: unknown) => {
            if (signal.aborted && errorCode(error) === "aborted") return "Stopped by you";
            throw error;
          },
        );
        const counts = this.progress ?? NOTHING;
        // One that fails does not end it and does not say why. Where all do, the first is asked for again, which says it.
        if (counts.failed === prompts.length) await engine.generate(prompts[0]!, { cache: true, ...options, signal }).result;
        this.outcome = `${ended}: ${describeCounts(counts)}.`;
        return this.outcome;
      });
    } finally {
      this.running = false;
      this.progress = null;
    }
  }
}

/** Those of the next request, as far as they decide the answer or how it is kept. Error: `invalid-option`. */
function optionsOf(settings: Settings): NonNullable<WarmRequest["options"]> {
  const options = settings.toOptions();
  const { logprobs } = settings.toStream();
  const { tags = [], cacheTtl, cache, forceRefresh } = settings.cache.toControls();
  return {
    ...options,
    // The one that a request has which is to be found.
    seed: options.seed ?? 0,
    tags,
    ...(logprobs === undefined ? {} : { logprobs }),
    ...(cacheTtl === undefined ? {} : { cacheTtl }),
    ...(cache === "refresh" || forceRefresh ? { forceRefresh: true } : {}),
  };
}

export function describeCounts({ computed, present, failed }: Counts): string {
  return `${formatCount(computed)} computed, ${formatCount(present)} kept already, ${formatCount(failed)} failed`;
}
