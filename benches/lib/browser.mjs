/**
 * Pages of the benchmark in a real Chromium without a window, and what their
 * processes take.
 *
 * Each page has a context of its own, hence a process and an empty storage of
 * its own.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { chromium as findChromium } from "../../scripts/lib/tools.mjs";

const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A page that another one covers must not run slower.
  "--disable-renderer-backgrounding",
  "--disable-backgrounding-occluded-windows",
  "--disable-background-timer-throttling",
];
const PAGE = "benches/pages/index.html";
const TIMEOUT_MS = 300_000;

const options = async () => ({
  executablePath: await findChromium(),
  // Chromium refuses to sandbox itself for root.
  chromiumSandbox: process.getuid?.() !== 0,
  args: FLAGS,
});

export async function launch() {
  return chromium.launch(await options());
}

/** A browser with one context, whose storage is on disk and gone with it. */
export async function launchProfile() {
  const folder = mkdtempSync(join(tmpdir(), "bench-profile-"));
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  try {
    const context = await chromium.launchPersistentContext(folder, await options());
    return { context, close: () => context.close().finally(remove) };
  } catch (error) {
    remove();
    throw error;
  }
}

/** Opens the page in a context; `bench` of page.js is a global in it. */
export async function openPage(context, site) {
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  await page.goto(new URL(PAGE, site.url).href);
  await page.waitForFunction(() => globalThis.bench !== undefined);
  return page;
}

/** Calls a function of `bench`. */
export function call(page, name, ...args) {
  return page.evaluate(([name, args]) => globalThis.bench[name](...args), [name, args]);
}

/** Gigabytes a second that one thread, and two together, read from memory, in a page of the context. */
export async function readSpeed(context, site) {
  const reader = await openPage(context, site);
  const speed = await call(reader, "readSpeed");
  await reader.close();
  return speed;
}

async function rendererTimes(browser) {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  return new Map(processInfo.filter(({ type }) => type === "renderer").map(({ id, cpuTime }) => [id, cpuTime]));
}

/**
 * The process of a page: the one whose time grows while the page spins, and
 * grows most by far, since Chromium starts processes ahead of need.
 */
export async function processOf(browser, page) {
  for (;;) {
    const before = await rendererTimes(browser);
    await call(page, "spin", 300);
    const after = await rendererTimes(browser);
    const grown = [...after].map(([id, time]) => ({ id, time: time - (before.get(id) ?? 0) }));
    const [first, second] = grown.sort((a, b) => b.time - a.time);
    if (before.has(first.id) && first.time > 3 * (second?.time ?? 0)) return first.id;
  }
}

/** Forgets the largest memory a process ever had; `false` where the system cannot. */
export function resetPeak(id) {
  try {
    writeFileSync(`/proc/${id}/clear_refs`, "5");
    return true;
  } catch {
    return false;
  }
}

/** The largest memory that a process had, in bytes; `undefined` where the system does not tell. */
export function peakOf(id) {
  try {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${id}/status`, "utf8"))[1]) * 1024;
  } catch {
    return undefined;
  }
}

/** Bytes of WebAssembly memory in a page and its workers; one that threads share counts once. */
export async function wasmBytes(page) {
  const memories = await call(page, "listMemories");
  const own = memories.filter(({ shared }) => !shared).reduce((sum, { bytes }) => sum + bytes, 0);
  return own + Math.max(0, ...memories.filter(({ shared }) => shared).map(({ bytes }) => bytes));
}
