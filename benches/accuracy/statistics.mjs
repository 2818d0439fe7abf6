/**
 * How far one list of scores is from another: the arithmetic of the accuracy
 * figures, without any model.
 */

/** Neighbouring tokens that count as one observation, because what surrounds them is the same. */
const BLOCK = 32;

export function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The middle value, or the mean of the two middle ones. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** How far the mean of so many independent values may be off: one standard deviation. */
export function standardError(values) {
  const centre = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1) / values.length);
}

/** How many values two lists have in common from the start. */
export function commonLength(a, b) {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) if (a[index] !== b[index]) return index;
  return length;
}

/** Where the largest value is; the first of equal ones. */
export function argmax(values) {
  let best = 0;
  for (let index = 1; index < values.length; index++) if (values[index] > values[best]) best = index;
  return best;
}

/** The log of the sum of the exponentials, which takes logits to log-probabilities. */
export function logSumExp(logits) {
  const largest = logits[argmax(logits)];
  let sum = 0;
  // Not `for of`, nor `from` below: over fifty thousand scores a token they are too slow.
  for (let index = 0; index < logits.length; index++) sum += Math.exp(logits[index] - largest);
  return largest + Math.log(sum);
}

/** The reference's scores at one position, prepared for comparisons. */
export class Reference {
  constructor(logits) {
    this.logits = logits;
    this.logSum = logSumExp(logits);
    this.best = argmax(logits);
    this.probabilities = new Float64Array(logits.length);
    for (let index = 0; index < logits.length; index++) this.probabilities[index] = Math.exp(logits[index] - this.logSum);
  }

  /** The Kullback-Leibler divergence of other scores from these, in nats. */
  divergence(logits, logSum = logSumExp(logits)) {
    let sum = 0;
    for (let index = 0; index < logits.length; index++) {
      sum += this.probabilities[index] * (this.logits[index] - logits[index]);
    }
    return sum - this.logSum + logSum;
  }
}

/** One format's scores beside the reference's, position by position. */
export class Comparison {
  #referenceLoss = [];
  #loss = [];
  #divergence = [];
  #agreements = 0;

  /** `target` is the token that follows in the text. */
  add(reference, logits, target) {
    const logSum = logSumExp(logits);
    this.#referenceLoss.push(reference.logSum - reference.logits[target]);
    this.#loss.push(logSum - logits[target]);
    this.#divergence.push(reference.divergence(logits, logSum));
    if (argmax(logits) === reference.best) this.#agreements += 1;
  }

  summary() {
    const differences = this.#loss.map((loss, index) => loss - this.#referenceLoss[index]);
    const perplexityRatio = Math.exp(mean(differences));
    return {
      tokens: differences.length,
      referencePerplexity: Math.exp(mean(this.#referenceLoss)),
      perplexityRatio,
      // The error of a logarithm is the relative error of its number.
      standardError: perplexityRatio * standardError(blockMeans(differences)),
      sameFirstChoice: this.#agreements / differences.length,
      klPerToken: mean(this.#divergence),
    };
  }
}

/** Means of neighbouring values; those left over at the end count as a block where they are half of one. */
function blockMeans(values) {
  const means = [];
  for (let start = 0; start < values.length; start += BLOCK) {
    const block = values.slice(start, start + BLOCK);
    if (block.length >= BLOCK / 2) means.push(mean(block));
  }
  return means;
}

/** Greedy texts beside the reference's, each a list of token ids as long as the other. */
export function compareTexts(texts, references) {
  const common = texts.map((text, index) => commonLength(text, references[index]));
  return {
    texts: texts.length,
    length: references[0].length,
    medianCommon: median(common),
    neverDiffering: common.filter((length, index) => length === references[index].length).length / texts.length,
  };
}
