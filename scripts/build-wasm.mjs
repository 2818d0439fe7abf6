/**
 * Rust to wasm: cargo, then wasm-bindgen, then wasm-opt, into pkg/dist/wasm.
 *
 *     node scripts/build-wasm.mjs [--golden]
 *
 * `--golden` also builds the golden checks (tests/golden) into
 * tests/.tmp/golden-wasm, for the browser tests.
 *
 * cargo judges itself what to compile. The two steps after it are skipped where
 * its output, the tools and the flags are those of last time.
 */
import { cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { join } from "node:path";
import { ensureNpmPackages } from "./lib/npm.mjs";
import { Failure, root, run, runAsScript, say } from "./lib/process.mjs";
import { checkRust, wasmToolchain } from "./lib/rust.mjs";
import { unlessDone } from "./lib/stamp.mjs";
import { wasmBindgen, wasmOpt } from "./lib/tools.mjs";

/**
 * The builds of the package; a page loads the best one that its browser can
 * run. Each has a target folder of its own: with a shared one they would evict
 * each other at every build.
 *
 * `features` are rustc's target features, `suffix` tells the output files apart,
 * `rebuiltStd` says that std must be compiled with the features as well.
 */
const FLAVOURS = [{ name: "simd128", suffix: "", features: ["simd128"], rebuiltStd: false }];

/** One build for browsers, bundlers and Node; after a trap the package starts it anew. */
const BINDGEN = [
  "--target",
  "web",
  "--omit-default-module-path",
  "--experimental-reset-state-function",
];

/** What the input may use. wasm-opt brings in no feature of its own accord. */
const OPTIMISE = [
  "-O3",
  "--enable-simd",
  "--enable-relaxed-simd",
  "--enable-bulk-memory",
  "--enable-mutable-globals",
  "--enable-nontrapping-float-to-int",
  "--enable-sign-ext",
  "--enable-reference-types",
  "--enable-multivalue",
];

const PACKAGE = { crate: "cacher-wasm", file: "cacher_wasm", folder: "pkg/dist/wasm" };
const GOLDEN = { crate: "cacher-golden", file: "cacher_golden", folder: "tests/.tmp/golden-wasm" };

const kilobytes = (bytes) => `${Math.round(bytes.length / 1000)} kB`;

async function compile(toolchain, flavour, { crate, file }) {
  const target = `target/wasm-${flavour.name}`;
  // The crate type is set here, not in the manifest: for a library that is an
  // rlib as well, cargo would silently leave out link-time optimisation.
  await run(
    toolchain.cargo,
    [
      ...toolchain.before,
      "rustc",
      ...["--package", crate, "--lib", "--crate-type", "cdylib"],
      ...["--release", "--locked", "--target", "wasm32-unknown-unknown", "--target-dir", target],
      ...toolchain.after,
    ],
    {
      env: {
        ...toolchain.env,
        // Here and not in .cargo/config.toml, which an outer RUSTFLAGS would replace unnoticed.
        RUSTFLAGS: `-C target-feature=${flavour.features.map((name) => `+${name}`).join(",")}`,
      },
    },
  );
  return `${target}/wasm32-unknown-unknown/release/${file}.wasm`;
}

/** wasm-bindgen and wasm-opt, in a scratch folder first: what is served is never half written. */
async function finish(wasm, flavour, { file, folder }) {
  const bindgen = await wasmBindgen();
  const optimiser = wasmOpt();
  const name = `${file}${flavour.suffix}`;
  const files = [`${name}.js`, `${name}.d.ts`, `${name}_bg.wasm`, `${name}_bg.wasm.d.ts`];
  await unlessDone(
    `${name}-wasm`,
    [wasm],
    {
      also: [bindgen.version, optimiser.version, ...BINDGEN, ...OPTIMISE],
      outputs: files.map((output) => `${folder}/${output}`),
    },
    async () => {
      const scratch = join(root, "target", `wasm-${flavour.name}`, "bindgen", file);
      rmSync(scratch, { recursive: true, force: true });
      say(`wasm-bindgen ${bindgen.version} on ${wasm}`);
      await run(bindgen.path, [
        ...[join(root, wasm), ...BINDGEN, "--out-dir", scratch, "--out-name", name],
      ]);
      say(`wasm-opt ${optimiser.version} on ${name}_bg.wasm`);
      const binary = join(scratch, `${name}_bg.wasm`);
      await run(process.execPath, [optimiser.path, ...OPTIMISE, binary, "-o", binary]);
      mkdirSync(join(root, folder), { recursive: true });
      for (const output of files) cpSync(join(scratch, output), join(root, folder, output));
      const bytes = readFileSync(binary);
      say(
        `${folder}/${name}_bg.wasm: ${kilobytes(bytes)}, ${kilobytes(gzipSync(bytes))} with gzip`,
      );
    },
  );
}

/** Builds every flavour of the package, and the golden checks where asked to. */
export async function buildWasm({ golden }) {
  await ensureNpmPackages();
  checkRust();
  for (const flavour of FLAVOURS) {
    const toolchain = await wasmToolchain(flavour);
    for (const library of golden ? [PACKAGE, GOLDEN] : [PACKAGE]) {
      say(`compiling ${library.crate} for wasm (${flavour.name}), with ${toolchain.name}`);
      const wasm = await compile(toolchain, flavour, library);
      await finish(wasm, flavour, library);
    }
  }
}

await runAsScript(import.meta, async (args) => {
  const unknown = args.find((arg) => arg !== "--golden");
  if (unknown !== undefined)
    throw new Failure(`unknown option ${unknown}: there is only --golden.`);
  await buildWasm({ golden: args.includes("--golden") });
});
