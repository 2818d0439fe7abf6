/**
 * Measures what each number format costs in accuracy, beside f32.
 *
 *     npm run accuracy                  # under 5 minutes
 *     npm run accuracy -- --quick       # a quarter of the text
 *     npm run accuracy -- --no-build    # measures what is in pkg/dist as it is
 *
 * It runs in Node, on the package's public API. The figures depend on nothing
 * but the engine: two runs write the same file.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { buildPackage } from "../../scripts/build.mjs";
import { ensureNpmPackages } from "../../scripts/lib/npm.mjs";
import { Failure, root, runAsScript, say } from "../../scripts/lib/process.mjs";
import { measure } from "./measure.mjs";
import { goals, references, table, writeFigures } from "./report.mjs";

const TEXT = "engineers-thumb.txt";
const MODELS = [
  { name: "tiny-gpt2", path: join(root, "www", "models", "tiny-gpt2/"), text: TEXT },
  ...["mini-a", "mini-b", "mini-c"].map((name) => ({ name, path: join(root, "tests", "fixtures", `${name}/`) })),
];
const WHOLE = { tokens: 10_000, texts: 16 };
const QUICK = { tokens: 2_048, texts: 8 };
const OPTIONS = ["--quick", "--no-build"];

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

await runAsScript(import.meta, async (args) => {
  const unknown = args.find((arg) => !OPTIONS.includes(arg));
  if (unknown !== undefined) throw new Failure(`There is no option "${unknown}": ${OPTIONS.join(", ")}.`);
  const quick = args.includes("--quick");
  await ensureNpmPackages();
  if (!args.includes("--no-build")) await buildPackage();
  const { Cacher } = await import(pathToFileURL(join(root, "pkg", "dist", "node.js")));

  const models = [];
  for (const model of MODELS) {
    const start = performance.now();
    const text = model.text && readFileSync(join(root, "benches", "accuracy", model.text), "utf8");
    models.push(await measure(Cacher, model, text, quick ? QUICK : WHOLE));
    say(`${model.name} took ${plural(Math.round((performance.now() - start) / 1000), "second")}`);
  }
  const reached = goals(models[0]);
  const path = join("benches", "results", quick ? "partial-accuracy.json" : "accuracy.json");
  writeFigures(join(root, path), { text: TEXT, models, goals: reached });
  console.log(`\n${table(models)}\n\n${references(models)}\n`);
  say(`wrote ${path}`);
  const missed = reached.filter((goal) => !goal.reached);
  if (missed.length > 0) {
    const lines = missed.map(({ dtype, figure, value, most }) => `${dtype}: ${figure} is ${value.toPrecision(5)}, not ${most} or less`);
    throw new Failure(`tiny-gpt2 is less accurate than it should be.\n${lines.join("\n")}`);
  }
});
