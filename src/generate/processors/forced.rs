//! `forced_bos_token_id` and `forced_eos_token_id`: what has to come at one
//! length.

use super::LogitsProcessor;

/// Where the history, prompt and output, has one certain length, rules out all
/// but the forced tokens, whose score becomes 0 (so that in beam search they
/// cost nothing).
///
/// Source: `ForcedBOSTokenLogitsProcessor` and `ForcedEOSTokenLogitsProcessor`
/// of transformers. Default: none.
#[derive(Debug)]
pub struct Forced {
    length: usize,
    ids: Vec<u32>,
}

impl Forced {
    /// `id` follows a history of one token. (Transformers means the token that
    /// starts the decoder of a translation; with GPT-2 it acts after a prompt
    /// of one token alone.)
    pub fn bos(id: u32) -> Self {
        Self {
            length: 1,
            ids: vec![id],
        }
    }

    /// One of `ids` is the last of `max_length` tokens, the prompt's included.
    /// A `max_length` of 0 forces nothing.
    pub fn eos(max_length: usize, ids: Vec<u32>) -> Self {
        Self {
            length: max_length.wrapping_sub(1),
            ids,
        }
    }
}

impl LogitsProcessor for Forced {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        if history.len() != self.length {
            return;
        }
        scores.fill(f32::NEG_INFINITY);
        for &id in &self.ids {
            if let Some(score) = scores.get_mut(id as usize) {
                *score = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_forced_at_its_length_alone() {
        const OUT: f32 = f32::NEG_INFINITY;
        let at = |processor: &mut Forced, history: &[u32]| {
            let mut scores = [3.0, OUT, 1.0];
            processor.process(history, &mut scores);
            scores
        };
        let mut bos = Forced::bos(1);
        assert_eq!(at(&mut bos, &[2]), [OUT, 0.0, OUT]);
        assert_eq!(at(&mut bos, &[2, 2]), [3.0, OUT, 1.0]);
        let mut eos = Forced::eos(4, vec![0, 2]);
        assert_eq!(at(&mut eos, &[2, 2, 2]), [0.0, OUT, 0.0]);
        assert_eq!(at(&mut eos, &[2, 2]), [3.0, OUT, 1.0]);
        assert_eq!(at(&mut Forced::eos(0, vec![0]), &[]), [3.0, OUT, 1.0]);
    }
}
