/** Which files from the device are exported states, and what to call exports. */

/** Names that Hugging Face's model folders have; any other JSON file is taken for states. */
const MODEL_JSON = /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|manifest)\.json$|\.index\.json$/i;

export function isStateFile({ name }: Pick<File, "name">): boolean {
  if (/\.cacher$/i.test(name)) return true;
  return /\.json$/i.test(name) && !MODEL_JSON.test(name);
}

export function exportName(subject: string, format: "binary" | "json"): string {
  const words = subject
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 40);
  return `${words || "state"}.${format === "json" ? "states.json" : "cacher"}`;
}

/** Hands a file to the browser's downloads. */
export function saveFile(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The download has its own hold on the content once it has begun.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
