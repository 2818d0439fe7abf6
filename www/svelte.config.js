/** Svelte's own TypeScript support is enough; nothing is preprocessed. */
export default { compilerOptions: { runes: true } };
