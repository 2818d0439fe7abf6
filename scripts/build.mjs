/**
 * Builds everything that is missing or out of date: the wasm, the npm package,
 * the demo.
 *
 *     npm run build
 */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { buildWasm } from "./build-wasm.mjs";
import { npm } from "./lib/npm.mjs";
import { root, runAsScript, say } from "./lib/process.mjs";
import { unlessDone } from "./lib/stamp.mjs";

/** Removes what the compiler made from sources that may be gone by now, so that none of it is packed. */
function removeOldScripts() {
  const dist = join(root, "pkg", "dist");
  if (!existsSync(dist)) return;
  for (const name of readdirSync(dist)) {
    if (name !== "wasm") rmSync(join(dist, name), { recursive: true });
  }
}

/** Runs `npm run build` in a workspace if its sources or what it builds upon changed. */
async function buildWorkspace(folder, inputs, output, prepare = () => {}) {
  await unlessDone(
    folder,
    [folder, "package-lock.json", ...inputs],
    { skip: ["dist", "node_modules", "test", "tests"], outputs: [output] },
    async () => {
      say(`building ${folder}`);
      prepare();
      await npm(["run", "build", "--workspace", folder]);
    },
  );
}

/** Builds the package, and the golden checks for the browser tests where asked to. */
export async function buildPackage({ golden = false } = {}) {
  await buildWasm({ golden });
  await buildWorkspace("pkg", ["pkg/dist/wasm"], "pkg/dist/index.js", removeOldScripts);
}

/** Builds everything. */
export async function build(options) {
  await buildPackage(options);
  await buildWorkspace("www", ["pkg/package.json", "pkg/dist"], "www/dist/index.html");
}

await runAsScript(import.meta, () => build());
