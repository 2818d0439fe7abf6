/**
 * Puts `models/` into the built page. Files are hard-linked where the file
 * system allows, because they are large and never change after a build.
 */

import { copyFile, link, mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Plugin, ResolvedConfig } from "vite";

export function models(): Plugin {
  let config: ResolvedConfig;
  return {
    name: "models",
    apply: "build",
    configResolved(resolved) {
      config = resolved;
    },
    async writeBundle() {
      await mirror(join(config.root, "models"), resolve(config.root, config.build.outDir, "models"));
    },
  };
}

async function mirror(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const source = join(entry.parentPath, entry.name);
    const target = join(to, source.slice(from.length));
    await mkdir(dirname(target), { recursive: true });
    await rm(target, { force: true });
    await link(source, target).catch(() => copyFile(source, target));
  }
}
