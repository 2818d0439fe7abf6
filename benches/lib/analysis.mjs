/**
 * Analysis: what looking into the model costs.
 *
 * Every model has one page, in which all is measured once a round. No text is
 * used twice, so that nothing is found in the KV cache but what is meant to be.
 */
import { call, launch, openPage, readSpeed } from "./browser.mjs";
import { prompt } from "./prompts.mjs";
import { TINY, nameOf } from "./variants.mjs";

const ids = (length) => prompt(length).ids;

const WARM_UP = 128;
/** Four blocks of the KV cache and the token that is always run. */
const PROMPT = 129;
const SCORED = 900;
/** All heads of GPT-2's smallest model fit into one result up to 341. */
const MAPPED = 256;
/** One run for each head: of the small model alone. */
const ABLATED = 64;

/** One round of one variant; `record` is told every figure. */
async function measureOnce(page, variant, { repeats, steps }, record) {
  const analysis = async (name, ...args) => (await call(page, "analysis", name, ...args)).forEach(record);
  await analysis("capture", Array.from({ length: repeats }, () => ids(PROMPT)), { maxTokens: steps });
  await analysis("logProbs", ids(SCORED), ids(SCORED));
  await analysis("attentionMap", ids(MAPPED));
  if (variant.model === TINY) await analysis("importance", ids(ABLATED));
}

/**
 * Measures every variant `rounds` times, in turns.
 *
 * @returns {Promise<{ one: number[], two: number[] }>} the read speeds, with one thread and two
 */
export async function measureAnalysis({ site, recorder, variants, rounds, repeats, steps }) {
  const browser = await launch();
  const speeds = { one: [], two: [] };
  try {
    const pages = new Map();
    for (const variant of variants) {
      const page = await openPage(await browser.newContext(), site);
      const { refused } = await call(page, "analysis", "open", variant, ids(WARM_UP));
      if (refused === undefined) pages.set(variant, page);
      else recorder.notice(`skipped the analysis of ${nameOf(variant)}: ${refused}`);
    }
    for (let round = 1; round <= rounds; round++) {
      const context = await browser.newContext();
      const { one, two } = await readSpeed(context, site);
      await context.close();
      speeds.one.push(one);
      speeds.two.push(two);
      for (const [variant, page] of pages) {
        console.log(`  analysis ${round}/${rounds}: ${nameOf(variant)}`);
        const record = ({ value, ...at }) => recorder.add(variant, { ...at, round }, value);
        await measureOnce(page, variant, { repeats, steps }, record).catch((error) => {
          recorder.failure(`the analysis of ${nameOf(variant)} failed in round ${round}: ${error.message}`);
          pages.delete(variant);
        });
      }
    }
  } finally {
    await browser.close();
  }
  return speeds;
}
