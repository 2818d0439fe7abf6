/**
 * Remembers the WebAssembly memories of this thread, and those of the workers
 * that it starts.
 *
 * Imported before an engine, it stands between the engine and the two ways to
 * come by a memory: making one, and starting a module that has one. In a worker
 * it is imported before the worker's own code and answers questions.
 */
const memories = new Set();
const questions = new BroadcastChannel("memories");
/** How long a worker may take to answer; those that only wait for work of another thread do not. */
const ANSWER_MS = 1000;

WebAssembly.Memory = new Proxy(WebAssembly.Memory, {
  construct(target, args) {
    const memory = Reflect.construct(target, args);
    memories.add(memory);
    return memory;
  },
});

for (const name of ["instantiate", "instantiateStreaming"]) {
  const original = WebAssembly[name];
  WebAssembly[name] = async (...args) => {
    const result = await original.apply(WebAssembly, args);
    const { exports } = result.instance ?? result;
    const found = Object.values(exports).filter((value) => String(value) === "[object WebAssembly.Memory]");
    for (const memory of found) memories.add(memory);
    return result;
  };
}

/** Bytes of each, and whether threads share it. */
const own = () =>
  [...memories].map(({ buffer }) => ({ bytes: buffer.byteLength, shared: !(buffer instanceof ArrayBuffer) }));

/** A script that runs this file and then the one at `url`. */
function withThisFile(url, { type } = {}) {
  const files = [import.meta.url, new URL(url, location.href).href].map((file) => JSON.stringify(file));
  const [first, second] = files;
  const code =
    type === "module"
      ? `import ${first}; import ${second};`
      : // A script without imports of its own: it may only start once this file has run.
        `const early = []; const keep = (event) => { event.stopImmediatePropagation(); early.push(event); };
         addEventListener("message", keep);
         import(${first}).then(() => {
           removeEventListener("message", keep);
           importScripts(${second});
           for (const { data, ports } of early) dispatchEvent(new MessageEvent("message", { data, ports }));
         });`;
  return URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
}

/** From here on, workers have this file too. */
export function watchWorkers() {
  globalThis.Worker = class extends Worker {
    constructor(url, options) {
      super(withThisFile(url, options), options);
    }
  };
}

/** The memories of this thread and of its workers; a shared one is in the list of each that has it. */
export async function listMemories() {
  const lists = [own()];
  questions.onmessage = ({ data }) => lists.push(data);
  questions.postMessage("?");
  await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
  return lists.flat();
}

if (typeof WorkerGlobalScope !== "undefined") {
  questions.onmessage = ({ data }) => data === "?" && questions.postMessage(own());
}
