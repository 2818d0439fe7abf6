//! Drafts from the text itself: prompt-lookup decoding.
//!
//! Where the last tokens stood in the text before, what followed them then is
//! likely to follow again. Such a draft is checked in one pass, which costs
//! little more than one token, and only what the model would have written
//! anyway is kept, so the output does not change. (A. Saxena,
//! "Prompt Lookup Decoding", 2023; transformers' `prompt_lookup_num_tokens`.)

/// Longest run of last tokens that is looked for.
const LONGEST_MATCH: usize = 3;
/// Shortest: one token alone says too little.
const SHORTEST_MATCH: usize = 2;

/// Makes drafts, and learns how long they should be.
#[derive(Debug)]
pub struct Lookup {
    most: usize,
    /// Length of the next draft: two more after one that was right, one less
    /// after one that was not, as transformers does it.
    length: usize,
    drafted: usize,
    accepted: usize,
}

impl Lookup {
    /// Drafts of at most `most` tokens.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            length: most.min(4),
            drafted: 0,
            accepted: 0,
        }
    }

    /// What may follow `text`: at most `room` tokens, possibly none.
    pub fn draft<'a>(&self, text: &'a [u32], room: usize) -> &'a [u32] {
        let length = self.length.min(room);
        for size in (SHORTEST_MATCH..=LONGEST_MATCH).rev() {
            let Some(start) = text.len().checked_sub(size) else {
                continue;
            };
            let last = &text[start..];
            // The latest place counts: what was said last is likeliest again.
            let before = text[..text.len() - 1].windows(size);
            if let Some(at) = before.rev().position(|window| window == last) {
                let follows = text.len() - 1 - at;
                return &text[follows..text.len().min(follows + length)];
            }
        }
        &[]
    }

    /// Learns that of a draft of `drafted` tokens `accepted` were right.
    pub fn learn(&mut self, drafted: usize, accepted: usize) {
        self.drafted += drafted;
        self.accepted += accepted;
        self.length = if accepted == drafted {
            (self.length + 2).min(self.most)
        } else {
            (self.length - 1).max(1)
        };
    }

    /// Tokens drafted, and those of them that were right.
    pub fn counts(&self) -> (usize, usize) {
        (self.drafted, self.accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_the_latest_match_is_the_draft() {
        let lookup = Lookup::new(3);
        let text = [1, 2, 7, 8, 9, 1, 2, 5, 6, 4, 1, 2];
        assert_eq!(lookup.draft(&text, 9), [5, 6, 4]);
        assert_eq!(lookup.draft(&text, 2), [5, 6]);
        // Three tokens that match count more than two that match later.
        assert_eq!(lookup.draft(&[3, 1, 2, 9, 4, 1, 2, 8, 3, 1, 2], 1), [9]);
        assert_eq!(lookup.draft(&[6, 6, 6], 9), [6]);
        assert!(lookup.draft(&[1, 2, 3], 9).is_empty());
        assert!(lookup.draft(&[1], 9).is_empty());
    }

    #[test]
    fn drafts_grow_while_they_are_right_and_shrink_when_not() {
        let mut lookup = Lookup::new(8);
        lookup.learn(4, 4);
        lookup.learn(6, 6);
        assert_eq!(lookup.length, 8);
        for _ in 0..20 {
            lookup.learn(3, 1);
        }
        assert_eq!(lookup.length, 1);
        assert_eq!(lookup.counts(), (70, 30));
    }
}
