/**
 * What states cost, by the package's public API: forks, what is stored, what is
 * there again after a reload.
 *
 * Each function gives figures as `{ case, metric, unit, value }`.
 */
import { load } from "./engines/cacher.js";
import { median, timed, timesOf } from "./timing.js";

const MB = 1e6;
/** Greedy, and never stopping early: a random model ends a text at any time. */
const PLAIN = { temperature: 0, eosTokenIds: [] };
const WARM_UP_TOKENS = 24;

let cacher;

const figure = (testCase, metric, unit, value) => ({ case: `state ${testCase}`, metric, unit, value });

/** The middle time of `count` runs of `work`, which is told the number of the run. */
const middleOf = async (count, work) => median(await timesOf(count, work));

/** When a generation's first token came, and its result. */
async function firstToken(generation) {
  let at;
  for await (const _ of generation) at ??= performance.now();
  return { at: at ?? performance.now(), result: await generation.result };
}

/** The KV cache in memory, of which nothing may have been dropped: its growth tells what is shared. */
async function kvUsage() {
  const { kv } = await cacher.states.usage();
  if (kv.evictions > 0) throw new Error("the KV cache is too small for this measurement");
  return kv;
}

/** Loads the model and has the engine's code compiled, on a text that nothing can be reused of. */
export async function open(variant, warmUp) {
  try {
    cacher = await load(variant);
  } catch (error) {
    if (error.code === "invalid-argument") return { refused: error.message };
    throw error;
  }
  await cacher.generate(warmUp, { ...PLAIN, maxTokens: WARM_UP_TOKENS, cachePrompt: false }).result;
  return {};
}

/** Memory of one state and of many forks of it. To be asked of a page that has no states yet. */
export async function memory(tokens, { forks, more }) {
  const { states } = cacher;
  const empty = await kvUsage();
  const measure = async () => ({
    kv: (await kvUsage()).bytes - empty.bytes,
    wasm: (await cacher.memory()).wasmBytes,
  });
  const state = await states.create({ tokens, persist: false });
  const one = await measure();
  const many = await state.fork(forks);
  const forked = await measure();
  // Seeds of their own, or all would write the same and share it.
  const write = async (fork, seed) => (await fork.generate({ maxTokens: more, seed, topK: 0, eosTokenIds: [] }).result).state;
  const infos = [];
  for (const [seed, fork] of many.entries()) infos.push(await write(fork, seed));
  const written = await measure();
  await states.delete([state, ...many]);
  const name = `${forks} forks of ${tokens.length}`;
  return [
    figure(name, "KV of the one", "MB", one.kv / MB),
    figure(name, "KV over the one's", "ratio", forked.kv / one.kv),
    figure(name, `KV over the one's, each ${more} tokens on`, "ratio", written.kv / one.kv),
    figure(name, "tokens of them that each evaluated again", "tokens", median(infos.map((info) => info.tokensEvaluated))),
    figure(name, "wasm memory with the one", "MB", one.wasm / MB),
    figure(name, "wasm memory with the forks", "MB", forked.wasm / MB),
    figure(name, `wasm memory, each ${more} tokens on`, "MB", written.wasm / MB),
  ];
}

/**
 * Saves a text: what making a state takes longer where it is to be kept, both
 * with the KV cache in memory already.
 */
export async function save(tokens) {
  const { states } = cacher;
  const temporary = [await states.create({ tokens, persist: false })];
  const before = await states.usage();
  const create = async (persist) => timed(() => states.create({ tokens, persist }));
  const first = await create(false);
  const kept = await create(true);
  const second = await create(false);
  temporary.push(first.value, second.value);
  const after = await states.usage();
  if (after.backend !== "indexeddb") throw new Error(`states are not stored: ${after.reason}`);
  if (after.kv.misses > before.kv.misses) throw new Error("saving was timed together with computing");
  await states.delete(temporary);
  const name = `save ${tokens.length}`;
  const stored = (what) => after.bytes[what] - before.bytes[what];
  return {
    id: kept.value.id,
    figures: [
      figure(name, "time", "ms", kept.ms - (first.ms + second.ms) / 2),
      figure(name, "KV stored", "MB", stored("blocks") / MB),
      figure(name, "records stored", "kB", stored("records") / 1e3),
    ],
  };
}

/**
 * Takes a stored state up in a page that has not touched states yet, up to its
 * first new token, and beside it computes the same text again.
 */
export async function restore(id, tokens, { recomputeFirst }) {
  const options = { ...PLAIN, maxTokens: 1 };
  const name = `restore ${tokens.length}`;
  const written = [];
  const recompute = async () => {
    const begin = performance.now();
    const { at, result } = await firstToken(cacher.generate(tokens, { ...options, cachePrompt: false }));
    written.push(result.tokens[0]);
    return [figure(name, "computing it anew", "ms", at - begin)];
  };
  const takeUp = async () => {
    const begin = performance.now();
    const state = await cacher.states.get(id);
    const found = performance.now();
    const { at, result } = await firstToken(state.generate(options));
    written.push(result.tokens[0]);
    return [
      figure(name, "to first token", "ms", at - begin),
      figure(name, "of it finding it", "ms", found - begin),
      figure(name, "tokens evaluated", "tokens", result.state.tokensEvaluated),
    ];
  };
  const turns = recomputeFirst ? [recompute, takeUp] : [takeUp, recompute];
  const figures = [];
  for (const turn of turns) figures.push(...(await turn()));
  await cacher.states.delete(id);
  if (written[0] !== written[1]) throw new Error("what was restored goes on with another token than what was computed anew");
  return figures;
}

