/** Mistakes that the compiler must find: where it does not, the comment above each is an error itself. */

import { Cacher, type ErrorCode } from "cacher-wasm";

export async function mistakes(cacher: Cacher): Promise<void> {
  // @ts-expect-error: a misspelt option of loading
  await Cacher.load({ model: "gpt2", onprogress: console.log });
  // @ts-expect-error: no model
  await Cacher.load({});
  // @ts-expect-error: no such number format
  await Cacher.load({ model: "gpt2", dtype: "int4" });
  // @ts-expect-error: a misspelt option of generating
  cacher.generate("Once", { max_tokens: 5 });
  // @ts-expect-error: an option of the wrong type
  cacher.generate("Once", { temperature: "hot" });
  // @ts-expect-error: no such place to stop at
  cacher.generate("Once", { stopAt: "word" });
  // @ts-expect-error: a schedule of no known kind
  cacher.generate("Once", { temperatureSchedule: { type: "sudden", to: 1 } });
  // @ts-expect-error: half of a range
  cacher.generate("Once", { adaptiveTopP: { min: 0.5 } });
  // @ts-expect-error: words that are no list
  cacher.generate("Once", { badWords: "witch" });
  // @ts-expect-error: a bias of the wrong type
  cacher.generate("Once", { logitBias: { the: "more" } });
  // @ts-expect-error: no such policy
  cacher.generate("Once", { contextPolicy: "shift" });
  // @ts-expect-error: no such constraint
  cacher.generate("Once", { constraint: { grammar: "" } });
  // @ts-expect-error: a prompt of the wrong type
  cacher.generate({ text: "Once" });
  // @ts-expect-error: an average over nothing known
  await cacher.analysis.attention("Once", { average: "queries" });
  // @ts-expect-error: a sparse result has no whole map
  (await cacher.analysis.attention("Once", { threshold: 0.5 })).weights.shape;
  // @ts-expect-error: no segments
  await cacher.analysis.segments("Once");
  // @ts-expect-error: layers that are no list
  await cacher.analysis.lens("Once", { layers: 3 });
  // @ts-expect-error: half of a head
  cacher.generate("Once", { ablateHeads: [{ layer: 1 }] });
  // @ts-expect-error: positions by an unknown name
  await cacher.logits("Once", { positions: "last" });
  // @ts-expect-error: a result is not its text
  const text: string = await cacher.generate("Once").result;
  // @ts-expect-error: no such error
  const code: ErrorCode = "out-of-luck";
  // @ts-expect-error: models are made by `Cacher.load`
  new Cacher();
  // @ts-expect-error: a misspelt property of a result
  console.log((await cacher.generate("Once").result).finish_reason, text, code);
}
