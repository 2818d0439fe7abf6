//! The semantic lookup does what its documentation says, on the half of the
//! pairs that nothing was chosen by.

use cacher_semantic::{Pairs, Tally, embed, scheduler};
use cacher_wasm::cache::semantic::{DEFAULT_THRESHOLD, SemanticIndex};

fn key(n: usize) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&n.to_le_bytes());
    key
}

#[test]
fn of_all_entries_the_right_one_is_found_or_none() {
    let pairs = Pairs::read().report;
    let mut scheduler = scheduler();
    let mut index = SemanticIndex::new(DEFAULT_THRESHOLD);
    let mut vectors = Vec::new();
    for (n, pair) in pairs.iter().enumerate() {
        let vector = embed(&mut scheduler, &pair.a);
        vectors.push(vector.clone());
        index.insert(key(n), "family", &pair.a, vector);
    }
    let (mut guarded, mut unguarded) = (Tally::default(), Tally::default());
    for (n, pair) in pairs.iter().enumerate() {
        let vector = embed(&mut scheduler, &pair.b);
        let score: f32 = vector.iter().zip(&vectors[n]).map(|(a, b)| a * b).sum();
        unguarded.count(pair.same, score >= DEFAULT_THRESHOLD);
        let found = index.similar("family", &pair.b, vector);
        let accepted = found.filter(|f| f.score >= DEFAULT_THRESHOLD && f.guard.is_none());
        let right = accepted.as_ref().is_none_or(|found| found.key == key(n));
        guarded.count(pair.same && right, accepted.is_some());
    }
    println!("with guards {guarded:?}, without {unguarded:?}");
    assert!(guarded.precision() >= 0.99, "{guarded:?}");
    assert!(guarded.recall() >= 0.48, "{guarded:?}");
    assert!(unguarded.precision() < 0.5, "{unguarded:?}");
}
