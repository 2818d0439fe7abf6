/**
 * Speed: in each round every variant has one turn in its own page, with all its
 * cases, and the memory's speed is read before and after each.
 */
import { call, launch, openPage } from "./browser.mjs";
import { prompt } from "./prompts.mjs";
import { MULTIPLIED } from "../models/weights.mjs";
import { GPT2, nameOf } from "./variants.mjs";

const MEASURED_PREFILL = 128;
const SHORT = 8;
const BATCHES = [2, 5];
/** Tokens that warm a page up: its code is compiled again once it has run a while. */
const WARM_UP = { prompt: 128, maxTokens: 24 };

const perSecond = (count, ms) => (count / ms) * 1000;
const tokensPerSecond = ({ tokens, decodeMs }) => perSecond(tokens - 1, decodeMs);

/** One turn of one variant. */
class Turn {
  constructor({ page, variant, recorder, round, maxTokens, readSpeed }) {
    Object.assign(this, { page, variant, recorder, round, maxTokens, readSpeed });
  }

  record(testCase, metric, unit, value) {
    this.recorder.add(this.variant, { case: testCase, metric, unit, round: this.round }, value);
  }

  generate(length, options) {
    return call(this.page, "generate", prompt(length), { maxTokens: this.maxTokens, ...options });
  }

  async run({ text }) {
    let before = await this.readSpeed();
    for (const length of this.variant.prompts) {
      const speed = await this.prefillAndDecode(length);
      const after = await this.readSpeed();
      this.share(length, speed, (before + after) / 2);
      before = after;
    }
    await this.sampling();
    for (const count of BATCHES) await this.batch(count);
    await this.tokenizer(text);
  }

  async prefillAndDecode(length) {
    const times = await this.generate(length);
    if (length >= MEASURED_PREFILL) {
      this.record(`prefill ${length}`, "speed", "tokens/s", perSecond(length, times.prefillMs));
    }
    const speed = tokensPerSecond(times);
    if (length === SHORT) this.greedy = speed;
    this.record(`decode at ${length}`, "speed", "tokens/s", speed);
    return speed;
  }

  /** Bytes of weights that were read, over what could have been read in the time. */
  share(length, speed, readGBps) {
    const { weightBytes, parameters, model } = this.variant;
    if (weightBytes === undefined || model !== GPT2) return;
    const bytes = (weightBytes / parameters) * MULTIPLIED;
    this.record(`decode at ${length}`, "share of read speed", "ratio", (bytes * speed) / 1e9 / readGBps);
  }

  /**
   * What sampling by the engine's own defaults takes beside the most probable
   * token. A difference of times is small, so what it is taken from is measured
   * before and after.
   */
  async sampling() {
    const milliseconds = async (sample) => 1000 / tokensPerSecond(await this.generate(SHORT, { sample }));
    const before = await milliseconds(false);
    const sampled = await milliseconds(true);
    const after = await milliseconds(false);
    this.record("sampling", "over greedy", "ms/token", sampled - (before + after) / 2);
  }

  async batch(count) {
    if (!(await call(this.page, "can", "together"))) return;
    const prompts = Array.from({ length: count }, () => prompt(SHORT));
    const step = tokensPerSecond(await call(this.page, "together", prompts, { maxTokens: this.maxTokens, sample: true }));
    this.record(`batch of ${count}`, "speed of all", "tokens/s", count * step);
    this.record(`batch of ${count}`, "cost over one", "ratio", this.greedy / step);
  }

  async tokenizer(text) {
    if (this.variant.threads !== 1 || !(await call(this.page, "can", "tokenize"))) return;
    const { ms, tokens } = await call(this.page, "tokenize", text);
    this.record("tokenizer", "speed", "tokens/s", perSecond(tokens, ms));
  }
}

/** Loads every variant in a page of its own; the refused ones are left out. */
async function openVariants(browser, site, variants, recorder) {
  const open = [];
  for (const variant of variants) {
    const page = await openPage(await browser.newContext(), site);
    const { refused, weightBytes, parameters } = await call(page, "load", variant, prompt(SHORT));
    if (refused !== undefined) {
      recorder.notice(`skipped ${nameOf(variant)}: ${refused}`);
      await page.context().close();
      continue;
    }
    await call(page, "generate", prompt(WARM_UP.prompt), { maxTokens: WARM_UP.maxTokens });
    console.log(`  ready: ${nameOf(variant)}`);
    open.push({ page, variant: { ...variant, weightBytes, parameters } });
  }
  return open;
}

/**
 * Measures `rounds` rounds, or as many as begin within `seconds`, at least one.
 *
 * @returns {Promise<{ one: number[], two: number[] }>} the read speeds, with one thread and two
 */
export async function measureRounds({ site, recorder, variants, rounds, seconds, maxTokens, text }) {
  const browser = await launch();
  const speeds = { one: [], two: [] };
  try {
    const reader = await openPage(await browser.newContext(), site);
    const open = await openVariants(browser, site, variants, recorder);
    const failed = new Set();
    const start = performance.now();
    for (let round = 1; round <= rounds; round++) {
      if (round > 1 && performance.now() - start > seconds * 1000) {
        recorder.notice(`rounds after ${round - 1} of ${rounds}: the time was up`);
        break;
      }
      for (const { page, variant } of open) {
        if (failed.has(variant)) continue;
        console.log(`  round ${round}/${rounds}: ${nameOf(variant)}`);
        const readSpeed = async () => {
          const speed = await call(reader, "readSpeed");
          speeds.one.push(speed.one);
          speeds.two.push(speed.two);
          return variant.threads === 1 ? speed.one : speed.two;
        };
        const turn = new Turn({ page, variant, recorder, round, maxTokens, readSpeed });
        await turn.run({ text }).catch((error) => {
          // The others still say something; the run as a whole fails in the end.
          recorder.failure(`${nameOf(variant)} failed in round ${round}: ${error.message}`);
          failed.add(variant);
        });
      }
    }
  } finally {
    await browser.close();
  }
  return speeds;
}
