//! The vocabulary as a tree of bytes.
//!
//! Whoever asks of every token whether it may come next would go over the same
//! bytes again and again: half of GPT-2's tokens begin as another one goes on.
//! In a tree each beginning is looked at once, and one that will not do takes
//! all that begin with it along.

use super::encode::Tokenizer;

/// One node; the nodes stand in the order of a walk that goes deep first.
struct Node {
    /// The last byte of the beginning that the node stands for.
    byte: u8,
    /// How many bytes come before it.
    depth: u16,
    /// Where the nodes end that are below this one.
    end: u32,
    /// Where the tokens end, in `tokens`, whose bytes are just this beginning;
    /// they start where those of the node before end.
    tokens_end: u32,
}

/// The ordinary tokens of a tokenizer by their bytes: none that was added to
/// the vocabulary, special or not, and none without bytes.
pub struct TokenTrie {
    nodes: Box<[Node]>,
    tokens: Box<[u32]>,
    /// Bytes of the longest token.
    depth: usize,
}

impl TokenTrie {
    pub(super) fn new(tokenizer: &Tokenizer) -> Self {
        let mut sorted: Vec<(&[u8], u32)> = (0..tokenizer.vocab_size() as u32)
            .filter(|&id| !tokenizer.is_added(id))
            .filter_map(|id| Some((tokenizer.token_bytes(id)?, id)))
            .filter(|(bytes, _)| !bytes.is_empty())
            .collect();
        sorted.sort_unstable();

        let mut nodes: Vec<Node> = Vec::with_capacity(2 * sorted.len());
        // The nodes of the last token, by depth: those still without an end.
        let mut open: Vec<usize> = Vec::new();
        let mut before: &[u8] = &[];
        let mut depth = 0;
        for (index, &(bytes, _)) in sorted.iter().enumerate() {
            let shared = bytes.iter().zip(before).take_while(|(a, b)| a == b).count();
            let end = nodes.len() as u32;
            for closed in open.drain(shared..) {
                nodes[closed].end = end;
            }
            for (at, &byte) in bytes.iter().enumerate().skip(shared) {
                open.push(nodes.len());
                nodes.push(Node {
                    byte,
                    depth: at as u16,
                    end: 0,
                    tokens_end: index as u32,
                });
            }
            if let Some(node) = nodes.last_mut() {
                node.tokens_end = index as u32 + 1;
            }
            before = bytes;
            depth = depth.max(bytes.len());
        }
        let end = nodes.len() as u32;
        for closed in open {
            nodes[closed].end = end;
        }
        Self {
            nodes: nodes.into(),
            tokens: sorted.into_iter().map(|(_, id)| id).collect(),
            depth,
        }
    }

    /// Calls `found` with every token that leads from the state `start` to
    /// another one, byte by byte, where `step` has the next state, or `None`.
    pub fn walk<S: Copy>(
        &self,
        start: S,
        step: impl Fn(S, u8) -> Option<S>,
        mut found: impl FnMut(u32),
    ) {
        // The states before each byte of the beginning at hand.
        let mut states = vec![start; self.depth + 1];
        let mut at = 0;
        while let Some(node) = self.nodes.get(at) {
            let depth = usize::from(node.depth);
            match step(states[depth], node.byte) {
                Some(state) => {
                    states[depth + 1] = state;
                    let tokens = self.tokens_before(at)..node.tokens_end as usize;
                    self.tokens[tokens].iter().for_each(|&id| found(id));
                    at += 1;
                }
                None => at = node.end as usize,
            }
        }
    }

    fn tokens_before(&self, node: usize) -> usize {
        node.checked_sub(1)
            .map_or(0, |before| self.nodes[before].tokens_end as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::byte_to_char;
    use proptest::prelude::*;

    fn tokenizer(tokens: &[&[u8]], special: &[u32]) -> Tokenizer {
        let tokens = tokens
            .iter()
            .map(|bytes| bytes.iter().map(|&byte| byte_to_char(byte)).collect())
            .collect();
        Tokenizer::from_lists(tokens, Vec::new(), special).unwrap()
    }

    /// The tokens that are beginnings of `text`.
    fn beginnings(trie: &TokenTrie, text: &[u8]) -> Vec<u32> {
        let mut found = Vec::new();
        trie.walk(
            0,
            |at, byte| (text.get(at) == Some(&byte)).then_some(at + 1),
            |id| found.push(id),
        );
        found
    }

    #[test]
    fn tokens_come_by_their_bytes_and_added_ones_never() {
        let tokens: [&[u8]; 7] = [b"b", b"ab", b"a", b"", b"abc", b"abd", b"a!"];
        let tokenizer = tokenizer(&tokens, &[6]);
        assert_eq!(beginnings(tokenizer.trie(), b"abd!"), [2, 1, 5]);
        assert_eq!(beginnings(tokenizer.trie(), b"a!"), [2]);
        assert!(beginnings(tokenizer.trie(), b"c").is_empty());
        assert!(beginnings(tokenizer.trie(), b"").is_empty());
    }

    #[test]
    fn a_vocabulary_without_tokens_has_none() {
        assert!(beginnings(tokenizer(&[], &[]).trie(), b"a").is_empty());
    }

    proptest! {
        #[test]
        fn every_token_is_found_once_and_only_where_it_begins_the_text(
            tokens in prop::collection::btree_set(prop::collection::vec(0x61u8..0x64, 1..6), 0..40),
            text in prop::collection::vec(0x61u8..0x64, 0..8),
        ) {
            let tokens: Vec<&[u8]> = tokens.iter().map(Vec::as_slice).rev().collect();
            let tokenizer = tokenizer(&tokens, &[]);
            let mut found = beginnings(tokenizer.trie(), &text);
            found.sort_unstable();
            let expected: Vec<u32> = (0..).zip(&tokens)
                .filter(|(_, bytes)| text.starts_with(bytes))
                .map(|(id, _)| id)
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
