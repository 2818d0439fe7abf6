/**
 * The model as Hugging Face publishes one: half precision safetensors.
 */
import { writeChunks } from "./output.mjs";
import { halves, tensors } from "./weights.mjs";

export function writeSafetensors(path) {
  const header = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const { name, shape } of tensors()) {
    const start = end;
    end += shape.reduce((a, b) => a * b) * 2;
    header[name] = { dtype: "F16", shape, data_offsets: [start, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.alloc(-json.length & 7, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  writeChunks(
    path,
    (function* () {
      yield length;
      yield padded;
      for (const { name } of tensors()) yield halves(name);
    })(),
  );
}
