/**
 * Where things are, and the fixtures the tests compare with.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../../scripts/lib/process.mjs";

export const PACKAGE = join(root, "pkg", "dist");
export const DEMO = join(root, "www", "dist");
export const MODELS = join(root, "www", "models");
export const FIXTURES = join(root, "tests", "fixtures");
export const GOLDEN = join(root, "tests", ".tmp", "golden-wasm");

export const fixture = (path) => readFileSync(join(FIXTURES, path));
export const fixtureJson = (path) => JSON.parse(fixture(path));

/** The demo's own model, the only one here that writes English. */
export const tinyModel = () => readFileSync(join(MODELS, "tiny-gpt2", "model.q8_0.gguf"));

/** The values of `{"f32_b64", "shape"}`. */
export function floats({ f32_b64: base64 }) {
  const bytes = Buffer.from(base64, "base64");
  return Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(index * 4));
}
