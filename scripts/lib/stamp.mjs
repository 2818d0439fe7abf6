/**
 * Work that is skipped where its inputs have not changed.
 *
 * A stamp is a hash over the contents of the inputs, written once the work has
 * succeeded. Contents, because a fresh checkout gives every file a new time.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { root } from "./process.mjs";

/** All files under a path in a fixed order; the path itself where it is a file. */
function filesUnder(path, skip) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .filter((name) => !skip.includes(name))
    .flatMap((name) => filesUnder(join(path, name), skip));
}

/**
 * Runs `work` unless it was done with these very inputs and all it made is still there.
 *
 * @param name of the stamp
 * @param inputs files and folders, relative to the root
 * @param options.also strings that matter as well, such as versions
 * @param options.skip names of files and folders under the inputs that do not matter
 * @param options.outputs files that must exist for the work to count as done
 * @returns whether it ran
 */
export async function unlessDone(name, inputs, { also = [], skip = [], outputs }, work) {
  const hash = createHash("sha256").update(JSON.stringify(also));
  for (const path of inputs.flatMap((input) => filesUnder(join(root, input), skip))) {
    const contents = readFileSync(path);
    hash.update(`\n${path.slice(root.length)} ${contents.length}\n`).update(contents);
  }
  const key = hash.digest("hex");
  const stamp = join(root, "target", "stamps", name);
  const done =
    existsSync(stamp) &&
    readFileSync(stamp, "utf8") === key &&
    outputs.every((output) => existsSync(join(root, output)));
  if (done) return false;
  rmSync(stamp, { force: true });
  await work();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, key);
  return true;
}
