/**
 * Rust to wasm: cargo, then wasm-bindgen, then wasm-opt, into pkg/dist/wasm.
 *
 *     node scripts/build-wasm.mjs [--golden] [--only=relaxed,threads]
 *
 * `--golden` also builds the golden checks (tests/golden) into
 * tests/.tmp/golden-wasm, for the browser tests. `--only` builds just the
 * flavours it names, for development: what the others left stays as it is.
 *
 * Each step is skipped where its inputs, the tools and the flags are those of
 * last time; for the golden checks cargo judges itself what to compile.
 */
import { cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { ensureNpmPackages } from "./lib/npm.mjs";
import { Failure, capture, root, run, runAsScript, say } from "./lib/process.mjs";
import { checkRust, wasmToolchain } from "./lib/rust.mjs";
import { unlessDone } from "./lib/stamp.mjs";
import { wasmBindgen, wasmOpt } from "./lib/tools.mjs";

/** What lets several threads share one memory: imported, so that each is given the same. */
const SHARED_MEMORY = [
  "--shared-memory",
  "--import-memory",
  // The memory that the package brings may have any lower maximum, but none above this.
  "--max-memory=4294967296",
  // Of the memory that the package brings; see INITIAL_PAGES in pkg/src/threads/memory.ts.
  "--initial-memory=8388608",
  "--export=__wasm_init_tls",
  "--export=__tls_size",
  "--export=__tls_align",
  "--export=__tls_base",
];

/**
 * The builds of the package; a page loads the best one that its browser can
 * run. One unknown instruction makes a whole module invalid, so each is a file
 * of its own. Each has a target folder of its own too: with a shared one they
 * would evict each other at every build.
 *
 * `features` are rustc's target features; `suffix` tells the wasm files apart,
 * `glue` the scripts (builds that differ only in their kernels share one);
 * `rebuiltStd` says that std must be compiled with the features as well;
 * `golden`, that the golden checks are built with it.
 */
const FLAVOURS = [
  {
    name: "simd128",
    suffix: "",
    glue: "",
    features: ["simd128"],
    golden: true,
  },
  {
    name: "relaxed",
    suffix: "_relaxed",
    glue: "",
    features: ["simd128", "relaxed-simd"],
    golden: true,
  },
  {
    name: "threads",
    suffix: "_threads",
    glue: "_threads",
    features: ["atomics", "bulk-memory", "mutable-globals", "simd128", "relaxed-simd"],
    linkArgs: SHARED_MEMORY,
    rebuiltStd: true,
  },
];

/** For browsers, bundlers and Node alike. */
const bindgenOptions = (flavour) => [
  ...["--target", "web", "--omit-default-module-path"],
  // After a trap the package starts the instance anew; with threads, a new worker.
  ...(flavour.linkArgs === undefined ? ["--experimental-reset-state-function"] : []),
];

/** What the input may use. wasm-opt brings in no feature of its own accord. */
const optimiserOptions = (flavour) => [
  "-O3",
  "--enable-simd",
  "--enable-relaxed-simd",
  "--enable-bulk-memory",
  "--enable-mutable-globals",
  "--enable-nontrapping-float-to-int",
  "--enable-sign-ext",
  "--enable-reference-types",
  "--enable-multivalue",
  ...(flavour.features.includes("atomics") ? ["--enable-threads"] : []),
];

const PACKAGE = { crate: "cacher-wasm", file: "cacher_wasm", folder: "pkg/dist/wasm" };
const GOLDEN = { crate: "cacher-golden", file: "cacher_golden", folder: "tests/.tmp/golden-wasm" };

const rustFlags = ({ features, linkArgs = [] }) =>
  [
    `-C target-feature=${features.map((name) => `+${name}`).join(",")}`,
    ...linkArgs.map((argument) => `-C link-arg=${argument}`),
  ].join(" ");

const kilobytes = (bytes) => `${Math.round(bytes.length / 1000)} kB`;

/** What the package's build is made of. */
const SOURCES = ["src", "Cargo.toml", "Cargo.lock"];

async function compile(toolchain, flavour, { crate, file }) {
  const target = `target/wasm-${flavour.name}`;
  const wasm = `${target}/wasm32-unknown-unknown/release/${file}.wasm`;
  // Here and not in .cargo/config.toml, which an outer RUSTFLAGS would replace unnoticed.
  const env = { ...toolchain.env, RUSTFLAGS: rustFlags(flavour) };
  // The crate type is set here, not in the manifest: for a library that is an
  // rlib as well, cargo would silently leave out link-time optimisation.
  const args = [
    ...toolchain.before,
    "rustc",
    ...["--package", crate, "--lib", "--crate-type", "cdylib"],
    ...["--release", "--locked", "--target", "wasm32-unknown-unknown", "--target-dir", target],
    ...toolchain.after,
  ];
  const build = async () => {
    say(`compiling ${crate} for wasm (${flavour.name}), with ${toolchain.name}`);
    await run(toolchain.cargo, args, { env });
  };
  if (crate === PACKAGE.crate) {
    // For the golden checks cargo builds the same crate as a library, and takes
    // this build for out of date from then on.
    const { stdout: version } = capture(toolchain.cargo, [...toolchain.before, "--version"]);
    const also = [version, env.RUSTFLAGS, ...args];
    await unlessDone(`${file}-${flavour.name}-cargo`, SOURCES, { also, outputs: [wasm] }, build);
  } else {
    await build();
  }
  return wasm;
}

/**
 * wasm-bindgen and wasm-opt, in a scratch folder first: what is served is never
 * half written.
 */
async function finish(wasm, flavour, { file, folder }) {
  const bindgen = await wasmBindgen();
  const optimiser = wasmOpt();
  const bindgenArgs = bindgenOptions(flavour);
  const optimiserArgs = optimiserOptions(flavour);
  // Named after the glue: the wasm names the script that it imports from.
  const made = `${file}${flavour.glue}`;
  const name = `${file}${flavour.suffix}`;
  const outputs = [
    [`${made}.js`, `${made}.js`],
    [`${made}.d.ts`, `${made}.d.ts`],
    [`${made}_bg.wasm`, `${name}_bg.wasm`],
    [`${made}_bg.wasm.d.ts`, `${name}_bg.wasm.d.ts`],
  ];
  await unlessDone(
    `${name}-wasm`,
    [wasm],
    {
      also: [bindgen.version, optimiser.version, ...bindgenArgs, ...optimiserArgs],
      outputs: outputs.map(([, output]) => `${folder}/${output}`),
    },
    async () => {
      const scratch = join(root, "target", `wasm-${flavour.name}`, "bindgen", file);
      rmSync(scratch, { recursive: true, force: true });
      say(`wasm-bindgen ${bindgen.version} on ${wasm}`);
      await run(bindgen.path, [
        ...[join(root, wasm), ...bindgenArgs, "--out-dir", scratch, "--out-name", made],
      ]);
      say(`wasm-opt ${optimiser.version} on ${name}_bg.wasm`);
      const binary = join(scratch, `${made}_bg.wasm`);
      await run(process.execPath, [optimiser.path, ...optimiserArgs, binary, "-o", binary]);
      mkdirSync(join(root, folder), { recursive: true });
      for (const [from, to] of outputs) cpSync(join(scratch, from), join(root, folder, to));
      const bytes = readFileSync(binary);
      say(
        `${folder}/${name}_bg.wasm: ${kilobytes(bytes)}, ${kilobytes(gzipSync(bytes))} with gzip`,
      );
    },
  );
}

/** Fails where builds that share a script need different ones. */
function checkSharedGlue({ file }, flavours) {
  const scripts = flavours.map(({ name, glue }) => [
    glue,
    readFileSync(join(root, "target", `wasm-${name}`, "bindgen", file, `${file}${glue}.js`), "utf8"),
  ]);
  for (const [glue, script] of scripts) {
    if (scripts.some(([other, text]) => other === glue && text !== script)) {
      throw new Failure(
        `The builds that share ${file}${glue}.js need different scripts: what they export must not depend on target features.`,
      );
    }
  }
}

/**
 * Does `work` with each of `items`, two at a time where there are two cores: the
 * last crate and wasm-opt's passes keep one core busy each, in 2 GB of memory.
 * One that fails lets what has begun end, so that nothing goes on after this.
 */
async function inParallel(items, work) {
  const left = [...items];
  const failures = [];
  const worker = async () => {
    while (left.length > 0 && failures.length === 0) {
      await work(left.shift()).catch((error) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker));
  if (failures.length > 0) throw failures[0];
}

/** Builds the package, in all flavours or those named, and the golden checks where asked to. */
export async function buildWasm({ golden, only }) {
  await ensureNpmPackages();
  checkRust();
  const flavours = FLAVOURS.filter(({ name }) => only === undefined || only.includes(name));
  // Before anything runs in parallel, since each may be installed first.
  await wasmBindgen();
  const toolchains = new Map();
  for (const flavour of flavours) {
    const rebuiltStd = flavour.rebuiltStd === true;
    toolchains.set(flavour, await wasmToolchain({ rebuiltStd }));
  }
  for (const library of golden ? [PACKAGE, GOLDEN] : [PACKAGE]) {
    const built = flavours.filter((flavour) => library === PACKAGE || flavour.golden === true);
    await inParallel(built, async (flavour) => {
      const wasm = await compile(toolchains.get(flavour), flavour, library);
      await finish(wasm, flavour, library);
    });
    checkSharedGlue(library, built);
  }
}

await runAsScript(import.meta, async (args) => {
  const names = FLAVOURS.map(({ name }) => name);
  const options = { golden: false, only: undefined };
  for (const arg of args) {
    const [name, value] = arg.split("=");
    if (arg === "--golden") options.golden = true;
    else if (name === "--only" && value?.split(",").every((each) => names.includes(each)))
      options.only = value.split(",");
    else
      throw new Failure(
        `unknown option ${arg}: there are --golden and --only= with ${names.join(", ")}.`,
      );
  }
  await buildWasm(options);
});
