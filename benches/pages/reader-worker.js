/**
 * A thread of reader.js.
 */
let sum;

onmessage = ({ data }) => {
  if (data.module !== undefined) {
    sum = new WebAssembly.Instance(data.module, { env: { memory: data.memory } }).exports.sum;
    return;
  }
  // Clocks of threads begin at different times.
  const now = () => performance.timeOrigin + performance.now();
  const begin = now();
  for (let pass = 0; pass < data.passes; pass++) {
    for (let at = data.start; at < data.end; at += data.step) sum(at, at + data.step);
  }
  postMessage({ begin, end: now() });
};
