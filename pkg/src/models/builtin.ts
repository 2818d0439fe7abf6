/**
 * The models that go with this library, with what their files must be.
 *
 * The hashes are part of the package: a hash fetched from where the file comes
 * from would prove nothing about the file.
 */

export interface BuiltinFile {
  name: string;
  bytes: number;
  sha256: string;
}

export const BUILTIN_MODELS: ReadonlyMap<string, readonly BuiltinFile[]> = new Map([
  [
    "tiny-gpt2",
    [
      {
        name: "model.q8_0.gguf",
        bytes: 42854752,
        sha256: "0ca239e78134c2cda2b10d5d881150e2a1b4045867a803e67c66148d6e83ba89",
      },
    ],
  ],
]);
