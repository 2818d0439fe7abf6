/**
 * Rust: the installed toolchain, and one that can build for
 * `wasm32-unknown-unknown`.
 *
 * That target's standard library comes ready-made with a rustup toolchain, or
 * is built from its sources by `-Zbuild-std`, with a nightly or with Debian's
 * packages. What is installed is used first; only where nothing is, something
 * gets installed. Builds with atomics cannot use the ready-made one.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { aptInstall, aptInstalled } from "./apt.mjs";
import { Failure, capture, root, say, succeeds, which } from "./process.mjs";
import { atLeast } from "./version.mjs";

const TARGET = "wasm32-unknown-unknown";

// rust-web-llvm's linker needs lld-22, and does not say so in its dependencies.
const DEBIAN_PACKAGES = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22"];

/** The oldest Rust that builds the crate, as its manifest says. */
const oldestRust = () =>
  /^rust-version = "(.+)"$/m.exec(readFileSync(join(root, "Cargo.toml"), "utf8"))[1];

/** The version of a rustc, or undefined where it cannot run. */
function rustcVersion(rustc, args = []) {
  const { ok, stdout } = capture(rustc, [...args, "--version"]);
  return ok ? stdout.split(" ")[1] : undefined;
}

const recentEnough = (version) => version !== undefined && atLeast(version, oldestRust());

/** Fails with advice unless cargo and a recent enough rustc are on `PATH`. */
export function checkRust() {
  const install = "install Rust with rustup (https://rustup.rs), then open a new terminal.";
  if (which("cargo") === undefined || which("rustc") === undefined) {
    throw new Failure(`Rust was not found: ${install}`);
  }
  const { ok, stderr } = capture("cargo", ["--version"]);
  if (!ok) throw new Failure(`cargo does not run (${stderr.split("\n")[0]}): ${install}`);
  const version = rustcVersion("rustc");
  if (!recentEnough(version)) {
    throw new Failure(
      `Rust ${version ?? ""} is too old: ${oldestRust()} or newer is needed; run \`rustup update stable\`.`,
    );
  }
}

/** Adds a rustup component such as clippy where it is missing. */
export async function ensureComponent(name) {
  if (capture("cargo", [name, "--version"]).ok) return;
  const component = name === "fmt" ? "rustfmt" : name;
  say(`adding ${component} to the Rust toolchain`);
  if (which("rustup") !== undefined && (await succeeds("rustup", ["component", "add", component])))
    return;
  throw new Failure(`\`cargo ${name}\` was not found: run \`rustup component add ${component}\`.`);
}

function hasTarget() {
  const { ok, stdout } = capture("rustc", ["--print", "target-libdir", "--target", TARGET]);
  return ok && existsSync(stdout);
}

/** Asks through `rustup run`, which never installs what it does not find. */
function nightlyHasSources() {
  if (which("rustup") === undefined) return false;
  const nightly = ["run", "nightly", "rustc"];
  const { ok, stdout } = capture("rustup", [...nightly, "--print", "sysroot"]);
  return (
    ok &&
    existsSync(join(stdout, "lib/rustlib/src/rust/library/std/Cargo.toml")) &&
    recentEnough(rustcVersion("rustup", nightly))
  );
}

const debianReady = () =>
  aptInstalled(DEBIAN_PACKAGES) && recentEnough(rustcVersion("/usr/bin/rustc"));

const buildStd = "-Zbuild-std=std,panic_abort";

/** How to run cargo for wasm: `args` go in front of cargo's own. */
const READY_MADE = {
  name: "the active toolchain's wasm32 target",
  cargo: "cargo",
  before: [],
  after: [],
  env: {},
};
const NIGHTLY = {
  name: "nightly, building std from rust-src",
  cargo: "cargo",
  before: ["+nightly"],
  after: [buildStd],
  env: {},
};
const DEBIAN = {
  name: "Debian's rustc-web, building std from source",
  cargo: "/usr/bin/cargo",
  before: [],
  after: [buildStd],
  // RUSTC, because rustup's proxies may come first on PATH; the sources are
  // this very compiler's, and no other can build them.
  env: { RUSTC: "/usr/bin/rustc", RUSTC_BOOTSTRAP: "1" },
};

/**
 * Finds a toolchain for wasm, or installs one.
 *
 * @param rebuiltStd whether std must be compiled with the project's own target features
 */
export async function wasmToolchain({ rebuiltStd }) {
  if (!rebuiltStd && hasTarget()) return READY_MADE;
  if (nightlyHasSources()) return NIGHTLY;
  if (debianReady()) return DEBIAN;

  if (!rebuiltStd && which("rustup") !== undefined) {
    say(`adding the ${TARGET} target with rustup`);
    if ((await succeeds("rustup", ["target", "add", TARGET], { seconds: 300 })) && hasTarget()) {
      return READY_MADE;
    }
  }
  if ((await aptInstall(DEBIAN_PACKAGES)) && debianReady()) return DEBIAN;

  throw new Failure(
    rebuiltStd
      ? "No Rust that can rebuild std was found: run `rustup toolchain install nightly --component rust-src`."
      : `No Rust for ${TARGET} was found: run \`rustup target add ${TARGET}\`, ` +
          `or on Debian \`apt-get install ${DEBIAN_PACKAGES.join(" ")}\` as root.`,
  );
}
