/** Mounts the page and registers the service worker that keeps it for offline use. */

import { mount } from "svelte";
import App from "./App.svelte";
import "./tokens.css";

mount(App, { target: document.getElementById("app")! });

if (import.meta.env.PROD && "serviceWorker" in navigator) {
  // Without it the page works all the same, only not offline.
  navigator.serviceWorker.register("./sw.js").catch(() => {});
}
