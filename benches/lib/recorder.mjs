/**
 * Collects what is measured and sums it up.
 *
 * A sample knows its round, because only samples of one round may be divided by
 * each other: the speed of a machine drifts from one to the next.
 */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const keyOf = ({ engine, model, dtype, threads }, testCase, metric) =>
  JSON.stringify([engine, model, dtype, threads, testCase, metric]);

export class Recorder {
  #series = new Map();
  /** What was left out, and why. */
  notices = [];

  /** Adds a sample of a variant; `at` is its `{ case, metric, unit, round }`. */
  add(variant, { case: testCase, metric, unit, round }, value) {
    const key = keyOf(variant, testCase, metric);
    if (!this.#series.has(key)) {
      const { engine, version, model, dtype, threads } = variant;
      this.#series.set(key, { engine, version, model, dtype, threads, case: testCase, metric, unit, samples: [] });
    }
    this.#series.get(key).samples.push({ round, value });
  }

  failed = false;

  /** Something that should have worked did not. */
  failure(text) {
    this.failed = true;
    this.notice(text.split("\n")[0]);
  }

  notice(text) {
    this.notices.push(text);
    console.log(`  ! ${text}`);
  }

  /** Every series, with its samples. */
  get series() {
    return [...this.#series.values()];
  }

  /** The series that fit a description such as `{ engine: "wllama", case: "decode at 8" }`. */
  find(description) {
    const wanted = Object.entries(description);
    return this.series.filter((series) => wanted.every(([name, value]) => series[name] === value));
  }

  /** The rows of the results. */
  summary() {
    return this.series.map(({ samples, ...series }) => {
      const values = samples.map(({ value }) => value);
      return {
        ...series,
        median: median(values),
        min: Math.min(...values),
        max: Math.max(...values),
        repeats: values.length,
      };
    });
  }
}

/** The median of one series over another, round by round; `undefined` without a common round. */
export function ratio(over, under) {
  const values = new Map(under.samples.map(({ round, value }) => [round, value]));
  const ratios = over.samples
    .filter(({ round }) => values.has(round))
    .map(({ round, value }) => value / values.get(round));
  return ratios.length === 0 ? undefined : median(ratios);
}
