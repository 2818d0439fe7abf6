/**
 * Beam search through the package: what it finds, the tree that it tells, what
 * may be asked of it, and what becomes of what is found.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";
import { fixtureJson } from "./lib/paths.mjs";
import { checkTree } from "./lib/beams.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

/** transformers' names of options, in JavaScript's spelling. */
const NAMES = { max_new_tokens: "maxTokens", bad_words_ids: "badWords", eos_token_id: "eosTokenIds" };

function toOptions(params) {
  const entries = Object.entries(params).map(([name, value]) => {
    const known = NAMES[name] ?? name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
    return [known, known === "eosTokenIds" ? [value].flat() : value];
  });
  return Object.fromEntries(entries);
}

/** The first cases of each kind; natively, all are checked. */
const cases = ["beam", "groups"].flatMap((kind) =>
  fixtureJson(`mini-a/${kind}.json`)
    .cases.filter(({ hypotheses }) => hypotheses !== undefined)
    .slice(0, 12),
);

test("sequences are those of transformers", { timeout: 2 * TIMEOUT_MS }, async () => {
  const { page, problems } = await openLibrary(browser, server);
  await page.evaluate(async () => {
    globalThis.cacher = await kit.Cacher.load({ model: "/fixtures/mini-a/", dtype: "f32" });
  });
  for (const { name, prompt, params, hypotheses, sequences_scores: scores } of cases) {
    const { chunks, result } = await page.evaluate(
      ([prompt, options]) => kit.collect(cacher.beamSearch(prompt, options)),
      [prompt, toOptions(params)],
    );
    assert.deepEqual(
      result.sequences.map(({ tokens }) => tokens),
      hypotheses.map(({ tokens }) => tokens),
      name,
    );
    result.sequences.forEach(({ score }, index) => {
      assert.ok(Math.abs(score - scores[index]) <= 1e-3 * Math.max(1, Math.abs(scores[index])), name);
    });
    checkTree(chunks, result);
  }
  assert.deepEqual(problems, []);
});

