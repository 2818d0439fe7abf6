/**
 * Small models as sets of files to serve.
 */
import { createHash } from "node:crypto";
import { fixture } from "./paths.mjs";

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A model of three files, by name. */
export function miniModel() {
  return Object.fromEntries(
    ["config.json", "tokenizer.json", "model.safetensors"].map((name) => [name, fixture(`mini-a/${name}`)]),
  );
}

/** `files` at the path `folder`, with the manifest that vouches for them. */
export function listedFolder(folder, files) {
  const manifest = Object.entries(files).map(([name, bytes]) => ({ name, bytes: bytes.length, sha256: sha256(bytes) }));
  return {
    [`${folder}manifest.json`]: JSON.stringify({ files: manifest }),
    ...Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`${folder}${name}`, bytes])),
  };
}
