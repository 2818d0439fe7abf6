//! The random numbers of sampling: ChaCha8, by name, seeded in one stated way.
//!
//! One seed must give one text in every browser, natively, and after the next
//! update of a dependency. `rand`'s `StdRng` and `SmallRng` promise none of
//! that (and `SmallRng` is another algorithm on wasm's 32 bits), so the
//! algorithm, the key and the way from words to fractions are all fixed here:
//!
//! - key: the seed's 8 bytes, little-endian, then 24 zero bytes; nonce 0;
//! - draw `i`: words `2i` (low) and `2i + 1` (high) of the key stream;
//! - fraction: the draw's upper 53 bits times 2^-53.
//!
//! Any ChaCha8 (D. J. Bernstein, "ChaCha, a variant of Salsa20", 2008; 64-bit
//! counter) can thus replay a generation. ChaCha needs no well-mixed key, so
//! seeds 0 and 1 are as unrelated as any two.

use crate::error::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// A stream of random numbers that can be saved and taken up again anywhere.
///
/// ```
/// use cacher_wasm::generate::rng::Rng;
///
/// let mut rng = Rng::new(42);
/// rng.next_f64();
/// let mut later = Rng::from(rng.state());
/// assert_eq!(rng.next_f64(), later.next_f64());
/// ```
#[derive(Debug, Clone)]
pub struct Rng {
    seed: u64,
    stream: ChaCha8Rng,
}

/// All there is to save of an [`Rng`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RngState {
    pub seed: u64,
    /// Numbers drawn so far.
    pub position: u64,
}

impl Rng {
    /// The stream of `seed`, from its beginning.
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            seed,
            stream: ChaCha8Rng::from_seed(key),
        }
    }

    /// Numbers drawn so far.
    pub fn position(&self) -> u64 {
        (self.stream.get_word_pos() / WORDS_PER_DRAW) as u64
    }

    /// What [`Rng::from`] needs to go on where this one stands.
    pub fn state(&self) -> RngState {
        RngState {
            seed: self.seed,
            position: self.position(),
        }
    }

    /// A number from 0 up to but not including 1, a multiple of 2^-53.
    pub fn next_f64(&mut self) -> f64 {
        const TWO_POW_MINUS_53: f64 = 1.0 / (1u64 << 53) as f64;
        (self.stream.next_u64() >> 11) as f64 * TWO_POW_MINUS_53
    }
}

const WORDS_PER_DRAW: u128 = 2;

impl From<RngState> for Rng {
    fn from(state: RngState) -> Self {
        let mut rng = Self::new(state.seed);
        rng.stream
            .set_word_pos(u128::from(state.position) * WORDS_PER_DRAW);
        rng
    }
}

/// A seed from the system's randomness, for a request that names none.
///
/// It is below 2^53, so that JavaScript can show it, store it and pass it
/// back as a plain number.
///
/// # Errors
///
/// [`Error::Internal`] where the system has no randomness to give.
pub fn fresh_seed() -> Result<u64> {
    match getrandom::u64() {
        Ok(bits) => Ok(bits >> 11),
        Err(error) => Err(Error::Internal(format!("no random seed: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From an independent ChaCha8 (Python, written from the paper). A change
    /// of these is a change of every seeded text: never adjust them.
    #[test]
    fn draws_are_the_published_key_stream() {
        let known: [(u64, [u64; 4]); 4] = [
            (
                0,
                [
                    0xd640_5f89_2fef_003e,
                    0xa1a5_091f_e8b8_5b7f,
                    0x3b7f_9ace_c30e_842c,
                    0x1e1a_71ef_88e1_1b18,
                ],
            ),
            (
                1,
                [
                    0x61a9_4a49_a0e9_5ecf,
                    0x4b80_5b72_edd5_053e,
                    0xcc5a_63ee_65a4_f412,
                    0xea89_0474_e81d_313a,
                ],
            ),
            (
                42,
                [
                    0x5927_3471_198f_a887,
                    0x4923_8aa4_169d_f72b,
                    0x7e54_361f_64fc_90f6,
                    0x5e2e_306a_96ce_f6e2,
                ],
            ),
            (
                u64::MAX,
                [
                    0xb44e_8639_2271_48c7,
                    0x3b9a_5b01_a091_a9bc,
                    0xa694_22e6_0122_f008,
                    0x6a98_da83_4682_e4fc,
                ],
            ),
        ];
        for (seed, draws) in known {
            let mut rng = Rng::new(seed);
            let got: [u64; 4] = std::array::from_fn(|_| rng.stream.next_u64());
            assert_eq!(got, draws, "seed {seed}");
        }
        let mut rng = Rng::from(RngState {
            seed: 42,
            position: 1_000_000,
        });
        assert_eq!(rng.stream.next_u64(), 0xe22d_6d60_31ed_4f6d);
    }

    #[test]
    fn fractions_are_the_upper_53_bits() {
        assert_eq!(
            Rng::new(42).next_f64(),
            3136797389566453.0 / 9_007_199_254_740_992.0
        );
        let mut rng = Rng::new(7);
        let sum: f64 = (0..100_000)
            .map(|_| rng.next_f64())
            .inspect(|x| assert!((0.0..1.0).contains(x)))
            .sum();
        assert!((sum / 1e5 - 0.5).abs() < 0.005, "{sum}");
    }

    #[test]
    fn a_saved_stream_goes_on_where_it_stood() {
        let mut rng = Rng::new(3);
        // Past several of the generator's internal buffers of 32 draws.
        for position in 0..150 {
            assert_eq!(rng.position(), position);
            let json = serde_json::to_string(&rng.state()).unwrap();
            let mut restored = Rng::from(serde_json::from_str::<RngState>(&json).unwrap());
            assert_eq!(restored.position(), position);
            let next = rng.next_f64();
            assert_eq!(restored.next_f64(), next);
            assert_eq!(restored.state(), rng.state());
        }
    }

    #[test]
    fn fresh_seeds_are_exact_in_javascript_and_differ() {
        let (a, b) = (fresh_seed().unwrap(), fresh_seed().unwrap());
        assert!(a < 1 << 53 && b < 1 << 53);
        assert_ne!(a, b);
    }
}
