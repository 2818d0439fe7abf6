/**
 * The package as npm packs it, and fresh projects that install it.
 *
 * Projects live outside the repository: inside it, what a project forgot to
 * install would be found in a `node_modules` further up.
 */
import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { root } from "../../../scripts/lib/process.mjs";

const workspace = await mkdtemp(join(tmpdir(), "cacher-packaging-"));
after(() => rm(workspace, { recursive: true, force: true }));

/** The folder of the small model that goes with the package. */
export const MODEL = join(root, "www", "models", "tiny-gpt2");

/**
 * Runs a program to its end and gives what it printed. One that fails, or still
 * runs after two minutes, rejects with all of that.
 */
export async function exec(command, args, cwd) {
  const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"], timeout: 120_000 });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) {
    child[name].setEncoding("utf8").on("data", (text) => (output[name] += text));
  }
  const end = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(signal ?? code));
  });
  if (end !== 0) {
    const line = [command, ...args].join(" ");
    throw new Error(`\`${line}\` ended with ${end}\n${output.stdout}${output.stderr}`);
  }
  return output;
}

export const node = (args, cwd) => exec(process.execPath, args, cwd);

/** Runs npm: the very one that started the tests, where one did. */
export function npm(args, cwd) {
  const cli = process.env.npm_execpath;
  return cli === undefined ? exec("npm", args, cwd) : node([cli, ...args], cwd);
}

async function pack() {
  const args = ["pack", "--json", "--pack-destination", workspace];
  const [{ filename, files }] = JSON.parse((await npm(args, join(root, "pkg"))).stdout);
  return { path: join(workspace, filename), files };
}

let packing;

/**
 * The tarball.
 *
 * @returns {Promise<{ path: string, files: { path: string, size: number }[] }>}
 */
export const tarball = () => (packing ??= pack());

/**
 * Copies a template of this folder, and installs the tarball and what else it
 * needs: `instead`, such as `vite@7.3.8`, in place of what the template says.
 *
 * @returns {Promise<string>} the new folder
 */
export async function install(template, ...instead) {
  const folder = join(await mkdtemp(join(workspace, "project-")), template);
  await cp(join(root, "tests", "packaging", template), folder, { recursive: true });
  const { path } = await tarball();
  await npm(["install", "--prefer-offline", "--no-audit", "--no-fund", path, ...instead], folder);
  return folder;
}

/** Puts the model into a folder of a project. */
export async function addModel(...path) {
  const folder = join(...path);
  await mkdir(folder, { recursive: true });
  await cp(MODEL, folder, { recursive: true });
}

/** The text that the templates' pages must show: what plain Node gives with the package a project installed. */
export async function textInNode(project) {
  const script = `
    import { Cacher } from "cacher-wasm";
    const cacher = await Cacher.load({ model: ${JSON.stringify(MODEL)} });
    const { text } = await cacher.generate("Once upon a time", { maxTokens: 20, seed: 7 }).result;
    process.stdout.write(text);`;
  const { stdout } = await node(["--input-type=module", "--eval", script], project);
  return stdout;
}
