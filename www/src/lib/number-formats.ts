/** The number formats that weights can be held in, and what each costs. Measured on tiny-gpt2. */

import type { Dtype } from "cacher-wasm";

export interface NumberFormat {
  id: Dtype;
  cost: string;
}

export const numberFormats: readonly [NumberFormat, ...NumberFormat[]] = [
  { id: "q8", cost: "As good as f32, within noise; about a quarter of its memory." },
  { id: "q5", cost: "About 3 % higher perplexity; ⅔ of q8’s memory." },
  { id: "q4", cost: "About 12 % higher perplexity; smallest and fastest." },
  { id: "f32", cost: "The reference: 4 bytes a weight, one thread, slow." },
];
