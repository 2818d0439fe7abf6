/**
 * The cache of responses: what memory and each layer behind it take, and what a
 * hit saves of computing.
 *
 * Each round has a profile of its own on disk, so that it begins with empty
 * databases. What is to be found in storage is looked for by a new page.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root, which } from "../../scripts/lib/process.mjs";
import { startRedis, startWebdis } from "../../tests/lib/redis.mjs";
import { call, launchProfile, openPage, readSpeed } from "./browser.mjs";
import { prompt } from "./prompts.mjs";
import { NONE, nameOf } from "./variants.mjs";

/** English prose, as answers are: ASCII, on one line. */
const PROSE = readFileSync(join(root, "benches/accuracy/engineers-thumb.txt"), "latin1").replace(/[^ -~]+/g, " ");

const SHORT = 300;
const LENGTHS = [SHORT, 10_000];
const COMPILED_AFTER = { entries: 100, calls: 100_000 };
const PROSE_LENGTHS = [1_000, 4_000, 16_000];
const PROMPT_LENGTHS = [200, 5_000];
/** Of calls over the boundary of a worker, and to storage. */
const BOUNDARY = { entries: 1_000, calls: 5_000 };
const STORED_CALLS = 500;
const REMOTE = { entries: 200, calls: 1_000 };
const COMPRESSION_CALLS = 2_000;

const GENERATION = { prompts: 4, length: 128, maxTokens: 32, hits: 10 };
const MEANING = { lengths: [8, 32, 128], prompts: 9 };
const WARM_UP = 128;

/** A JSON text of so many characters. */
const json = (length) => JSON.stringify(PROSE.replaceAll(/["\\]/g, "'").slice(0, length - 2));
const texts = (count, length) => Array.from({ length: count }, () => prompt(length).text);

/** One round of all. */
class Round {
  constructor({ context, site, recorder, round, webdis }) {
    Object.assign(this, { context, site, recorder, round, webdis });
  }

  /** Has a new page do something, and records the figures that it gives. */
  async measure(variant, work) {
    const page = await openPage(this.context, this.site);
    const record = async (...asked) => {
      const figures = await call(page, ...asked);
      for (const { value, ...at } of figures ?? []) this.recorder.add(variant, { ...at, round: this.round }, value);
      return figures;
    };
    await work(record, page);
    await page.close();
  }

  /** What needs no model; `entries` is how many there are, one after the other. */
  async withoutModel(variant, { entries, calls }) {
    await this.measure(variant, async (record, page) => {
      // Has the code compiled for good; the first case would pay for it.
      await call(page, "responseCore", "memory", json(SHORT), COMPILED_AFTER.entries, COMPILED_AFTER.calls);
      for (const length of LENGTHS) {
        for (const count of entries) await record("responseCore", "memory", json(length), count, calls);
      }
      await record("responseCore", "keying", PROMPT_LENGTHS.map((length) => PROSE.slice(0, length)), calls / 10);
      await record("responseCore", "compression", PROSE_LENGTHS.map((length) => PROSE.slice(0, length)), COMPRESSION_CALLS);
      await record("responseCore", "search", entries);
    });
    await this.measure(variant, (record) => record("responses", "boundary", PROSE.slice(0, SHORT), BOUNDARY));
    let from = 0;
    for (const count of entries) {
      const what = { from, count, length: SHORT, timedCalls: STORED_CALLS };
      await this.measure(variant, (record) => record("responses", "store", PROSE, what));
      await this.measure(variant, (record) => record("responses", "stored", what));
      from = count;
    }
    if (this.webdis === undefined) return;
    await this.measure(variant, (record) => record("responses", "remote", this.webdis.url, PROSE.slice(0, SHORT), REMOTE));
  }

  /** A model's generations. */
  async withModel(variant) {
    const prompts = texts(GENERATION.prompts, GENERATION.length);
    const open = (page) => call(page, "responses", "open", variant, prompt(WARM_UP).ids);
    await this.measure(variant, async (record, page) => {
      await open(page);
      await record("responses", "repeat", prompts, GENERATION);
    });
    await this.measure(variant, async (record, page) => {
      await open(page);
      await record("responses", "afterReload", prompts, GENERATION);
      const lists = MEANING.lengths.map((length) => ({ length, prompts: texts(MEANING.prompts, length) }));
      if ((await record("responses", "meaning", lists)) === undefined && this.round === 1) {
        this.recorder.notice(`skipped the vectors of prompts of ${nameOf(variant)}: the package cannot make them`);
      }
    });
  }
}

/** Redis and Webdis, where the machine has both. */
async function startServers(recorder) {
  const missing = ["redis-server", "webdis"].filter((name) => which(name) === undefined);
  if (missing.length > 0) {
    recorder.notice(`skipped the cache's layer in Redis: ${missing.join(" and ")} not installed`);
    return { close: async () => undefined };
  }
  const redis = await startRedis();
  const webdis = await startWebdis(redis);
  return {
    webdis,
    close: async () => {
      await webdis.close();
      await redis.close();
    },
  };
}

/**
 * Measures `rounds` rounds; `entries` says with how many entries memory and
 * storage are measured, ascending, `calls` how many gets of memory are timed.
 *
 * @returns {Promise<{ one: number[], two: number[] }>} the read speeds, with one thread and two
 */
export async function measureResponses({ site, recorder, variants, rounds, ...extent }) {
  const { webdis, close: closeServers } = await startServers(recorder);
  const speeds = { one: [], two: [] };
  let left = variants;
  try {
    for (let round = 1; round <= rounds; round++) {
      const { context, close } = await launchProfile();
      try {
        const { one, two } = await readSpeed(context, site);
        speeds.one.push(one);
        speeds.two.push(two);
        const turn = new Round({ context, site, recorder, round, webdis });
        for (const variant of left) {
          const name = variant.model === NONE ? "without a model" : `of ${nameOf(variant)}`;
          console.log(`  responses ${round}/${rounds}: ${name}`);
          const work = variant.model === NONE ? turn.withoutModel(variant, extent) : turn.withModel(variant);
          await work.catch((error) => {
            recorder.failure(`responses ${name} failed in round ${round}: ${error.message}`);
            left = left.filter((other) => other !== variant);
          });
        }
      } finally {
        await close();
      }
    }
  } finally {
    await closeServers();
  }
  return speeds;
}
