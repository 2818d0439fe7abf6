//! Stop strings: ends a generation at the first of them and, until then,
//! streams everything that cannot become part of one.
//!
//! Matching is on bytes, because a token may split a character and a stop
//! string may begin or end inside a token. The rules:
//!
//! - The first token after which any stop string is complete ends the
//!   generation. A longer string that could still grow out of the same bytes
//!   (`"abc"` after `"ab"`) is not waited for.
//! - Of the strings complete by then, the one that begins leftmost counts; of
//!   several that begin there, the longest.
//! - The output is cut where that string begins or, with `include_stop`, where
//!   it ends. What follows it inside the token is always dropped. (Hugging
//!   Face keeps the string and the rest of the token, OpenAI and llama.cpp cut
//!   both.)
//! - Held back is exactly the longest end of the output that is a proper
//!   beginning of some stop string: less would leak part of a stop string,
//!   more would stall the stream.
//!
//! Each string has its own Knuth-Morris-Pratt automaton (SIAM J. Comput. 6,
//! 1977), whose state is that longest end. So the cost is one step a byte and
//! string, whatever the strings are, and nothing where there are none.

/// Finds stop strings in bytes that arrive token by token.
///
/// ```
/// use cacher_wasm::generate::stop::StopMatcher;
///
/// let mut matcher = StopMatcher::new(&["\n\n"], false);
/// let mut text = Vec::new();
/// assert!(matcher.push(b"one\n", &mut text).is_none());
/// assert_eq!(text, b"one"); // the newline may be half of a stop string
/// assert!(matcher.push(b"two\n", &mut text).is_none());
/// assert_eq!(text, b"one\ntwo");
/// let found = matcher.push(b"\nthree", &mut text).unwrap();
/// assert_eq!((found.index, found.start, found.end), (0, 7, 9));
/// assert_eq!(text, b"one\ntwo");
/// ```
#[derive(Debug, Clone)]
pub struct StopMatcher {
    automata: Vec<Automaton>,
    include_stop: bool,
    /// The bytes not yet given out; empty where there are no stop strings.
    held: Vec<u8>,
    /// Bytes given out so far.
    emitted: usize,
}

/// A stop string that was found. The matcher is spent then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopMatch {
    /// Which of the stop strings, as given to [`StopMatcher::new`].
    pub index: usize,
    /// Bytes of output before it.
    pub start: usize,
    /// Bytes of output up to its end.
    pub end: usize,
}

impl StopMatcher {
    /// A matcher for `stops`; an empty string among them matches nothing.
    pub fn new<S: AsRef<[u8]>>(stops: &[S], include_stop: bool) -> Self {
        let automata = stops
            .iter()
            .enumerate()
            .filter(|(_, stop)| !stop.as_ref().is_empty())
            .map(|(index, stop)| Automaton::new(index, stop.as_ref()))
            .collect();
        Self {
            automata,
            include_stop,
            held: Vec::new(),
            emitted: 0,
        }
    }

    /// Takes one token's bytes, appends to `emit` what is safe to show, and
    /// says whether the generation ends here.
    pub fn push(&mut self, bytes: &[u8], emit: &mut Vec<u8>) -> Option<StopMatch> {
        if self.automata.is_empty() {
            emit.extend_from_slice(bytes);
            return None;
        }
        let offset = self.emitted + self.held.len();
        self.held.extend_from_slice(bytes);

        let mut found: Option<StopMatch> = None;
        for automaton in &mut self.automata {
            if let Some(end) = automaton.feed(bytes) {
                let end = offset + end;
                let start = end - automaton.stop.len();
                if found.is_none_or(|f| start < f.start || (start == f.start && end > f.end)) {
                    found = Some(StopMatch {
                        index: automaton.index,
                        start,
                        end,
                    });
                }
            }
        }

        match found {
            Some(stop) => {
                let until = if self.include_stop {
                    stop.end
                } else {
                    stop.start
                };
                self.emit(until - self.emitted, emit);
                self.held.clear();
            }
            None => {
                let unsafe_end = self.automata.iter().map(|a| a.matched).max();
                self.emit(self.held.len() - unsafe_end.unwrap_or(0), emit);
            }
        }
        found
    }

