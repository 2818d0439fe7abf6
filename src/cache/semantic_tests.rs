//! The index against the definition of its answers.

use super::*;
use proptest::prelude::*;

fn key(n: u8) -> [u8; 32] {
    [n; 32]
}

#[test]
fn a_score_of_just_the_threshold_is_a_match() {
    let mut index = SemanticIndex::new(0.0);
    // The nearer one is refused, so the answer tells whether the other matches.
    index.insert(key(1), "f", "a 7", vec![1.0, 0.0]);
    index.insert(key(2), "f", "a 8", vec![3.0, 4.0]);
    let similar = |index: &SemanticIndex| index.similar("f", "a 8", vec![5.0, 0.0]).unwrap();
    let score = similar(&index).score;
    assert!((score - 0.6).abs() < 1e-6);
    index.set_threshold(score);
    assert_eq!((similar(&index).key, similar(&index).guard), (key(2), None));
    index.set_threshold(score.next_up());
    assert_eq!(similar(&index).key, key(1));
    assert!(similar(&index).guard.is_some());
}

#[test]
fn what_a_guard_refuses_is_passed_over_for_the_next() {
    let mut index = SemanticIndex::new(0.5);
    let similar = |index: &SemanticIndex| {
        let found = index.similar("f", "what is 7 times 8?", vec![1.0, 0.0]);
        found.map(|found| (found.key, found.guard))
    };
    assert_eq!(similar(&index), None);
    let refused = Some((key(1), Some("numbers differ: 8 / 9".to_owned())));
    index.insert(key(1), "f", "What is 7 times 9?", vec![1.0, 0.0]);
    index.insert(key(2), "f", "What is 7 times 6?", vec![1.0, 0.5]);
    assert_eq!(similar(&index), refused);
    // It agrees, but is too far.
    index.insert(key(3), "f", "What is 7 times 8", vec![0.0, 1.0]);
    assert_eq!(similar(&index), refused);
    index.insert(key(4), "f", "What's 7 times 8?", vec![1.0, 1.0]);
    assert_eq!(similar(&index), Some((key(4), None)));
    // Answers of another model or with other options are not compared.
    assert_eq!(
        index.similar("g", "what is 7 times 8?", vec![1.0, 0.0]),
        None
    );
}

#[test]
fn what_cannot_be_compared_is_neither_kept_nor_found() {
    let mut index = SemanticIndex::new(-1.0);
    index.insert(key(1), "f", "a", vec![1.0, 2.0]);
    let long = "a".repeat(MAX_PROMPT_BYTES + 1);
    for (prompt, vector) in [
        ("a", vec![]),
        ("a", vec![0.0; 2]),
        ("a", vec![f32::NAN, 1.0]),
        ("a", vec![1.0, f32::INFINITY]),
        ("a", vec![1.0; MAX_LENGTH + 1]),
        (&long, vec![1.0; 2]),
    ] {
        assert_eq!(index.similar("f", prompt, vector.clone()), None);
        index.insert(key(2), "f", prompt, vector);
        assert_eq!(index.len(), 1);
    }
    assert_eq!(index.similar("f", "a", vec![1.0; 3]), None);
    index.insert(key(2), "f", &long[1..], vec![f32::MAX; MAX_LENGTH]);
    let found = index.similar("f", &long[1..], vec![f32::MIN_POSITIVE; MAX_LENGTH]);
    assert!((found.unwrap().score - 1.0).abs() < 1e-6);
    // Nor is the one that it was to replace.
    index.insert(key(1), "f", "a", vec![f32::NAN; 2]);
    assert_eq!(index.similar("f", "a", vec![1.0, 2.0]), None);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, u8, [i8; 3]),
    Remove(u8),
    Clear,
    Similar(u8, [i8; 3]),
}

fn step() -> impl Strategy<Value = Step> {
    let vector = || prop::array::uniform3(-3i8..4);
    prop_oneof![
        6 => (0..9u8, 0..2u8, vector()).prop_map(|(key, family, v)| Step::Insert(key, family, v)),
        2 => (0..9u8).prop_map(Step::Remove),
        1 => Just(Step::Clear),
        6 => (0..2u8, vector()).prop_map(|(family, v)| Step::Similar(family, v)),
    ]
}

fn cosine(a: &[i8; 3], b: &[i8; 3]) -> f64 {
    let dot = |a: &[i8; 3], b: &[i8; 3]| {
        let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        products.sum::<f64>()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

proptest! {
    #[test]
    fn it_answers_as_a_list_that_is_searched_whole(steps in prop::collection::vec(step(), 1..40)) {
        let mut index = SemanticIndex::new(0.25);
        let mut list: Vec<(u8, u8, [i8; 3])> = Vec::new();
        let floats = |v: [i8; 3]| v.map(f32::from).to_vec();
        for step in steps {
            match step {
                Step::Insert(k, family, v) => {
                    index.insert(key(k), &family.to_string(), "p", floats(v));
                    list.retain(|entry| entry.0 != k);
                    if v != [0; 3] {
                        list.push((k, family, v));
                    }
                }
                Step::Remove(k) => {
                    index.remove(&key(k));
                    list.retain(|entry| entry.0 != k);
                }
                Step::Clear => {
                    index.clear();
                    list.clear();
                }
                Step::Similar(family, v) => {
                    let of_family = list.iter().filter(|entry| entry.1 == family && v != [0; 3]);
                    let best = of_family.map(|entry| cosine(&v, &entry.2)).reduce(f64::max);
                    let found = index.similar(&family.to_string(), "p", floats(v));
                    prop_assert_eq!(found.is_some(), best.is_some());
                    if let (Some(found), Some(best)) = (found, best) {
                        prop_assert!((f64::from(found.score) - best).abs() < 1e-6);
                    }
                }
            }
            prop_assert_eq!(index.len(), list.len());
        }
    }
}
