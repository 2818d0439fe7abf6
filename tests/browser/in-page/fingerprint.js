/**
 * What a loaded model answers, down to the last bit, as data to compare. Runs
 * in a page and in Node.
 */

/** Long enough for several steps of prefill, and with places on both sides of their edges. */
const LONG = Array.from({ length: 150 }, (_, index) => (index * 7919) % 40_000);
const POSITIONS = [0, 1, 31, 32, 33, 63, 64, 127, 128, 148, 149];

const REQUESTS = [
  ["Once upon a time", { temperature: 0 }],
  ["The old lighthouse", { seed: 5 }],
  [LONG, { seed: 6, temperature: 1.5, topK: 0 }],
];

async function hash(values) {
  const digest = await crypto.subtle.digest("SHA-256", new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function generate(cacher, [prompt, options]) {
  const { text, tokens } = await cacher.generate(prompt, { maxTokens: 24, eosTokenIds: [], ...options }).result;
  return { text, tokens };
}

async function logits(cacher) {
  return hash((await cacher.logits(LONG, { positions: POSITIONS })).data);
}

/** Greedy and seeded texts and a hash of logits, one after the other. */
export async function fingerprint(cacher) {
  const texts = [];
  for (const request of REQUESTS) texts.push(await generate(cacher, request));
  return { texts, logits: await logits(cacher) };
}

/** The same, all at once, with the same requests a second time as company. */
export async function fingerprintTogether(cacher) {
  const all = [...REQUESTS, ...REQUESTS].map((request) => generate(cacher, request));
  const [hash, ...texts] = await Promise.all([logits(cacher), ...all]);
  return { texts: texts.slice(0, REQUESTS.length), logits: hash };
}
