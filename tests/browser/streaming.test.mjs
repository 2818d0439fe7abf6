/**
 * Streams that are held up, paused and ended, and many at once, through the real
 * engine: in a worker and on the page's own thread.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

for (const worker of [true, false]) {
  test(worker ? "in a worker" : "on the page's thread", { timeout: 2 * TIMEOUT_MS }, async (t) => {
    const { page, problems } = await openLibrary(browser, server);
    await page.evaluate(async (worker) => {
      globalThis.cacher = await kit.Cacher.load({ model: "tiny-gpt2", worker, cache: true });
      globalThis.PROMPT = "Once upon a time";
      /** What is decided by the request, and by nothing else. */
      globalThis.said = ({ text, tokens, promptTokens, finishReason, matched, logprobs, seed }) => ({ text, tokens, promptTokens, finishReason, matched, logprobs, seed });
      /** Waits until the engine, which answers calls between its steps, has had time for many of them. */
      globalThis.turns = async (count = 40) => {
        for (let turn = 0; turn < count; turn++) {
          await cacher.tokenize("");
          await new Promise((resolve) => setTimeout(resolve));
        }
      };
    }, worker);

    await t.test("a reader that waits holds the engine up, and then gets every chunk", async () => {
      const { behind, whole, chunks, alone } = await page.evaluate(async () => {
        const options = { maxTokens: 200, seed: 3, eosTokenIds: [], cache: false };
        let made = 0;
        const generation = cacher.generate(PROMPT, { ...options, highWaterMark: 8, onProgress: ({ generatedTokens }) => (made = generatedTokens) });
        const chunks = [];
        const behind = [];
        for await (const chunk of generation) {
          chunks.push(chunk);
          if (chunks.length % 50 !== 1) continue;
          await turns();
          // Nothing has come beyond what may wait.
          behind.push(made - chunks.length);
        }
        return { behind, whole: said(await generation.result), chunks, alone: said(await cacher.generate(PROMPT, options).result) };
      });
      assert.ok(behind.every((count) => count <= 8), `${behind} behind`);
      assert.deepEqual(whole, alone);
      assert.deepEqual(chunks.flatMap(({ tokens }) => tokens), whole.tokens);
    });

    await t.test("a thread that is too busy to say anything is not overrun", async () => {
      const behind = await page.evaluate(async () => {
        const generation = cacher.generate(PROMPT, { maxTokens: 900, seed: 3, eosTokenIds: [], cache: false, highWaterMark: 4 });
        const iterator = generation[Symbol.asyncIterator]();
        await iterator.next();
        for (const end = performance.now() + 300; performance.now() < end; );
        let read = 1;
        generation.abort();
        for (let each = await iterator.next(); !each.done; each = await iterator.next()) read++;
        return read;
      });
      assert.ok(behind <= 1 + 4 + 2, `${behind} chunks`);
    });

    await t.test("pause holds up within a step; the text after it is the same", async () => {
      const { held, resumed, alone } = await page.evaluate(async () => {
        const options = { maxTokens: 120, seed: 5, eosTokenIds: [], cache: false };
        let made = 0;
        const generation = cacher.generate(PROMPT, { ...options, stopWhen: () => (made++, false) });
        while (made === 0) await turns(1);
        generation.pause();
        await turns(3);
        const first = made;
        await turns();
        const held = [first, made, generation.paused];
        generation.resume();
        const resumed = said(await generation.result);
        return { held, resumed, alone: said(await cacher.generate(PROMPT, options).result) };
      });
      assert.equal(held[0], held[1], "nothing was made");
      assert.equal(held[2], true);
      assert.deepEqual(resumed, alone);
    });

    await t.test("others go on beside a paused one", async () => {
      const { other, same, paused } = await page.evaluate(async () => {
        const options = { maxTokens: 24, seed: 5, eosTokenIds: [], cache: false };
        const paused = cacher.generate(PROMPT, options);
        paused.pause();
        const other = said(await cacher.generate("The weather today", options).result);
        paused.resume();
        return { other, same: said(await cacher.generate("The weather today", options).result), paused: (await paused.result).tokens.length };
      });
      assert.deepEqual([other, paused], [same, 24]);
    });

    await t.test("an abort during a pause keeps what was made, in the prompt too", async () => {
      const [prompt, text] = await page.evaluate(async () => {
        const long = Array.from({ length: 900 }, (_, index) => (index * 37) % 5000);
        const inPrompt = cacher.generate(long, { maxTokens: 9, cache: false });
        await cacher.tokenize("");
        inPrompt.pause();
        await turns(3);
        inPrompt.abort();
        const inText = cacher.generate(PROMPT, { maxTokens: 400, seed: 1, eosTokenIds: [], cache: false });
        const chunks = [];
        for await (const chunk of inText) {
          chunks.push(chunk);
          if (chunks.length === 3) inText.pause();
          if (chunks.length >= 3) break;
        }
        return [said(await inPrompt.result), said(await inText.result)];
      });
      assert.deepEqual([prompt.finishReason, prompt.tokens.length, prompt.promptTokens.length], ["aborted", 0, 900]);
      assert.equal(text.finishReason, "aborted");
      assert.ok(text.tokens.length >= 3 && text.tokens.length < 40, `${text.tokens.length} tokens`);
    });

    await t.test("a state keeps what was made before an abort in a pause, and goes on from there", async () => {
      const { result, text, after, whole } = await page.evaluate(async () => {
        const create = () => cacher.states.create({ text: PROMPT, config: { seed: 4, eosTokenIds: [] }, persist: false });
        const [state, straight] = [await create(), await create()];
        const generation = state.generate({ maxTokens: 300, cache: false });
        for await (const _ of generation) {
          generation.pause();
          await turns(3);
          break;
        }
        const { state: _, ...result } = await generation.result;
        const text = await state.text();
        const rest = 60 - result.tokens.length;
        await state.generate({ maxTokens: rest, cache: false }).result;
        await straight.generate({ maxTokens: 60, cache: false }).result;
        return { result, text, after: await state.text(), whole: await straight.text() };
      });
      assert.equal(result.finishReason, "aborted");
      assert.equal(text, `Once upon a time${result.text}`);
      assert.equal(after, whole);
    });

    await t.test("a state whose text was still being read stays as it was, and can be taken on", async () => {
      const { ended, kept, same } = await page.evaluate(async () => {
        const tokens = Array.from({ length: 700 }, (_, index) => (index * 41 + 3) % 5000);
        const state = await cacher.states.create({ tokens, evaluate: false, persist: false });
        const before = await state.text();
        const generation = state.generate({ maxTokens: 5, cache: false, onProgress: () => generation.pause() });
        while (!generation.paused) await turns(1);
        await turns(3);
        generation.abort();
        const { finishReason, tokens: made } = await generation.result;
        const kept = (await state.text()) === before;
        const after = await state.generate({ maxTokens: 5, cache: false, eosTokenIds: [] }).result;
        const alone = await cacher.generate(tokens, { maxTokens: 5, seed: 0, cache: false, eosTokenIds: [] }).result;
        return { ended: [finishReason, made.length], kept, same: after.text === alone.text };
      });
      assert.deepEqual([ended, kept, same], [["aborted", 0], true, true]);
    });

    await t.test("stopWhen ends with its very chunk, computed, kept or a state's", async () => {
      const { results, alone, stateText } = await page.evaluate(async () => {
        const options = { maxTokens: 200, seed: 11, eosTokenIds: [] };
        const stopWhen = (text) => text.includes(" the");
        const results = [];
        results.push(said(await cacher.generate(PROMPT, { ...options, stopWhen }).result));
        const whole = await cacher.generate(PROMPT, options).result;
        const kept = await cacher.generate(PROMPT, { ...options, stopWhen, cache: "only" }).result;
        if (kept.cache.hit !== "exact") throw new Error("it was not kept");
        results.push(said(kept));
        const state = await cacher.states.create({ text: PROMPT, config: options, persist: false });
        results.push(said(await state.generate({ stopWhen }).result));
        return { results, alone: said(whole), stateText: await state.text() };
      });
      const [first] = results;
      assert.equal(first.finishReason, "callback");
      const before = first.tokens.length;
      assert.ok(first.text.includes(" the") && before < 200 && alone.text.startsWith(first.text));
      assert.deepEqual(first.tokens, alone.tokens.slice(0, before));
      for (const result of results) assert.deepEqual(result, first);
      assert.equal(stateText, `Once upon a time${first.text}`);
    });

    await t.test("a kept stream can be paused, chunked and held up as a computed one", async () => {
      const { before, during, texts, whole } = await page.evaluate(async () => {
        const options = { maxTokens: 60, seed: 12, eosTokenIds: [] };
        const whole = await cacher.generate(PROMPT, options).result;
        const generation = cacher.generate(PROMPT, { ...options, chunk: "word", highWaterMark: 2 });
        const texts = [];
        let ended = false;
        void generation.result.then(() => (ended = true));
        const iterator = generation[Symbol.asyncIterator]();
        for (let each = await iterator.next(); !each.done; each = await iterator.next()) {
          texts.push(each.value.text);
          if (texts.length !== 5) continue;
          generation.pause();
          await turns();
          var during = ended;
          generation.resume();
        }
        return { before: (await generation.result).cache.hit, during, texts, whole: whole.text };
      });
      assert.deepEqual([before, during, texts.join("")], ["exact", false, whole]);
      assert.ok(texts.slice(1).every((text) => /^\s/.test(text)), texts.join("|"));
    });

    await t.test("progress tells of the prompt piece by piece, and of what was in the KV cache", async () => {
      const [first, second] = await page.evaluate(async () => {
        const prompt = Array.from({ length: 300 }, (_, index) => 4999 - ((index * 53) % 5000));
        const run = async () => {
          const told = [];
          await cacher.generate(prompt, { maxTokens: 5, seed: 1, eosTokenIds: [], cache: false, onProgress: (progress) => told.push(progress) }).result;
          return told;
        };
        return [await run(), await run()];
      });
      assert.deepEqual(first[0].promptTokens, { done: 32, cached: 0, total: 300 });
      const prompts = first.filter(({ phase }) => phase === "prefill");
      assert.equal(prompts.at(-1).promptTokens.done, 300);
      assert.equal(prompts.at(-1).maxTokens, 5);
      assert.deepEqual([first.at(-1).generatedTokens, first.at(-1).remainingMs], [5, 0]);
      assert.deepEqual(second[0].promptTokens, { done: 300, cached: 299, total: 300 });
    });

    await t.test("a batch gives what each prompt gives alone, bit for bit", async () => {
      const { batch, alone } = await page.evaluate(async () => {
        const prompts = ["Once upon a time", "The weather today", "The old lighthouse", "My friend and I", "Once upon a hill"];
        const options = { maxTokens: 30, seed: 21, eosTokenIds: [], logprobs: 2, cache: false, cachePrompt: false };
        const batch = cacher.generateBatch(prompts, { ...options, numSamples: 3, concurrency: 6 });
        const alone = [];
        const results = await batch.results;
        for (const prompt of prompts) {
          for (const seed of [21, 22, 23]) alone.push(said(await cacher.generate(prompt, { ...options, seed }).result));
        }
        return { batch: results.flatMap(({ value }) => value.samples.map(said)), alone };
      });
      assert.equal(batch.length, 15);
      assert.deepEqual(batch, alone);
    });

    await t.test("samples of a prompt share its reading, and the best is the likeliest", async () => {
      const { evaluated, value } = await page.evaluate(async () => {
        const prompt = Array.from({ length: 200 }, (_, index) => (index * 71 + 9) % 5000);
        const batch = cacher.generateBatch([prompt], { maxTokens: 12, seed: 2, eosTokenIds: [], bestOf: 4, cache: false });
        const [{ value }] = await batch.results;
        return { evaluated: value.samples.map(({ usage }) => usage.tokensEvaluated), value };
      });
      assert.deepEqual(evaluated, [200, 1, 1, 1]);
      const means = value.samples.map(({ logprobs }) => logprobs.reduce((sum, { logprob }) => sum + logprob, 0) / logprobs.length);
      assert.deepEqual(value.meanLogProbs, means);
      assert.equal(means[value.sample], Math.max(...means));
      assert.equal(value.text, value.samples[value.sample].text);
    });

    await t.test("a batch: one that fails, one that is aborted, and the others", async () => {
      const results = await page.evaluate(async () => {
        const long = Array.from({ length: 1100 }, () => 1);
        const controller = new AbortController();
        const batch = cacher.generateBatch(
          ["Once upon a time", long, "The weather today"],
          [{ maxTokens: 600, eosTokenIds: [], signal: controller.signal }, {}, { maxTokens: 8, eosTokenIds: [] }],
        );
        for await (const { index } of batch) if (index === 0) controller.abort();
        return (await batch.results).map(({ value, reason }) => value?.finishReason ?? reason.code);
      });
      assert.deepEqual(results, ["aborted", "context-overflow", "length"]);
    });

    await t.test("the web's forms of streams have the whole text", async () => {
      const { whole, text, chunks, events } = await page.evaluate(async () => {
        const options = { maxTokens: 30, seed: 2, eosTokenIds: [], cache: false };
        const whole = (await cacher.generate(PROMPT, options).result).text;
        const text = await new Response(cacher.generate(PROMPT, options).textStream().pipeThrough(new TextEncoderStream())).text();
        const chunks = [];
        const reader = cacher.generate(PROMPT, options).toReadableStream().getReader();
        for (let each = await reader.read(); !each.done; each = await reader.read()) chunks.push(each.value.text);
        const events = await new Response(cacher.generate(PROMPT, options).toEventStream()).text();
        return { whole, text, chunks, events };
      });
      assert.equal(text, whole);
      assert.equal(chunks.join(""), whole);
      const data = events.trim().split("\n\n").map((event) => event.replace(/^data: /, ""));
      assert.equal(data.at(-1), "[DONE]");
      assert.equal(JSON.parse(data.at(-2)).result.text, whole);
      assert.equal(data.slice(0, -2).map((each) => JSON.parse(each).text).join(""), whole);
    });

    await t.test("with a seed in `load`, requests without one are reproducible, and kept", async () => {
      const [first, second, state] = await page.evaluate(async (worker) => {
        const seeded = await kit.Cacher.load({ model: "tiny-gpt2", worker, seed: 99, cache: true, states: { persist: false } });
        const run = () => kit.plainResult(seeded.generate("The sea", { maxTokens: 12 }));
        const results = [await run(), await run()];
        const { seed } = await (await seeded.states.create({ text: "The sea" })).generate({ maxTokens: 2 }).result;
        await seeded.dispose();
        return [...results, seed];
      }, worker);
      assert.deepEqual([first.seed, first.cache.hit, second.cache.hit, state], [99, false, "exact", 0]);
      assert.equal(second.text, first.text);
    });

    assert.deepEqual(problems, []);
  });
}
