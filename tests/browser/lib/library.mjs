/**
 * The package in an otherwise empty page, unbundled, as it is published.
 *
 * The page has the strictest policy the package promises to run under, and no
 * cross-origin isolation unless it is given: what works here needs neither.
 */
import { join } from "node:path";
import { root } from "../../../scripts/lib/process.mjs";
import { watchedPage } from "./browser.mjs";
import { FIXTURES, MODELS, PACKAGE } from "./paths.mjs";
import { startServer } from "./server.mjs";

export const POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'";

/** Headers that make the page cross-origin isolated, which threads need. */
export const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

const PAGE = '<!doctype html><meta charset="utf-8"><title>Test</title>';

/** The package at /pkg/, the models at /models/, the fixtures at /fixtures/, and `files`. */
export async function serveLibrary({ files = {}, headers = {} } = {}) {
  return startServer({
    folders: {
      "/pkg/": PACKAGE,
      "/models/": MODELS,
      "/fixtures/": FIXTURES,
      "/in-page/": join(root, "tests", "browser", "in-page"),
    },
    files: {
      "/": { body: PAGE, type: "text/html; charset=utf-8" },
      // Browsers ask for it of their own accord, and would log its absence.
      "/favicon.ico": { body: "", type: "image/x-icon" },
      ...files,
    },
    headers: { "Content-Security-Policy": POLICY, ...headers },
  });
}

/**
 * Opens the page; `kit` (see in-page/kit.js) is a global in it. With a new
 * context nothing is stored yet.
 */
export async function openLibrary(browserOrContext, server) {
  const context = browserOrContext.newContext ? await browserOrContext.newContext() : browserOrContext;
  const { page, problems } = await watchedPage(context);
  await page.goto(server.url);
  await startKit(page);
  return { context, page, problems };
}

/** Also after a reload. */
export async function startKit(page) {
  await page.evaluate(async () => {
    globalThis.kit = await import("/in-page/kit.js");
  });
}
