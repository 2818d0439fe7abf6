/** A beam search: its tree as it grows, and the sequences that it finds. */

import type { BeamSearch, BeamSequence } from "cacher-wasm";
import type { Session } from "../session.svelte.ts";
import type { Settings } from "../settings.svelte.ts";
import { formatCount } from "../words.ts";
import { BeamTree } from "./beam-tree.ts";
import { keep, startFrom, type From, type Start } from "./start.ts";

export class Beams {
  tree = $state.raw(new BeamTree());
  /** What was found, best first, once the search has ended. */
  sequences = $state.raw<readonly BeamSequence[]>([]);
  /** By their numbers, those that are states now. */
  kept = $state.raw<ReadonlySet<number>>(new Set());
  #search: { search: BeamSearch; start: Start } | null = null;

  run(session: Session, settings: Settings, from: From, prompt: string): Promise<void> {
    return session.use("searching", "Searching with beams…", settings, async (engine, signal) => {
      this.tree = new BeamTree();
      this.sequences = [];
      this.kept = new Set();
      const options = { ...settings.toOptions(), ...settings.beams.values(), signal };
      const start = await startFrom(from, prompt, engine, session);
      const search = engine.beamSearch(start.state?.handle ?? prompt, options);
      this.#search = { search, start };
      const result = await session.pausable(search, async () => {
        for await (const step of search) this.tree = this.tree.with(step);
        return search.result;
      });
      this.sequences = result.sequences;
      const found = `${result.sequences.length} ${result.sequences.length === 1 ? "text" : "texts"} in ${formatCount(result.steps)} steps`;
      return signal.aborted ? `Stopped by you: ${found}.` : `Found ${found}.`;
    });
  }

  async keep(session: Session, index: number): Promise<void> {
    const sequence = this.sequences[index];
    if (!this.#search || !sequence) return;
    const { search, start } = this.#search;
    if (await keep(session, start, () => search.toState(sequence))) this.kept = new Set([...this.kept, index]);
  }
}
