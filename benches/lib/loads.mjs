/**
 * Loading: from the page's start to the first token, the first time and from
 * the device's own storage, and the memory that it takes at most.
 */
import { call, launch, openPage, peakOf, processOf, resetPeak, wasmBytes } from "./browser.mjs";
import { prompt } from "./prompts.mjs";
import { nameOf } from "./variants.mjs";

const MB = 1e6;
/** Time for what an engine still stores once it is ready. */
const SETTLE_MS = 1000;

/** Loads in a new page of the context; `false` where the engine refuses. */
async function measureLoad({ browser, context, site, recorder, variant, kind, round }) {
  const page = await openPage(context, site);
  const id = await processOf(browser, page);
  resetPeak(id);
  await call(page, "watchWorkers");
  const { refused, firstTokenMs } = await call(page, "load", variant, prompt(8));
  if (refused !== undefined) {
    recorder.notice(`skipped ${nameOf(variant)}: ${refused}`);
    return false;
  }
  await call(page, "generate", prompt(128), { maxTokens: 8 });
  const at = (metric, unit) => ({ case: `${kind} load`, metric, unit, round });
  recorder.add(variant, at("to first token", "ms"), firstTokenMs);
  const peak = peakOf(id);
  if (peak !== undefined) recorder.add(variant, at("peak memory", "MB"), peak / MB);
  const bytes = await wasmBytes(page);
  if (bytes > 0) recorder.add(variant, at("wasm memory", "MB"), bytes / MB);
  await page.waitForTimeout(SETTLE_MS);
  await page.close();
  return true;
}

/**
 * The variants whose loading is measured: threads make no difference to it, and
 * a quick run has time for one of each engine, the first that it can load.
 */
class Candidates {
  #list;
  #onePerEngine;

  constructor(variants, onePerEngine) {
    this.#list = variants.filter(({ threads }) => threads === 1);
    this.#onePerEngine = onePerEngine;
  }

  get list() {
    return [...this.#list];
  }

  has(variant) {
    return this.#list.includes(variant);
  }

  refuse(variant) {
    this.#list = this.#list.filter((other) => other !== variant);
  }

  accept(variant) {
    if (!this.#onePerEngine) return;
    this.#list = this.#list.filter((other) => other === variant || other.engine !== variant.engine);
  }
}

/** Measures the variants in turn, `repeats` times; those that turned out not to load. */
export async function measureLoads({ site, recorder, variants, repeats, onePerEngine }) {
  const candidates = new Candidates(variants, onePerEngine);
  const refused = [];
  const browser = await launch();
  try {
    for (let round = 1; round <= repeats; round++) {
      for (const variant of candidates.list) {
        if (!candidates.has(variant)) continue;
        console.log(`  load ${round}/${repeats}: ${nameOf(variant)}`);
        const context = await browser.newContext();
        const common = { browser, context, site, recorder, variant, round };
        if (await measureLoad({ ...common, kind: "cold" })) {
          await measureLoad({ ...common, kind: "warm" });
          candidates.accept(variant);
        } else {
          refused.push(variant);
          candidates.refuse(variant);
        }
        await context.close();
      }
    }
  } finally {
    await browser.close();
  }
  return refused;
}
