/**
 * Where a text that is still growing may be cut: never at a place that what
 * comes next could turn into the middle of a word or sentence.
 *
 * Words and sentences are those of the Unicode standard (UAX 29) as
 * `Intl.Segmenter` finds them. Where a browser has none, words end before white
 * space, and sentences after `.`, `!` or `?` and white space.
 */

/** The sure places to cut `text` at, from first to last, without its beginning. */
export type Boundaries = (text: string) => number[];

/** After each end of a line. */
export const lineEnds: Boundaries = (text) => [...text.matchAll(/\n/g)].map(({ index }) => index + 1);

/**
 * Before the white space that follows a word, so that a word has the space
 * before it and the marks after it: `"Once"`, `" upon"`, `" a"`, `" time,"`. In
 * scripts without spaces, between two words once something has begun after the
 * second: about the last, the dictionary may still think otherwise.
 */
export function wordEnds(segmenter: Intl.Segmenter | undefined): Boundaries {
  return (text) => {
    const spaced = [...text.matchAll(/(?<=\S)\s/g)].map(({ index }) => index);
    if (segmenter === undefined) return spaced;
    const segments = [...segmenter.segment(text)].slice(0, -1);
    const joined = segments.filter(({ isWordLike }, at) => at > 0 && isWordLike === true && segments[at - 1]!.isWordLike === true);
    return [...spaced, ...joined.map(({ index }) => index)].sort((a, b) => a - b);
  };
}

/** A sentence goes on where a small letter follows, whatever else stands before that: only a letter, or another end, decides. */
const DECIDES = /[\p{L}.!?…。！？\n\u2029]/u;

export function sentenceEnds(segmenter: Intl.Segmenter | undefined): Boundaries {
  return (text) => {
    if (segmenter === undefined) {
      return [...text.matchAll(/\n|[.!?…]["'”’)\]]*[^\S\n]+(?=\S)|[。！？](?=.)/gu)].map(({ 0: end, index }) => index + end.length);
    }
    const ends = [...segmenter.segment(text)].map(({ index }) => index).filter((end) => end > 0 && DECIDES.test(text.slice(end)));
    // A line's end always ends a sentence.
    return text.endsWith("\n") ? [...ends, text.length] : ends;
  };
}

/** `Intl.Segmenter`, where there is one. */
export function segmenterOf(granularity: "word" | "sentence"): Intl.Segmenter | undefined {
  return typeof Intl.Segmenter === "undefined" ? undefined : new Intl.Segmenter(undefined, { granularity });
}
