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
const WARM_UP = { prompt: 128, maxTokens: 4 };
/** A text of about 0.1 s. */
const maxTokensOf = ({ model }) => (model === TINY ? 65 : 25);

/** Compares all groups in the page, with `repeats` prompts each; `record` is told every figure. */
async function compareAll(page, { repeats, maxTokens }, record) {
  for (const group of groups()) {
    const { section, how, base, cases } = group;
    const texts = how === "batch" ? TEXTS : 1;
    const prompts = Array.from({ length: repeats }, () => Array.from({ length: texts }, () => prompt(PROMPT).ids));
    const measured = await call(page, "generation", "compare", how, prompts, { base, cases, maxTokens });
    const unit = how === "first" ? "ms" : "ms/token";
    record({ case: caseOf("base", base.name), metric: "time", unit, value: measured.base });
    cases.forEach((each, index) => figuresOf(group, each, measured.cases[index]).forEach(record));
  }
}

/** A page with each model; those that the package refuses are left out. */
async function openVariants(browser, site, variants, recorder) {
  const open = [];
  for (const variant of variants) {
    const page = await openPage(await browser.newContext(), site);
    const { refused } = await call(page, "generation", "open", variant, prompt(WARM_UP.prompt).ids);
    if (refused !== undefined) {
      recorder.notice(`skipped the generation of ${nameOf(variant)}: ${refused}`);
      await page.context().close();
      continue;
    }
    await compareAll(page, { repeats: 1, maxTokens: WARM_UP.maxTokens }, () => undefined);
    console.log(`  ready: ${nameOf(variant)}`);
    open.push({ page, variant });
  }
  return open;
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
    let open = await openVariants(browser, site, variants, recorder);
    for (let round = 1; round <= rounds; round++) {
      const context = await browser.newContext();
      const { one, two } = await readSpeed(context, site);
      await context.close();
      speeds.one.push(one);
      speeds.two.push(two);
      for (const { page, variant } of open) {
        console.log(`  generation ${round}/${rounds}: ${nameOf(variant)}`);
        const record = ({ value, ...at }) => recorder.add(variant, { ...at, round }, value);
        await compareAll(page, { repeats, maxTokens: maxTokensOf(variant) }, record).catch((error) => {
          recorder.failure(`the generation of ${nameOf(variant)} failed in round ${round}: ${error.message}`);
          open = open.filter((other) => other.variant !== variant);
        });
      }
    }
  } finally {
    await browser.close();
  }
  return speeds;
}