    /// Appends to `emit` what was held back: the generation has ended without
    /// a stop string.
    pub fn flush(&mut self, emit: &mut Vec<u8>) {
        self.emit(self.held.len(), emit);
    }

    fn emit(&mut self, count: usize, emit: &mut Vec<u8>) {
        emit.extend(self.held.drain(..count));
        self.emitted += count;
    }
}

/// Knuth, Morris and Pratt's automaton of one string.
#[derive(Debug, Clone)]
struct Automaton {
    index: usize,
    stop: Vec<u8>,
    /// `fallback[n]`: length of the longest proper prefix of the string that
    /// is also the end of its first `n + 1` bytes.
    fallback: Vec<usize>,
    /// Length of the longest prefix of the string that ends the input so far,
    /// always less than all of it.
    matched: usize,
}

impl Automaton {
    fn new(index: usize, stop: &[u8]) -> Self {
        let mut automaton = Self {
            index,
            stop: stop.to_vec(),
            fallback: vec![0],
            matched: 0,
        };
        // The table of the string is the run of the automaton over the rest of
        // the string itself, each step needing only entries already made.
        for &byte in &stop[1..] {
            automaton.matched = automaton.after(byte);
            automaton.fallback.push(automaton.matched);
        }
        automaton.matched = 0;
        automaton
    }

    /// The state after `byte`; the string's length where it is complete.
    fn after(&self, byte: u8) -> usize {
        let mut matched = self.matched;
        while matched > 0 && self.stop[matched] != byte {
            matched = self.fallback[matched - 1];
        }
        matched + usize::from(self.stop[matched] == byte)
    }

