/**
 * Whether the next visit will be cross-origin isolated where this one is not:
 * so it is where the service worker came too late to serve this page (see
 * sw/isolate.ts). The page says so and leaves the reloading to the visitor.
 */

export class Isolation {
  comesNextTime = $state(false);

  constructor() {
    const container = navigator.serviceWorker as ServiceWorkerContainer | undefined;
    // A page that came through the worker and is not isolated never will be.
    if (crossOriginIsolated || !container || container.controller) return;
    void container.ready.then(() => (this.comesNextTime = true));
  }
}
