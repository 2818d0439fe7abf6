/** Prompts to begin with. The last two follow formats that tiny-gpt2 was trained on. */

export interface Preset {
  name: string;
  prompt: string;
}

export const presets: readonly [Preset, ...Preset[]] = [
  { name: "Story", prompt: "Once upon a time, a small lighthouse stood at the edge of the sea, and in it lived" },
  { name: "News", prompt: "Scientists have discovered a way to" },
  { name: "Letter", prompt: "Dear Sir,\n\nLast week, I" },
  { name: "Dialogue", prompt: "“Where are you going?” asked the old man.\n\n“" },
  { name: "Label", prompt: "Text: I waited forty minutes for a cold soup and nobody said sorry.\nLabel:" },
  {
    name: "Question",
    prompt: "Context: Anna moved from Lisbon to Oslo in 2019 to work as a pilot.\nQuestion: Where did Anna move to?\nAnswer:",
  },
];
