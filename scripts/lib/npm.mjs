/**
 * Node and the npm packages of the workspace, set up on first use.
 *
 * Only Node's own modules are imported here and in every file that runs before
 * `ensureNpmPackages`, so that a fresh clone needs no `npm install` first.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure, root, run, say } from "./process.mjs";
import { atLeast } from "./version.mjs";

const readJson = (...path) => JSON.parse(readFileSync(join(root, ...path), "utf8"));

function checkNode() {
  const wanted = readJson("package.json").engines.node.replace(">=", "");
  if (!atLeast(process.versions.node, wanted)) {
    throw new Failure(
      `Node ${process.versions.node} is too old: install Node ${wanted} or newer (https://nodejs.org).`,
    );
  }
}

/**
 * Whether a folder's `node_modules` is what its lock file asks for. npm itself records
 * what it installed, so a hand-made `npm install` counts as well.
 */
function installed(folder) {
  let record;
  try {
    record = readJson(folder, "node_modules", ".package-lock.json").packages;
  } catch {
    return false;
  }
  return Object.entries(readJson(folder, "package-lock.json").packages).every(([path, wanted]) => {
    // The root is not recorded; optional packages are for other platforms.
    if (path === "") return true;
    const found = record[path];
    if (found === undefined) return wanted.optional === true;
    return found.version === wanted.version && found.integrity === wanted.integrity;
  });
}

/** Runs npm: the very one that started this script, where one did. */
export async function npm(args, options) {
  const cli = process.env.npm_execpath;
  if (cli === undefined) await run("npm", args, options);
  else await run(process.execPath, [cli, ...args], options);
}

/**
 * Checks Node and installs the packages of a lock file where they are missing:
 * the workspace's, or those of a folder that is not part of it. The latter only
 * serve to be looked at, so their own scripts are not run.
 */
export async function ensureNpmPackages(folder = "") {
  checkNode();
  if (installed(folder)) return;
  const lock = join(folder, "package-lock.json");
  say(`installing the npm packages of ${lock}`);
  await npm(["ci", ...(folder === "" ? [] : ["--prefix", folder, "--ignore-scripts"])], {
    advice:
      "Check that the npm registry can be reached; if package.json was changed, run `npm install` to update the lock file.",
  });
}
