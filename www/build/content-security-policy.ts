/**
 * Puts the Content Security Policy into the built page. The development
 * server is left without one because it injects styles inline.
 */

import type { Plugin } from "vite";

const policy = [
  "default-src 'self'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "style-src 'self'",
  // Drawings on their way to become PNGs.
  "img-src 'self' blob:",
  // The hub and its download hosts, any model address a visitor types, and
  // model servers on the visitor's own machine.
  "connect-src 'self' https: http://localhost:* http://127.0.0.1:*",
  "object-src 'none'",
  "base-uri 'self'",
  "form-action 'none'",
].join("; ");

export function contentSecurityPolicy(): Plugin {
  return {
    name: "content-security-policy",
    apply: "build",
    transformIndexHtml: () => [
      {
        tag: "meta",
        attrs: { "http-equiv": "Content-Security-Policy", content: policy },
        injectTo: "head-prepend",
      },
    ],
  };
}
