/**
 * The demo for everyone: axe finds nothing in any state and scheme, and the
 * page fits the narrowest screens.
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

/** One context for all, so that the model is downloaded once. */
const context = await browser.newContext();

const STATES = {
  async idle(demo) {
    await demo.until("idle");
  },
  async generating(demo) {
    await demo.beginLongRun();
    // Else it might be over before all has been looked at.
    await demo.page.getByTestId("pause").click();
  },
  async ready(demo) {
    await demo.run({ seed: 1, maxTokens: 16 });
    await demo.until("ready");
  },
  async measured(demo) {
    await demo.measure();
  },
  async error(demo) {
    await demo.page.getByRole("radio", { name: "From an address" }).check();
    await demo.page.getByLabel(/^Address of a/).fill(`${server.url}nowhere/model.gguf`);
    await demo.generate.click();
    await demo.until("error");
  },
};

/** The phase of the page, where it is not called as the state is. */
const SHOWN = { measured: "ready" };

for (const colorScheme of ["light", "dark"]) {
  for (const [state, reach] of Object.entries(STATES)) {
    test(`${state}, ${colorScheme}`, { timeout: 2 * TIMEOUT_MS }, async () => {
      const { page, demo } = await openDemo(context, server.url);
      await page.evaluate(() => localStorage.clear());
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.reload();
      await reach(demo);
      await assertAccessible(page);
      await demo.until(SHOWN[state] ?? state);
      for (const width of [320, 768, 1280]) await assertFits(page, width);
      await page.close();
    });
  }
}
