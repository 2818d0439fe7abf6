/**
 * A real Chromium, without a window, for one test file.
 */
import { test } from "node:test";
import { chromium } from "playwright-core";
import { chromium as findChromium } from "../../../scripts/lib/tools.mjs";

const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const options = async () => ({
  executablePath: await findChromium(),
  // Chromium refuses to sandbox itself for root.
  chromiumSandbox: process.getuid?.() !== 0,
  args: FLAGS,
});

/** A slow machine takes its time; a test that hangs still ends. */
export const TIMEOUT_MS = 120_000;

/** Starts a browser that ends with the file's tests. */
export async function launch() {
  const browser = await chromium.launch(await options());
  test.after(() => browser.close());
  return browser;
}

/** Starts a browser whose profile is the folder `profile`, so that it survives a restart. */
export async function launchProfile(profile) {
  return chromium.launchPersistentContext(profile, await options());
}

/** A new page in `context` that gives what goes wrong in it as a list of lines. */
export async function watchedPage(context) {
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  const problems = [];
  // Violations of the Content Security Policy come as errors of the console.
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") {
      problems.push(`${message.type()}: ${message.text()} (${message.location().url})`);
    }
  });
  page.on("pageerror", (error) => problems.push(`uncaught: ${error.stack ?? error.message}`));
  return { page, problems };
}
