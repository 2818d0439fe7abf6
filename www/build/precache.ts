/**
 * Tells the service worker which files make up the page: writes the list of
 * everything this build emitted, and a version that changes with any of it,
 * into the two placeholders of `sw.ts`. Which of the files are kept before they
 * are asked for is the worker's to decide: it knows the browser.
 */

import { createHash } from "node:crypto";
import type { Plugin } from "vite";

export function precache(): Plugin {
  return {
    name: "precache",
    apply: "build",
    generateBundle: {
      // After the plugins that add the worker's and the page's files.
      order: "post",
      handler(_options, bundle) {
        const worker = bundle["sw.js"];
        if (worker?.type !== "chunk") this.error("the build has no sw.js");
        if (worker.imports.length > 0) this.error("sw.js must stand alone");

        const version = createHash("sha256");
        const files: string[] = [];
        for (const file of Object.values(bundle).sort((a, b) => (a.fileName < b.fileName ? -1 : 1))) {
          version.update(file.fileName);
          version.update(file.type === "chunk" ? file.code : file.source);
          // The page is asked for by its folder; `index.html` may redirect.
          if (file !== worker) files.push(file.fileName === "index.html" ? "./" : file.fileName);
        }
        worker.code = worker.code
          .replace("__PRECACHE_FILES__", JSON.stringify(files))
          .replace("__PRECACHE_VERSION__", JSON.stringify(version.digest("hex").slice(0, 16)));
      },
    },
  };
}
