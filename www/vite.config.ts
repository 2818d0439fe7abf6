/**
 * Builds the demo to plain static files that run under any path of any
 * server: addresses are relative, and nothing is inlined as `data:`, so the
 * Content Security Policy stays closed.
 */

import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";
import { contentSecurityPolicy } from "./build/content-security-policy.ts";
import { models } from "./build/models.ts";
import { precache } from "./build/precache.ts";

export default defineConfig({
  base: "./",
  plugins: [svelte(), contentSecurityPolicy(), precache(), models()],
  worker: { format: "es" },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    rollupOptions: {
      input: { index: "index.html", sw: "src/sw.ts" },
      output: {
        // A service worker's address must not change and must be at the root.
        entryFileNames: ({ name }) => (name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
      },
    },
  },
});