for (const worker of [true, false]) {
  test(worker ? "in a worker" : "on the page's thread", { timeout: 2 * TIMEOUT_MS }, async (t) => {
    const { page, problems } = await openLibrary(browser, server);
    await page.evaluate(async (worker) => {
      globalThis.cacher = await kit.Cacher.load({ model: "tiny-gpt2", worker });
    }, worker);
    const search = (from, options) =>
      page.evaluate(([from, options]) => kit.collect(cacher.beamSearch(from, options)), [from, options]);

    await t.test("one beam is the greedy text", async () => {
      const { result } = await search("Once upon a time", { numBeams: 1, maxTokens: 20 });
      const greedy = await page.evaluate(() =>
        kit.plainResult(cacher.generate("Once upon a time", { temperature: 0, maxTokens: 20 })),
      );
      assert.deepEqual(result.sequences[0].tokens, greedy.tokens);
      assert.equal(result.sequences[0].text, greedy.text);
    });

    await t.test("the tree is that of the sequences, and more beams find what scores no worse", async () => {
      const scores = [];
      for (const numBeams of [2, 4, 8]) {
        const { chunks, result } = await search("Once upon a time", {
          ...{ numBeams, numReturnSequences: numBeams, maxTokens: 16 },
          ...{ stop: ["."], includeStop: true, earlyStopping: true, noRepeatNgramSize: 3 },
        });
        checkTree(chunks, result);
        assert.equal(result.sequences.length, numBeams);
        for (const { text, finishReason } of result.sequences) {
          assert.equal(finishReason === "stop", text.endsWith("."));
        }
        scores.push(result.sequences[0].score);
      }
      assert.ok(scores.every(Number.isFinite));
    });

    await t.test("a search beside a generation gives what it gives alone, bit for bit", async () => {
      const options = { numBeams: 3, numReturnSequences: 3, maxTokens: 20, seed: 1, cachePrompt: false };
      const alone = await search("The weather today", options);
      const [together] = await page.evaluate(async (options) => {
        const both = [cacher.beamSearch("The weather today", options), cacher.generate("My friend", { maxTokens: 40, seed: 3 })];
        return Promise.all(both.map((each) => kit.plainResult(each)));
      }, options);
      assert.deepEqual(together, alone.result);
    });

    await t.test("sampled beams are those of their seed", async () => {
      const options = { numBeams: 3, numReturnSequences: 3, doSample: true, temperature: 1.5, maxTokens: 12 };
      const first = await search("My friend and I", options);
      const again = await search("My friend and I", { ...options, seed: first.result.seed });
      const texts = ({ result }) => result.sequences.map(({ text, score }) => [text, score]);
      assert.deepEqual(texts(again), texts(first));
      const other = await search("My friend and I", { ...options, seed: 12345 });
      assert.notDeepEqual(texts(other), texts(first));
    });

    await t.test("groups begin with different tokens", async () => {
      const { chunks, result } = await search("The", {
        ...{ numBeams: 4, numBeamGroups: 4, diversityPenalty: 50, numReturnSequences: 4, maxTokens: 6 },
      });
      checkTree(chunks, result);
      assert.equal(new Set(result.sequences.map(({ tokens }) => tokens[0])).size, 4);
      assert.deepEqual(result.sequences.map(({ group }) => group).sort(), [0, 1, 2, 3]);
    });

    await t.test("aborted, it gives the beams that are open", async () => {
      for (const how of ["abort", "break", "signal"]) {
        const { steps, result } = await page.evaluate(async (how) => {
          const controller = new AbortController();
          const search = cacher.beamSearch("Once upon a time", {
            ...{ numBeams: 3, numReturnSequences: 3, maxTokens: 500, eosTokenIds: [], signal: controller.signal },
          });
          let steps = 0;
          for await (const _ of search) {
            if (++steps < 4) continue;
            if (how === "break") break;
            if (how === "abort") search.abort();
            else controller.abort();
          }
          return { steps, result: await kit.plainResult(search) };
        }, how);
        assert.ok(steps >= 4);
        assert.equal(result.sequences.length, 3, how);
        for (const { finishReason, tokens, text } of result.sequences) {
          assert.equal(finishReason, "aborted");
          assert.ok(tokens.length >= 4 && tokens.length === result.steps);
          assert.notEqual(text, "");
        }
      }
      const early = await page.evaluate(() => kit.plainResult(cacher.beamSearch("a", { signal: AbortSignal.abort() })));
      assert.deepEqual(early.sequences, []);
    });

    await t.test("beams go on only with what a callback allows", async () => {
      const { texts, outputs } = await page.evaluate(async () => {
        const words = [" king", " queen", " little girl"];
        const ids = [];
        for (const word of words) ids.push([...(await cacher.tokenize(word)).ids, cacher.model.eosTokenId]);
        const outputs = [];
        const search = cacher.beamSearch("Once there was a", {
          ...{ numBeams: 3, numReturnSequences: 3, maxTokens: 20 },
          prefixAllowedTokens: async (output) => {
            outputs.push(output);
            await null;
            const fit = ids.filter((word) => output.every((id, index) => word[index] === id));
            return fit.map((word) => word[output.length]);
          },
        });
        const { sequences } = await search.result;
        return { texts: sequences.map(({ text }) => text), outputs };
      });
      assert.deepEqual(texts.sort(), [" king", " little girl", " queen"]);
      assert.deepEqual(outputs[0], []);
    });

    await t.test("what a callback throws is the error of the search", async () => {
      const errors = await page.evaluate(async () => {
        const failed = async (prefixAllowedTokens) => {
          try {
            await cacher.beamSearch("a", { maxTokens: 5, prefixAllowedTokens }).result;
          } catch (error) {
            return [error.code ?? null, error.message];
          }
        };
        return [
          await failed((output) => {
            if (output.length === 2) throw new Error("mine");
            return null;
          }),
          await failed(() => [-1]),
          await failed(() => [4_000_000]),
        ];
      });
      assert.deepEqual(errors[0], [null, "mine"]);
      assert.deepEqual(errors.slice(1).map(([code]) => code), ["invalid-token", "invalid-token"]);
    });

    await t.test("what may not be is refused by name, value and range", async () => {
      const refused = (options) =>
        page.evaluate((options) => kit.failure(cacher.beamSearch("a", options).result), options);
      for (const [option, options] of [
        ["numBeams", { numBeams: 0 }],
        ["numBeams", { numBeams: 2.5 }],
        ["numReturnSequences", { numBeams: 2, numReturnSequences: 3 }],
        ["numBeamGroups", { numBeams: 4, numBeamGroups: 3 }],
        ["diversityPenalty", { numBeams: 4, numBeamGroups: 2 }],
        ["doSample", { numBeams: 4, numBeamGroups: 2, diversityPenalty: 1, doSample: true }],
        ["earlyStopping", { earlyStopping: "always" }],
        ["lengthPenalty", { lengthPenalty: "long" }],
        ["logprobs", { logprobs: 2 }],
        ["numbeams", { numbeams: 2 }],
        ["topK", { topK: -1 }],
        ["highWaterMark", { highWaterMark: 0 }],
        ["prefixAllowedTokens", { prefixAllowedTokens: 3 }],
      ]) {
        const error = await refused(options);
        assert.equal(error?.code, "invalid-option", option);
        assert.equal(error.details.option, option);
        assert.ok(error.details.range.length > 0 && "value" in error.details);
      }
    });

    await t.test("a sequence becomes a state, and its text is not computed again", async () => {
      const { text, expected, evaluated } = await page.evaluate(async () => {
        const search = cacher.beamSearch("Once upon a time", { numBeams: 3, maxTokens: 12 });
        const [best] = (await search.result).sequences;
        const state = await search.toState(best, { name: "best" });
        const made = await cacher.states.create({ tokens: [...(await search.result).promptTokens, ...best.textTokens] });
        const infos = [await state.info(), await made.info()];
        const evaluated = [(await state.append(" and", {})).tokensEvaluated, infos[0].tokens];
        await made.delete();
        return { text: await state.text(), expected: `Once upon a time${best.text} and`, evaluated };
      });
      assert.equal(text, expected);
      assert.ok(evaluated[0] <= 3, `${evaluated[0]} of ${evaluated[1]} tokens were computed`);
    });

    await t.test("a state is searched from with its options, and stays as it is", async () => {
      const told = await page.evaluate(async () => {
        const state = await cacher.states.create({ text: "Once upon a time", config: { maxTokens: 7, noRepeatNgramSize: 2 } });
        const before = await state.info();
        const search = cacher.beamSearch(state, { numBeams: 2, numReturnSequences: 2 });
        const result = await kit.plainResult(search);
        const plain = await kit.plainResult(
          cacher.beamSearch("Once upon a time", { numBeams: 2, numReturnSequences: 2, maxTokens: 7, noRepeatNgramSize: 2 }),
        );
        const [, second] = result.sequences;
        const fork = await search.toState(second, { name: "second" });
        const after = await state.info();
        const info = await fork.info();
        return {
          ...{ result, plain, before, after, text: await fork.text(), info },
          ...{ graph: info.forkedFrom?.state === state.id, expected: `Once upon a time${second.text}` },
        };
      });
      const found = ({ sequences }) => sequences.map(({ tokens, score }) => [tokens, score]);
      assert.deepEqual(found(told.result), found(told.plain));
      assert.equal(told.result.sequences[0].tokens.length, 7);
      assert.equal(told.result.usage.tokensEvaluated, 1, "a state's text is known");
      assert.deepEqual([told.after.revision, told.after.tokens], [told.before.revision, told.before.tokens]);
      assert.equal(told.text, told.expected);
      assert.equal(told.info.name, "second");
      assert.ok(told.graph, "it is a fork");
    });

    assert.deepEqual(problems, []);
  });
}
