/**
 * The programs the build and the tests need besides Rust and Node, each found
 * on the machine or put there.
 */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { aptInstall } from "./apt.mjs";
import { Failure, capture, root, say, succeeds, which } from "./process.mjs";

const toolFolder = join(
  process.env.XDG_CACHE_HOME || join(homedir(), ".cache"),
  "cacher-wasm",
  "tools",
);

/** A locked crate's version. */
function lockedVersion(name) {
  const lock = readFileSync(join(root, "Cargo.lock"), "utf8");
  return new RegExp(`^name = "${name}"\\nversion = "(.+)"$`, "m").exec(lock)[1];
}

/**
 * wasm-bindgen's command: it reads what the crate of the same name wrote into
 * the wasm, in a format that changes with every version, so only exactly the
 * crate's own version will do. Kept in the user's cache, because compiling it
 * takes minutes.
 */
export async function wasmBindgen() {
  const version = lockedVersion("wasm-bindgen");
  const folder = join(toolFolder, `wasm-bindgen-${version}`);
  const candidates = ["wasm-bindgen", join(folder, "bin", "wasm-bindgen")];
  const find = () =>
    candidates.find((path) => capture(path, ["--version"]).stdout === `wasm-bindgen ${version}`);

  const found = find();
  if (found !== undefined) return { path: found, version };
  say(`compiling wasm-bindgen-cli ${version} into ${folder}, once; this takes some minutes`);
  const install = ["install", "wasm-bindgen-cli", "--version", version, "--root", folder];
  // Flags meant for the project must not reach a tool.
  const options = { env: { RUSTFLAGS: "" } };
  // Its locked dependencies can have been yanked or be missing on a mirror.
  (await succeeds("cargo", [...install, "--locked"], options)) ||
    (await succeeds("cargo", install, options));
  const path = find();
  if (path === undefined) {
    throw new Failure(
      `wasm-bindgen ${version} is missing: run \`cargo install wasm-bindgen-cli --version ${version}\`.`,
    );
  }
  return { path, version };
}

/** binaryen's optimiser, from npm. */
export function wasmOpt() {
  const folder = join(root, "node_modules", "binaryen");
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return { path: join(folder, "bin", "wasm-opt"), version };
}

/** A Chromium for the tests: `CHROME_PATH`, one on `PATH`, or Debian's. */
export async function chromium() {
  const find = () =>
    process.env.CHROME_PATH ||
    ["chromium", "google-chrome", "chromium-browser"].map(which).find((path) => path !== undefined);
  const path = find() ?? ((await aptInstall(["chromium"])) ? find() : undefined);
  if (path === undefined) {
    throw new Failure(
      "The browser tests need Chromium: install it, or set CHROME_PATH to its program.",
    );
  }
  return path;
}

/** A program on `PATH`, or of the Debian package of its name. */
async function program(name) {
  const path = which(name) ?? ((await aptInstall([name])) ? which(name) : undefined);
  if (path === undefined) throw new Failure(`The cache's tests need ${name}: install it.`);
  return path;
}

export const redisServer = () => program("redis-server");
export const webdis = () => program("webdis");
