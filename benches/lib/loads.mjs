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
  recorder.add(variant, at("wasm memory", "MB"), (await wasmBytes(page)) / MB);
  await page.waitForTimeout(SETTLE_MS);
  await page.close();
  return true;
}

/** Measures the variants in turn, `repeats` times; those that can be loaded. */
export async function measureLoads({ site, recorder, variants, repeats }) {
  let usable = variants;
  const browser = await launch();
  try {
    for (let round = 1; round <= repeats; round++) {
      for (const variant of usable) {
        console.log(`  load ${round}/${repeats}: ${nameOf(variant)}`);
        const context = await browser.newContext();
        const common = { browser, context, site, recorder, variant, round };
        const loaded = (await measureLoad({ ...common, kind: "cold" })) && (await measureLoad({ ...common, kind: "warm" }));
        if (!loaded) usable = usable.filter((other) => other !== variant);
        await context.close();
      }
    }
  } finally {
    await browser.close();
  }
  return usable;
}