    /// Reads `bytes`; where the string is first complete in them, how many of
    /// them that took. The first occurrence is also the leftmost.
    fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        for (i, &byte) in bytes.iter().enumerate() {
            self.matched = self.after(byte);
            if self.matched == self.stop.len() {
                self.matched = 0;
                return Some(i + 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Everything emitted, and the match, from pushing `tokens` one by one.
    fn run(stops: &[&str], include_stop: bool, tokens: &[&str]) -> (String, Option<StopMatch>) {
        let mut matcher = StopMatcher::new(stops, include_stop);
        let mut out = Vec::new();
        for token in tokens {
            let found = matcher.push(token.as_bytes(), &mut out);
            if found.is_some() {
                return (String::from_utf8(out).unwrap(), found);
            }
        }
        matcher.flush(&mut out);
        (String::from_utf8(out).unwrap(), None)
    }

    fn found(index: usize, start: usize, end: usize) -> Option<StopMatch> {
        Some(StopMatch { index, start, end })
    }

    #[test]
    fn the_stop_string_is_cut_and_the_rest_of_its_token_dropped() {
        let tokens = ["a st", "op", "era"];
        assert_eq!(
            run(&["stop"], false, &tokens),
            ("a ".into(), found(0, 2, 6))
        );
        let tokens = ["a st", "opera"];
        assert_eq!(
            run(&["stop"], false, &tokens),
            ("a ".into(), found(0, 2, 6))
        );
    }

    #[test]
    fn include_stop_keeps_the_string_but_not_what_follows_it() {
        let tokens = ["a st", "opera"];
        assert_eq!(
            run(&["stop"], true, &tokens),
            ("a stop".into(), found(0, 2, 6))
        );
    }

    #[test]
    fn leftmost_wins_then_longest() {
        let stops = ["cd", "bc", "bcd"];
        assert_eq!(run(&stops, false, &["abcde"]), ("a".into(), found(2, 1, 4)));
    }

    #[test]
    fn the_first_token_that_completes_a_stop_ends_it() {
        let stops = ["abc", "ab", "xab!"];
        assert_eq!(
            run(&stops, false, &["xab", "c"]),
            ("x".into(), found(1, 1, 3))
        );
        assert_eq!(run(&stops, false, &["xabc"]), ("x".into(), found(0, 1, 4)));
    }

    #[test]
    fn of_equal_stops_the_first_is_reported() {
        assert_eq!(
            run(&["no", "x", "x"], false, &["yx"]),
            ("y".into(), found(1, 1, 2))
        );
    }

    #[test]
    fn what_was_held_comes_out_at_the_end() {
        let mut matcher = StopMatcher::new(&["aab"], false);
        let mut out = Vec::new();
        matcher.push(b"xaaa", &mut out);
        assert_eq!(out, b"xa");
        matcher.flush(&mut out);
        assert_eq!(out, b"xaaa");
    }

    #[test]
    fn characters_split_between_tokens_are_matched_by_their_bytes() {
        let [a, b] = ["€".as_bytes()[..1].to_vec(), "€".as_bytes()[1..].to_vec()];
        let mut matcher = StopMatcher::new(&["€"], false);
        let mut out = Vec::new();
        assert_eq!(matcher.push(&a, &mut out), None);
        assert!(out.is_empty());
        assert_eq!(matcher.push(&b, &mut out), found(0, 0, 3));
    }

    #[test]
    fn without_stop_strings_everything_passes() {
        assert_eq!(run(&[], false, &["a", "b"]), ("ab".into(), None));
        assert_eq!(run(&[""], false, &["a", "b"]), ("ab".into(), None));
    }

    /// All rules of the module's header, by search of the whole text.
    fn oracle(stops: &[Vec<u8>], text: &[u8]) -> Option<StopMatch> {
        (0..text.len()).find_map(|start| {
            stops
                .iter()
                .enumerate()
                .filter(|(_, stop)| text[start..].starts_with(stop))
                .max_by_key(|(index, stop)| (stop.len(), std::cmp::Reverse(*index)))
                .map(|(index, stop)| StopMatch {
                    index,
                    start,
                    end: start + stop.len(),
                })
        })
    }

    /// Length of the longest end of `text` that properly begins a stop string.
    fn must_hold(stops: &[Vec<u8>], text: &[u8]) -> usize {
        (0..text.len())
            .find(|&i| {
                stops
                    .iter()
                    .any(|stop| stop.len() > text.len() - i && stop.starts_with(&text[i..]))
            })
            .map_or(0, |i| text.len() - i)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn agrees_with_the_oracle(
            alphabet in 1u8..5,
            stops in vec(vec(any::<u8>(), 1..7), 0..5),
            tokens in vec(vec(any::<u8>(), 0..6), 0..40),
            include_stop: bool,
        ) {
            let shrink = |bytes: &Vec<u8>| bytes.iter().map(|b| b'a' + b % alphabet).collect();
            let stops: Vec<Vec<u8>> = stops.iter().map(shrink).collect();
            let tokens: Vec<Vec<u8>> = tokens.iter().map(shrink).collect();

            let mut matcher = StopMatcher::new(&stops, include_stop);
            let (mut text, mut out) = (Vec::new(), Vec::new());
            for token in &tokens {
                text.extend_from_slice(token);
                let found = matcher.push(token, &mut out);
                let expected = oracle(&stops, &text);
                prop_assert_eq!(found, expected);
                if let Some(stop) = found {
                    let until = if include_stop { stop.end } else { stop.start };
                    prop_assert_eq!(&out[..], &text[..until]);
                    return Ok(());
                }
                // Exactly this much, so nothing of a later match has left.
                let safe = text.len() - must_hold(&stops, &text);
                prop_assert_eq!(&out[..], &text[..safe]);
            }
            matcher.flush(&mut out);
            prop_assert_eq!(out, text);
        }
    }
}
