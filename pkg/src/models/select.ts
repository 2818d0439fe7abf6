/**
 * Finds a model among the names of a folder, a repository or a file input.
 */

import { CacherError } from "../errors.js";

/** What a file is to the engine. */
export type Role = "weights" | "config" | "tokenizer" | "vocab" | "merges";

/**
 * The files to load from `names`, with their roles, the weights last: by then
 * the small files have shown whether the model is one to download. safetensors come before
 * GGUF, and of several GGUF files the 8-bit one comes first: it is the
 * smallest whose quality is not visibly lower. `where` names the place in
 * error messages.
 */
export function selectFiles(names: readonly string[], where: string): Map<string, Role> {
  const byBase = new Map(names.map((name) => [baseName(name), name]));
  const selected = new Map<string, Role>();
  const take = (base: string, role: Role): boolean => {
    const name = byBase.get(base);
    if (name !== undefined) selected.set(name, role);
    return name !== undefined;
  };

  const safetensors = names.filter((name) => name.endsWith(".safetensors"));
  const whole = byBase.get("model.safetensors") ?? (safetensors.length === 1 ? safetensors[0] : undefined);
  if (whole !== undefined && take("config.json", "config")) {
    if (!take("tokenizer.json", "tokenizer") && byBase.has("vocab.json") && byBase.has("merges.txt")) {
      take("vocab.json", "vocab");
      take("merges.txt", "merges");
    }
    return selected.set(whole, "weights");
  }

  const gguf = names.filter((name) => name.endsWith(".gguf")).sort();
  const weights = gguf.find((name) => /q8_0/i.test(name)) ?? gguf[0];
  if (weights !== undefined) {
    // A GGUF file brings its config and mostly its tokenizer; one put beside it is meant to be used.
    take("tokenizer.json", "tokenizer");
    return selected.set(weights, "weights");
  }

  if (whole !== undefined) {
    throw new CacherError("not-found", `${where}: config.json is missing beside ${whole}`);
  }
  if (byBase.has("model.safetensors.index.json")) {
    throw new CacherError("unsupported-model", `${where}: weights in several safetensors files are not supported`);
  }
  if (names.some((name) => /\.(bin|pt|pth|ckpt)$/.test(name))) {
    throw new CacherError(
      "unsupported-model",
      `${where}: only pickled PyTorch weights are there; convert them to model.safetensors or GGUF`,
    );
  }
  throw new CacherError("not-found", `${where}: there is no model.safetensors and no .gguf file`);
}

function baseName(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}
