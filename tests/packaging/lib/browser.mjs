/**
 * Opens the templates' pages in a real browser.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { chromium as playwright } from "playwright-core";
import { serve } from "../../../scripts/serve.mjs";
import { chromium } from "../../../scripts/lib/tools.mjs";

const browser = await playwright.launch({ executablePath: await chromium() });
after(() => browser.close());

/** What the README promises the package runs under. */
const CONTENT_SECURITY_POLICY = {
  "Content-Security-Policy":
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'",
};

/**
 * Opens a page and waits until its output is complete or an error was thrown.
 *
 * @returns {Promise<{ text: string, problems: string[], scripts: string[], threads: number }>} the
 *   output, what went wrong: uncaught errors, errors on the console, which failed requests are too,
 *   or too long a wait; the paths of the scripts that were loaded, and on how many threads the
 *   model ran
 */
export async function openPage(url) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    const problems = [];
    const paths = new Set();
    context.on("request", (request) => paths.add(new URL(request.url()).pathname));
    page.on("console", (message) => {
      const { url } = message.location();
      // Browsers ask for an icon, which the templates do not have.
      if (message.type() !== "error" || url.endsWith("/favicon.ico")) return;
      problems.push(`console: ${message.text()} (${url})`);
    });
    const thrown = new Promise((resolve) => {
      page.once("pageerror", (error) => {
        problems.push(`thrown: ${error.message}`);
        resolve();
      });
    });
    await page.goto(url);
    const complete = page.locator("#output[aria-busy=false]").waitFor({ timeout: 90_000 });
    await Promise.race([complete, thrown]).catch(({ message }) => problems.push(message));
    const scripts = [...paths].filter((path) => path.endsWith(".js"));
    const output = page.locator("#output");
    const threads = Number(await output.getAttribute("data-threads"));
    return { text: await output.textContent(), problems, scripts, threads };
  } finally {
    await context.close();
  }
}

/** Opens the page of a folder of static files; the server's headers allow it threads. */
export async function openFolder(folder) {
  const server = await serve(folder, { headers: CONTENT_SECURITY_POLICY });
  try {
    return await openPage(server.url);
  } finally {
    await server.close();
  }
}

/** Asserts that a page wrote the text that plain Node writes, and that nothing went wrong. */
export function assertGenerated({ text, problems }, expected) {
  assert.deepEqual(problems, []);
  assert.notEqual(text, "");
  assert.equal(text, expected);
}
