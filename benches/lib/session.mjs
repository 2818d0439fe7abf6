/**
 * A whole run of the benchmark, from the site to the report.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure, root } from "../../scripts/lib/process.mjs";
import { serve } from "../../scripts/serve.mjs";
import { measureAnalysis } from "./analysis.mjs";
import { launch } from "./browser.mjs";
import { measureGeneration } from "./generation.mjs";
import { goals } from "./goals.mjs";
import { measureLoads } from "./loads.mjs";
import { Recorder, median } from "./recorder.mjs";
import { measureResponses } from "./responses.mjs";
import { describeMachine, fileNameOf, writeResults } from "./results.mjs";
import { measureRounds } from "./rounds.mjs";
import { measureStates } from "./states.mjs";
import { report } from "./table.mjs";
import {
  chooseAnalysisVariants,
  chooseGenerationVariants,
  chooseResponseVariants,
  chooseStateVariants,
  chooseVariants,
} from "./variants.mjs";

const RESULTS = "benches/results";

/** How much is done; `seconds` is when the last round may begin, though there is always one. */
const EXTENT = {
  quick: {
    loads: { repeats: 1, onePerEngine: true },
    speed: { rounds: 3, seconds: 40, maxTokens: 16 },
    states: { rounds: 1, lengths: [512] },
    responses: { rounds: 1, entries: [1_000], calls: 50_000 },
    generation: { rounds: 1, repeats: 1 },
    analysis: { rounds: 1, repeats: 1, steps: 9 },
  },
  full: {
    loads: { repeats: 2, onePerEngine: false },
    speed: { rounds: 5, seconds: 420, maxTokens: 32 },
    states: { rounds: 5, lengths: [128, 512, 900] },
    responses: { rounds: 5, entries: [1_000, 10_000], calls: 100_000 },
    generation: { rounds: 5, repeats: 2 },
    analysis: { rounds: 5, repeats: 3, steps: 17 },
  },
};

/** A long text for the tokenizers: this project's own. */
function longText() {
  const files = ["README.md", "tests/fixtures/README.md", "docs/tiny-gpt2/training/README.md"];
  return files.map((name) => readFileSync(join(root, name), "utf8")).join("\n").repeat(3);
}

async function chromiumVersion() {
  const browser = await launch();
  const version = browser.version();
  await browser.close();
  return version;
}

const seconds = (start) => `${Math.round((performance.now() - start) / 1000)} s`;

/** Runs it; the path of the file with the results. */
export async function runBenchmark(options) {
  const start = performance.now();
  const extent = options.quick ? EXTENT.quick : EXTENT.full;
  const recorder = new Recorder();
  const site = await serve(root);
  let variants = chooseVariants(options);
  const stateVariants = chooseStateVariants(options);
  const responseVariants = chooseResponseVariants(options);
  const generationVariants = chooseGenerationVariants(options);
  const analysisVariants = chooseAnalysisVariants(options);
  const speeds = { one: [], two: [] };
  const addSpeeds = ({ one, two }) => {
    speeds.one.push(...one);
    speeds.two.push(...two);
  };
  try {
    if (!options.noLoads && variants.length > 0) {
      const refused = await measureLoads({ ...extent.loads, site, recorder, variants });
      variants = variants.filter((variant) => !refused.includes(variant));
      console.log(`  loads measured after ${seconds(start)}`);
    }
    const asked = options.rounds === undefined ? {} : { rounds: options.rounds };
    if (variants.length > 0) {
      addSpeeds(await measureRounds({ ...extent.speed, ...asked, site, recorder, variants, text: longText() }));
    }
    if (stateVariants.length > 0) {
      addSpeeds(await measureStates({ ...extent.states, ...asked, site, recorder, variants: stateVariants }));
    }
    if (responseVariants.length > 0) {
      addSpeeds(await measureResponses({ ...extent.responses, ...asked, site, recorder, variants: responseVariants }));
    }
    if (generationVariants.length > 0) {
      addSpeeds(await measureGeneration({ ...extent.generation, ...asked, site, recorder, variants: generationVariants }));
    }
    if (analysisVariants.length > 0) {
      addSpeeds(await measureAnalysis({ ...extent.analysis, ...asked, site, recorder, variants: analysisVariants }));
    }
  } finally {
    await site.close();
  }
  const results = {
    machine: describeMachine(await chromiumVersion()),
    date: new Date().toISOString(),
    readGBps: median(speeds.one),
    readGBpsTwoThreads: median(speeds.two),
    results: recorder.summary(),
    goals: goals(recorder),
    notices: recorder.notices,
  };
  const path = `${RESULTS}/${fileNameOf(options)}.json`;
  writeResults(join(root, path), results);
  console.log(`\n${report(results)}\n${path} written after ${seconds(start)}`);
  if (recorder.failed) throw new Failure("Not every engine ran to the end: see what was left out.");
}
