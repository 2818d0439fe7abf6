/**
 * Lets pending messages and events in between two pieces of work.
 *
 * Nested timers are held to 4 ms each in browsers, which would cost more than
 * a token does; a message to oneself is not.
 */

let channel: MessageChannel | undefined;
const waiting: (() => void)[] = [];

export function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === "function") {
      // Node, where an open message port would keep the process alive.
      setImmediate(resolve);
      return;
    }
    if (channel === undefined) {
      channel = new MessageChannel();
      channel.port1.onmessage = () => waiting.shift()?.();
    }
    waiting.push(resolve);
    channel.port2.postMessage(null);
  });
}