/** Forks one by one, of a state that is stored and of one that is not. */
export async function fork(tokens, { count }) {
  const { states } = cacher;
  const figures = [];
  for (const persist of [true, false]) {
    const state = await states.create({ tokens, persist });
    const before = { ...(await states.usage()), kv: await kvUsage() };
    const forks = [];
    const ms = await middleOf(count, async () => forks.push(await state.fork()));
    const after = { ...(await states.usage()), kv: await kvUsage() };
    figures.push(figure("fork", persist ? "time" : "time, not stored", "ms", ms));
    if (persist) {
      figures.push(
        figure("fork", "KV added", "bytes", (after.kv.bytes - before.kv.bytes) / count),
        figure("fork", "KV stored", "bytes", (after.bytes.blocks - before.bytes.blocks) / count),
        figure("fork", "records stored", "kB", (after.bytes.records - before.bytes.records) / count / 1e3),
      );
    }
    await states.delete([state, ...forks]);
  }
  return figures;
}

/** Small changes of a stored state: going on, going back, and naming where it stands. */
export async function changes(tokens, pieces) {
  const state = await cacher.states.create({ tokens });
  const times = { append: [], rollback: [], checkpoint: [] };
  for (const [index, piece] of pieces.entries()) {
    times.append.push((await timed(() => state.append(piece))).ms);
    times.checkpoint.push((await timed(() => state.checkpoint(`here ${index}`))).ms);
    times.rollback.push((await timed(() => state.rollback(1))).ms);
  }
  await state.delete();
  const name = { append: `append ${pieces[0].length}`, rollback: "rollback", checkpoint: "checkpoint" };
  return Object.entries(times).map(([key, list]) => figure(name[key], "time", "ms", median(list)));
}

/**
 * Compares and merges. Both branches replace a piece of the text, each another:
 * `edits` holds `[start, ids]` of each.
 */
export async function branches(tokens, edits, other, { count }) {
  const { states } = cacher;
  const base = await states.create({ tokens });
  const branch = async ([start, ids]) => {
    const fork = await base.fork({ at: start });
    await fork.append([...ids, ...tokens.slice(start + ids.length)]);
    return fork;
  };
  const [ours, theirs] = [await branch(edits[0]), await branch(edits[1])];
  const unlike = await states.create({ tokens: other, evaluate: false });

  const merged = [];
  const merge = async (evaluate) => merged.push(await states.merge([ours, theirs], { evaluate }));
  const figures = [
    figure("diff", "time", "ms", await middleOf(count, () => ours.diff(theirs))),
    figure("diff", "time, nothing in common", "ms", await middleOf(count, () => ours.diff(unlike))),
    figure("merge", "time", "ms", await middleOf(count, () => merge(false))),
  ];
  const expected = [...tokens];
  for (const [start, ids] of edits) expected.splice(start, ids.length, ...ids);
  const { ids } = await merged[0].tokens();
  if (ids.join() !== expected.join()) throw new Error("the merged text is not that of both edits");
  const misses = async () => (await states.usage()).kv.misses;
  const before = await misses();
  figures.push(figure("merge", "time, evaluated", "ms", (await timed(() => merge(true))).ms));
  figures.push(figure("merge", "tokens evaluated", "tokens", (await misses()) - before));
  await states.delete([base, ours, theirs, unlike, ...merged]);
  return figures;
}

/** To a file, and from it into an engine with a storage of its own, where nothing of it is known. */
export async function files(variant, tokens) {
  const state = await cacher.states.create({ tokens });
  const binary = await timed(() => state.export());
  const bare = await state.export({ kv: false });
  const json = await timed(() => state.export({ format: "json" }));
  await state.delete();

  const elsewhere = await load(variant, { states: { database: "elsewhere" } });
  await elsewhere.states.usage();
  const imported = await timed(() => elsewhere.states.import(binary.value));
  const [copy] = imported.value;
  const { result } = await firstToken(copy.generate({ ...PLAIN, maxTokens: 1 }));
  await copy.delete();
  await elsewhere.dispose();
  return [
    figure("export", "time", "ms", binary.ms),
    figure("export", "file", "MB", binary.value.size / MB),
    figure("export", "file without KV", "kB", bare.size / 1e3),
    figure("export", "time, JSON", "ms", json.ms),
    figure("export", "JSON file", "kB", json.value.size / 1e3),
    figure("import", "time", "ms", imported.ms),
    figure("import", "tokens evaluated for the next token", "tokens", result.state.tokensEvaluated),
  ];
}
