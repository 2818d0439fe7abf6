/**
 * Half precision numbers, which Node's typed arrays do not have.
 */
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The bits of the half nearest to a number, ties to even; below 2^-14 it is 0. */
export function toHalf(value) {
  float[0] = value;
  const sign = (bits[0] >>> 16) & 0x8000;
  const rest = bits[0] & 0x7fffffff;
  if (rest < 0x38800000) return sign;
  const rounded = rest + 0xfff + ((rest >>> 13) & 1);
  return sign | Math.min((rounded >>> 13) - (112 << 10), 0x7c00);
}

export function fromHalf(half) {
  const exponent = (half >>> 10) & 31;
  const fraction = half & 1023;
  const sign = half & 0x8000 ? -1 : 1;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}
