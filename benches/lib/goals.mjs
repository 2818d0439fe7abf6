/**
 * What the figures should be: ratios, which hold on any machine, taken round by
 * round, of which the middle one counts; and gets a second of the cache, for
 * which there is nothing to divide by.
 */
import { BEAMS_METRIC, caseOf } from "./generation-cases.mjs";
import { median, ratio } from "./recorder.mjs";
import { GPT2 } from "./variants.mjs";

const THREADS = [1, 2];
const FAST = ["q8", "q4"];
/** As response-core.js calls it. */
const GETS = "gets that hit";

const speedOf = (recorder, variant, testCase) =>
  recorder.find({ model: GPT2, ...variant, case: testCase, metric: "speed" })[0];

const threadsText = (threads) => `${threads} thread${threads === 1 ? "" : "s"}`;

/** The peer's format that is fastest in this case. */
function best(recorder, engine, threads, testCase) {
  const series = recorder.find({ model: GPT2, engine, threads, case: testCase, metric: "speed" });
  const middle = ({ samples }) => median(samples.map(({ value }) => value));
  return series.sort((a, b) => middle(b) - middle(a))[0];
}

/** This package's speed over a peer's best. */
function overPeer(recorder, { dtype, threads, testCase, engine, label, goal }) {
  const ours = speedOf(recorder, { engine: "cacher", dtype, threads }, testCase);
  const theirs = best(recorder, engine, threads, testCase);
  if (ours === undefined || theirs === undefined) return [];
  const name = `${dtype} ${testCase}, over ${label} ${theirs.dtype}, ${threadsText(threads)}`;
  return [{ name, value: ratio(ours, theirs), atLeast: goal }];
}

function peers(recorder) {
  const cases = [
    { testCase: "decode at 8", engine: "transformers", label: "transformers.js", goal: 6 },
    { testCase: "decode at 8", engine: "wllama", label: "wllama", goal: 4 },
    { testCase: "prefill 128", engine: "transformers", label: "transformers.js", goal: 2.5 },
    { testCase: "prefill 512", engine: "transformers", label: "transformers.js", goal: 2.5 },
    { testCase: "prefill 128", engine: "wllama", label: "wllama" },
  ];
  const dtypes = ["q8", "q4", "f32"];
  return dtypes.flatMap((dtype) =>
    cases.flatMap(({ goal, ...rest }) =>
      // The goals are those of q8.
      THREADS.flatMap((threads) => overPeer(recorder, { ...rest, dtype, threads, goal: dtype === "q8" ? goal : undefined })),
    ),
  );
}

/** Figures of each variant of this package, with what they should be where it is a fast format. */
function own(recorder) {
  const middleOf = ({ samples }) => median(samples.map(({ value }) => value));
  const variants = recorder
    .find({ engine: "cacher", model: GPT2, case: "decode at 8", metric: "speed" })
    .map(({ dtype, threads }) => ({ dtype, threads }));
  return variants.flatMap(({ dtype, threads }) => {
    const variant = { engine: "cacher", model: GPT2, dtype, threads };
    const find = (testCase, metric) => recorder.find({ ...variant, case: testCase, metric })[0];
    const goal = (limits) => (FAST.includes(dtype) ? limits : {});
    const name = (text) => `${dtype}, ${threadsText(threads)}: ${text}`;
    const rows = [];
    const add = (text, series, limits) => {
      if (series !== undefined) rows.push({ name: name(text), value: middleOf(series), ...goal(limits) });
    };
    add("share of the memory's read speed, decode at 8", find("decode at 8", "share of read speed"), { atLeast: 0.75 });
    const short = find("decode at 8", "speed");
    const long = find("decode at 900", "speed");
    if (long !== undefined) {
      rows.push({ name: name("time a token at 900 over that at 8"), value: ratio(short, long), ...goal({ atMost: 1.3 }) });
    }
    add("cost of a batch of 5 over one", find("batch of 5", "cost over one"), { atMost: 2.2 });
    const two = find("batch of 2", "speed of all");
    if (two !== undefined) {
      rows.push({ name: name("tokens a second of two at once over one"), value: ratio(two, short), ...goal({ atLeast: 1.6 }) });
    }
    return rows;
  });
}

/** What states save: of memory where texts are forked, of time where one is taken up again. */
function states(recorder) {
  const rows = [];
  for (const { dtype, threads, case: testCase, metric, samples } of recorder.find({ engine: "cacher", unit: "ratio" })) {
    const forks = /^state (\d+ forks of \d+)$/.exec(testCase);
    if (forks === null) continue;
    // A fork has a block of 32 tokens of its own from its first own token on: only those that wrote nothing have a goal.
    const goal = metric === "KV over the one's" ? { atMost: 1.3 } : {};
    const value = median(samples.map((sample) => sample.value));
    rows.push({ name: `${dtype}, ${threadsText(threads)}: ${forks[1]} tokens, ${metric}`, value, ...goal });
  }
  for (const restored of recorder.find({ engine: "cacher", metric: "to first token" })) {
    const { model, dtype, threads, case: testCase } = restored;
    const anew = recorder.find({ engine: "cacher", model, dtype, threads, case: testCase, metric: "computing it anew" })[0];
    if (anew === undefined) continue;
    const length = testCase.split(" ").at(-1);
    const name = `${dtype}, ${threadsText(threads)}: speed of restoring ${length} tokens over computing them anew`;
    rows.push({ name, value: ratio(anew, restored), atLeast: 5 });
  }
  return rows;
}

/** What a hit saves of computing, and what memory alone can do. */
function responses(recorder) {
  const middleOf = ({ samples }) => median(samples.map(({ value }) => value));
  const rows = recorder.find({ metric: GETS }).map((gets) => ({
    name: `${gets.case.replace("response ", "")}: ${GETS}, calls/s`,
    value: middleOf(gets),
    // Of long values it is the copying that counts.
    ...(gets.case.endsWith(" 300 B") ? { atLeast: 500_000 } : {}),
  }));
  for (const computed of recorder.find({ engine: "cacher", metric: "computed" })) {
    const { model, dtype, threads, case: testCase } = computed;
    for (const metric of ["from memory", "from IndexedDB"]) {
      const [hit] = recorder.find({ engine: "cacher", model, dtype, threads, case: testCase, metric });
      if (hit === undefined) continue;
      const name = `${model} ${dtype}, ${testCase.replace("response ", "")}: speed ${metric} over computing it`;
      rows.push({ name, value: ratio(computed, hit) });
    }
  }
  return rows;
}

/** Beams share each read of the weights. */
function generation(recorder) {
  return recorder.find({ metric: BEAMS_METRIC, case: caseOf("beams", "5") }).map(({ model, dtype, samples }) => ({
    name: `${model} ${dtype}: a step of five beams over one of one`,
    value: median(samples.map(({ value }) => value)),
    // In the small model it is the vocabulary that counts, which each beam has to go through.
    ...(model === GPT2 ? { atMost: 2.2 } : {}),
  }));
}

/** `{ name, value, goal, reached }` of every figure that this run can tell; `reached` is null without a goal. */
export function goals(recorder) {
  return [...peers(recorder), ...own(recorder), ...states(recorder), ...responses(recorder), ...generation(recorder)]
    .filter(({ value }) => value !== undefined)
    .map(({ name, value, atLeast, atMost }) => {
      if (atLeast !== undefined) return { name, value, goal: `≥ ${atLeast}`, reached: value >= atLeast };
      if (atMost !== undefined) return { name, value, goal: `≤ ${atMost}`, reached: value <= atMost };
      return { name, value, goal: null, reached: null };
    });
}
