/**
 * Runs every test, or one step of them.
 *
 *     npm test             everything, in order, up to the first failure
 *     npm test -- browser  one step
 *
 * Each step sets up what it needs. What the test programs print is not filtered.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { build, buildPackage } from "./build.mjs";
import { ensureNpmPackages, npm } from "./lib/npm.mjs";
import { Failure, root, run, runAsScript, say } from "./lib/process.mjs";
import { checkRust, ensureComponent } from "./lib/rust.mjs";
import { chromium, redisServer, webdis } from "./lib/tools.mjs";

/** Runs the test files of a folder one at a time, because browsers side by side slow each other down. */
async function nodeTests(folder, env = {}) {
  const path = join(root, folder);
  const files = (existsSync(path) ? readdirSync(path) : [])
    .filter((name) => name.endsWith(".test.mjs"))
    .map((name) => `${folder}/${name}`);
  // Given no file, node would search for some.
  if (files.length === 0) throw new Failure(`There are no tests in ${folder}.`);
  await run(
    process.execPath,
    ["--test", "--test-concurrency=1", "--test-reporter=spec", ...files],
    { env },
  );
}

const STEPS = {
  async rust() {
    checkRust();
    await ensureComponent("fmt");
    await ensureComponent("clippy");
    await run("cargo", ["fmt", "--all", "--check"], { advice: "Run `cargo fmt --all`." });
    await run("cargo", [
      ...["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
    ]);
    await run("cargo", ["test", "--workspace", "--locked"]);
  },
  async types() {
    await buildPackage();
    await npm(["run", "check", "--workspaces", "--if-present"]);
  },
  async unit() {
    await buildPackage();
    await npm(["test", "--workspaces", "--if-present"]);
    await nodeTests("benches/test");
  },
  async cache() {
    await buildPackage();
    await redisServer();
    await webdis();
    await nodeTests("tests/cache");
  },
  async browser() {
    await build({ golden: true });
    await nodeTests("tests/browser", { CHROME_PATH: await chromium() });
  },
  async packaging() {
    await buildPackage();
    await nodeTests("tests/packaging", { CHROME_PATH: await chromium() });
  },
};

const seconds = (start) => `${((performance.now() - start) / 1000).toFixed(1)} s`;

await runAsScript(import.meta, async (args) => {
  const unknown = args.find((name) => !Object.hasOwn(STEPS, name));
  if (unknown !== undefined) {
    throw new Failure(`There is no test step "${unknown}": ${Object.keys(STEPS).join(", ")}.`);
  }
  const names = args.length > 0 ? args : Object.keys(STEPS);
  const times = [];
  await ensureNpmPackages();
  for (const name of names) {
    const start = performance.now();
    say(`test step ${name}`);
    try {
      await STEPS[name]();
    } catch (error) {
      if (error instanceof Failure) {
        error.message = `test step ${name} failed after ${seconds(start)}: ${error.message}`;
      }
      throw error;
    }
    times.push(`${name} ${seconds(start)}`);
    say(`test step ${name} passed in ${seconds(start)}`);
  }
  console.log(`\ncacher: all passed: ${times.join(", ")}`);
});
