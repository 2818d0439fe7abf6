/**
 * States: what forks, saving, restoring and the rest cost.
 *
 * In each round one page does it all, and for each length of text another page
 * finds the saved state again. They share a profile on disk, as a user's pages
 * do: that of a private window would keep everything in memory.
 */
import { call, launchProfile, openPage, readSpeed } from "./browser.mjs";
import { prompt } from "./prompts.mjs";
import { nameOf } from "./variants.mjs";

/** Of the text that all is done with but for saving and restoring. */
const LENGTH = 512;
const WARM_UP = 128;
const MEMORY = { forks: 20, more: 8 };
const FORKS = { count: 100 };
const REPEATS = 10;
/** Where the two branches to merge each replace as many tokens. */
const EDITS = { at: [96, 384], length: 8 };

const ids = (length) => prompt(length).ids;

/** One round of one variant. */
class Round {
  constructor({ context, site, recorder, variant, round, lengths }) {
    Object.assign(this, { context, site, recorder, variant, round, lengths });
  }

  record(figures) {
    for (const { value, ...at } of figures) this.recorder.add(this.variant, { ...at, round: this.round }, value);
  }

  /** A page with the model; `undefined` where the package refuses the variant. */
  async open() {
    const page = await openPage(this.context, this.site);
    const { refused } = await call(page, "states", "open", this.variant, ids(WARM_UP));
    if (refused === undefined) return page;
    this.recorder.notice(`skipped the states of ${nameOf(this.variant)}: ${refused}`);
    await page.close();
    return undefined;
  }

  /** `false` where the package refuses the variant. */
  async run() {
    const page = await this.open();
    if (page === undefined) return false;
    // Threads make a difference to computing alone.
    if (this.variant.threads === 1) await this.work(page);
    const saved = await this.save(page);
    await page.close();
    for (const { id, tokens } of saved) {
      const next = await this.open();
      // What comes first finds the page less warm, so they take turns.
      const recomputeFirst = this.round % 2 === 0;
      this.record(await call(next, "states", "restore", id, tokens, { recomputeFirst }));
      await next.close();
    }
    return true;
  }

  /** All that needs one page. */
  async work(page) {
    const states = (name, ...args) => call(page, "states", name, ...args);
    this.record(await states("memory", ids(LENGTH), MEMORY));
    this.record(await states("fork", ids(LENGTH), FORKS));
    this.record(await states("changes", ids(LENGTH), Array.from({ length: REPEATS }, () => ids(EDITS.length))));
    const edits = EDITS.at.map((start) => [start, ids(EDITS.length)]);
    this.record(await states("branches", ids(LENGTH), edits, ids(LENGTH), { count: REPEATS }));
    this.record(await states("files", this.variant, ids(LENGTH)));
  }

  /** Saves a state of each length. */
  async save(page) {
    const saved = [];
    for (const length of this.lengths) {
      const tokens = ids(length);
      const { id, figures } = await call(page, "states", "save", tokens);
      this.record(figures);
      saved.push({ id, tokens });
    }
    return saved;
  }
}

/**
 * Measures every variant `rounds` times, in turns; texts of `lengths` are saved
 * and restored.
 *
 * @returns {Promise<{ one: number[], two: number[] }>} the read speeds, with one thread and two
 */
export async function measureStates({ site, recorder, variants, rounds, lengths }) {
  const { context, close } = await launchProfile();
  const speeds = { one: [], two: [] };
  let left = variants;
  try {
    for (let round = 1; round <= rounds; round++) {
      const { one, two } = await readSpeed(context, site);
      speeds.one.push(one);
      speeds.two.push(two);
      for (const variant of left) {
        console.log(`  states ${round}/${rounds}: ${nameOf(variant)}`);
        const turn = new Round({ context, site, recorder, variant, round, lengths });
        const done = await turn.run().catch((error) => {
          recorder.failure(`the states of ${nameOf(variant)} failed in round ${round}: ${error.message}`);
          return false;
        });
        if (!done) left = left.filter((other) => other !== variant);
      }
    }
  } finally {
    await close();
  }
  return speeds;
}
