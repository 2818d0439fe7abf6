/**
 * The demo's look inside the model for everyone: axe finds nothing in any view
 * and scheme, and each fits the narrowest screens.
 */
import test from "node:test";
import { serve } from "../../scripts/serve.mjs";
import { assertAccessible, assertFits } from "./lib/accessible.mjs";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openDemo } from "./lib/demo.mjs";
import { DEMO } from "./lib/paths.mjs";

const browser = await launch();
const server = await serve(DEMO);
test.after(() => server.close());

const VIEWS = {
  Tokens: ["tokens"],
  Attention: ["attention"],
  Heads: ["importance"],
  Layers: ["layers", "attribution"],
  Memory: ["memory"],
};

test("every view", { timeout: 5 * TIMEOUT_MS }, async (t) => {
  const { page, demo } = await openDemo(await browser.newContext(), server.url);
  await page.emulateMedia({ reducedMotion: "reduce" });
  await demo.until("idle");
  await demo.run({ prompt: "Once upon a time there was a little girl. The little girl had a dog.", seed: 1, maxTokens: 16 });
  await demo.openAnalysis();
  for (const [name, kinds] of Object.entries(VIEWS)) {
    await t.test(name, async () => {
      await page.setViewportSize({ width: 1280, height: 800 });
      for (const kind of kinds) await demo.analyse(name, kind);
      const view = await demo.analysisView(name);
      for (const summary of await view.locator("summary").all()) await summary.click();
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await assertAccessible(page);
      }
      for (const width of [320, 768, 1280, 1440]) await assertFits(page, width);
      if (name === "Attention") {
        await view.getByLabel("As", { exact: true }).selectOption("lines");
        await assertAccessible(page);
        await assertFits(page, 320);
      }
    });
  }
});
