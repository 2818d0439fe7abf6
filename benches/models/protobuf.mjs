/**
 * Protocol Buffers, the writing half: as much as an ONNX file needs.
 *
 * A message is a list of byte arrays, so weights are never copied while the
 * messages around them are put together.
 */

function varint(value) {
  const bytes = [];
  for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 127n) | 128);
  }
}

const key = (field, wire) => varint((field << 3) | wire);

/** An integer, or an enum's value. */
export const integer = (field, value) => [key(field, 0), varint(value)];

export const float = (field, value) => [key(field, 5), Buffer.from(Float32Array.of(value).buffer)];

/** A message in a message, or bytes: anything that is a list of byte arrays. */
export function nested(field, parts) {
  const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
  return [key(field, 2), varint(length), ...parts];
}

export const string = (field, value) => nested(field, [Buffer.from(value)]);
