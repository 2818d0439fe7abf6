/**
 * A text cut into what can be pointed at: its tokens. Tokens that share a
 * character (an emoji takes several) cannot be told apart in the text and make
 * one piece.
 */

export interface Piece {
  content: string;
  /** How many tokens of the text there are up to the end of this piece. */
  end: number;
}

/** `offsets`: start and end of each token in the text, flat. */
export function cutIntoPieces(text: string, offsets: ArrayLike<number>): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  let to = 0;
  const close = (end: number) => {
    if (to > from) pieces.push({ content: text.slice(from, to), end });
    from = to;
  };
  for (let token = 0; token * 2 < offsets.length; token += 1) {
    const start = offsets[token * 2]!;
    // The next token begins a piece only where it shares nothing with the last.
    if (start >= to) close(token);
    to = Math.max(to, offsets[token * 2 + 1]!);
  }
  close(offsets.length / 2);
  return pieces;
}
