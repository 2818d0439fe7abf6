/**
 * Measures this package and its peers in headless Chromium, side by side.
 *
 *     npm run bench -- --help
 *
 * The peers are npm packages of this folder, which nothing else needs: they are
 * installed here on first use, from this folder's own lock file.
 */
import { buildPackage } from "../scripts/build.mjs";
import { ensureNpmPackages } from "../scripts/lib/npm.mjs";
import { runAsScript } from "../scripts/lib/process.mjs";

await runAsScript(import.meta, async (args) => {
  await ensureNpmPackages();
  await ensureNpmPackages("benches");
  // From here on packages of npm are there.
  const { HELP, parseArguments } = await import("./lib/arguments.mjs");
  const options = parseArguments(args);
  if (options === undefined) return console.log(HELP);
  const { writeModels } = await import("./models/write.mjs");
  const { runBenchmark } = await import("./lib/session.mjs");
  if (!options.noBuild) await buildPackage();
  await writeModels();
  await runBenchmark(options);
});
