/**
 * Generation: what each option, beams, constraints, ways of reading and texts
 * at once cost beside a text without them.
 *
 * Every model has one page, in which all is compared, in rounds. The first pass
 * is not counted: code that has not run yet is slow.
 */
import { call, launch, openPage, readSpeed } from "./browser.mjs";
import { caseOf, figuresOf, groups } from "./generation-cases.mjs";
import { prompt } from "./prompts.mjs";
import { TINY, nameOf } from "./variants.mjs";

/** Four blocks of the KV cache and the token that is always run. */
const PROMPT = 129;
/** As many as are written at once. */
const TEXTS = 8;
const WARM_UP = { prompt: 128, steps: 4 };
/** Steps to be timed: so few that two texts, one beside the other, find the machine alike. */
const stepsOf = ({ model }) => (model === TINY ? 24 : 8);
/** Of texts that need some length, so many times more. */
const LONG = 3;

/** Compares all groups in the page, with `repeats` prompts each; `record` is told every figure. */
async function compareAll(page, { repeats, steps }, record) {
  const prompts = Array.from({ length: repeats }, () => Array.from({ length: TEXTS }, () => prompt(PROMPT).ids));
  for (const group of groups()) {
    const { how, base, cases, prepare, long = false } = group;
    const used = how === "batch" ? prompts : prompts.map((texts) => texts.slice(0, 1));
    const maxTokens = 1 + steps * (long ? LONG : 1);
    const measured = await call(page, "generation", "compare", how, used, { base, cases, maxTokens, prepare });
    const unit = how === "first" ? "ms" : "ms/token";
    record({ case: caseOf("base", base.name), metric: "time", unit, value: measured.base });
    cases.forEach((each, index) => figuresOf(group, each, measured.cases[index]).forEach(record));
  }
}

/** A page with the model, in which everything has run once; `undefined` where the package refuses it. */
async function openWarm(browser, site, variant, recorder) {
  const page = await openPage(await browser.newContext(), site);
  const { refused } = await call(page, "generation", "open", variant, prompt(WARM_UP.prompt).ids);
  if (refused !== undefined) {
    recorder.notice(`skipped the generation of ${nameOf(variant)}: ${refused}`);
    await page.context().close();
    return undefined;
  }
  await compareAll(page, { repeats: 1, steps: WARM_UP.steps }, () => undefined);
  console.log(`  ready: ${nameOf(variant)}`);
  return page;
}

/**
 * Measures every variant `rounds` times, in turns, each with `repeats` prompts.
 *
 * @returns {Promise<{ one: number[], two: number[] }>} the read speeds, with one thread and two
 */
export async function measureGeneration({ site, recorder, variants, rounds, repeats }) {
  const browser = await launch();
  const speeds = { one: [], two: [] };
  try {
    const pages = new Map();
    /** Does something with a variant, which is left out from then on where that fails. */
    const attempt = async (variant, where, work) => {
      await work().catch((error) => {
        recorder.failure(`the generation of ${nameOf(variant)} failed ${where}: ${error.message}`);
        pages.delete(variant);
      });
    };
    for (const variant of variants) {
      await attempt(variant, "at first", async () => {
        const page = await openWarm(browser, site, variant, recorder);
        if (page !== undefined) pages.set(variant, page);
      });
    }
    for (let round = 1; round <= rounds; round++) {
      const context = await browser.newContext();
      const { one, two } = await readSpeed(context, site);
      await context.close();
      speeds.one.push(one);
      speeds.two.push(two);
      for (const [variant, page] of pages) {
        console.log(`  generation ${round}/${rounds}: ${nameOf(variant)}`);
        const record = ({ value, ...at }) => recorder.add(variant, { ...at, round }, value);
        await attempt(variant, `in round ${round}`, () => compareAll(page, { repeats, steps: stepsOf(variant) }, record));
      }
    }
  } finally {
    await browser.close();
  }
  return speeds;
}
