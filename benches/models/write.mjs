/**
 * Writes the models of the benchmark, once, into benches/cache.
 *
 *     node benches/models/write.mjs
 */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, runAsScript, say } from "../../scripts/lib/process.mjs";
import { unlessDone } from "../../scripts/lib/stamp.mjs";
import { writeGguf } from "./gguf.mjs";
import { writeOnnx } from "./onnx.mjs";
import { writeSafetensors } from "./safetensors.mjs";
import { tokenizerJson } from "./tokenizer.mjs";
import { CONFIG } from "./weights.mjs";

const FOLDER = "benches/cache/gpt2-124m";

/** Where each engine finds its form of the model, from the root of the repository. */
export const FILES = {
  safetensors: `${FOLDER}/safetensors`,
  onnx: `${FOLDER}/onnx`,
  q8_0: `${FOLDER}/gguf/model.q8_0.gguf`,
  q4_k: `${FOLDER}/gguf/model.q4_k.gguf`,
};

/** What must exist for the work to count as done. */
const OUTPUTS = [
  `${FILES.safetensors}/model.safetensors`,
  `${FILES.onnx}/onnx/model_quantized.onnx`,
  FILES.q8_0,
  FILES.q4_k,
];

function writeText(folder, tokenizerConfig) {
  const write = (name, value) => writeFileSync(join(root, folder, name), JSON.stringify(value));
  write("config.json", CONFIG);
  write("tokenizer.json", tokenizerJson());
  if (tokenizerConfig) {
    write("tokenizer_config.json", { tokenizer_class: "GPT2Tokenizer", model_max_length: CONFIG.n_positions });
    // No end-of-text token: a random model may choose it at any time.
    write("generation_config.json", { _from_model_config: false });
  }
}

export async function writeModels() {
  await unlessDone(
    "bench-models",
    ["benches/models", "tests/fixtures/gpt2-tokenizer"],
    { outputs: OUTPUTS },
    async () => {
      say(`writing random models of GPT-2's 124M shape into ${FOLDER}, once (600 MB)`);
      rmSync(join(root, FOLDER), { recursive: true, force: true });
      writeSafetensors(join(root, OUTPUTS[0]));
      writeText(FILES.safetensors, false);
      writeOnnx(join(root, OUTPUTS[1]));
      writeText(FILES.onnx, true);
      writeGguf(join(root, FILES.q8_0), "q8_0");
      writeGguf(join(root, FILES.q4_k), "q4_k");
    },
  );
}

await runAsScript(import.meta, writeModels);
