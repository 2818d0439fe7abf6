use super::*;
use crate::generate::options::{CaptureAttention, HeadAblation};
use crate::generate::scheduler::tests::{EOS, greedy, scheduler};

fn origin() -> Origin {
    Origin {
        model: "ab".repeat(32),
        dtype: "q8",
        engine: "cacher-wasm/1.0.0/1".into(),
    }
}

fn request(prompt: &str, options: &GenerateOptions) -> Request {
    scheduler()
        .describe_request(Input::Text(prompt.into()), options, None, &origin())
        .unwrap()
}

fn seeded() -> GenerateOptions {
    GenerateOptions {
        seed: Some(7),
        ..GenerateOptions::default()
    }
}

/// What an option's change does to the request.
fn changes(base: &GenerateOptions, change: impl Fn(&mut GenerateOptions)) -> bool {
    let mut changed = base.clone();
    change(&mut changed);
    request("A", base).request != request("A", &changed).request
}

#[test]
fn what_decides_the_answer_is_in_it() {
    let base = seeded();
    assert!(changes(&base, |o| o.max_tokens = 5));
    assert!(changes(&base, |o| o.temperature = 0.5));
    assert!(changes(&base, |o| o.top_k = 5));
    assert!(changes(&base, |o| o.top_p = 0.5));
    assert!(changes(&base, |o| o.min_p = 0.5));
    assert!(changes(&base, |o| o.repetition_penalty = 1.5));
    assert!(changes(&base, |o| o.seed = Some(8)));
    assert!(changes(&base, |o| o.seed = Some(u64::MAX)));
    assert!(changes(&base, |o| o.stop = vec!["B".into()]));
    assert!(changes(&base, |o| o.eos_token_ids = Some(vec![])));
    let head = HeadAblation {
        layer: 0,
        head: 0,
        mean: None,
    };
    assert!(changes(&base, |o| o.ablate_heads = vec![head.clone()]));
    let stopped = GenerateOptions {
        stop: vec!["B".into()],
        ..seeded()
    };
    assert!(changes(&stopped, |o| o.include_stop = true));

    let other = |origin: &Origin| {
        scheduler()
            .describe_request(Input::Text("A".into()), &base, None, origin)
            .unwrap()
            .request
    };
    let here = other(&origin());
    let mut elsewhere = origin();
    elsewhere.dtype = "q4";
    assert_ne!(other(&elsewhere), here);
    elsewhere = origin();
    elsewhere.engine.push('2');
    assert_ne!(other(&elsewhere), here);
    elsewhere = origin();
    elsewhere.model = "cd".repeat(32);
    assert_ne!(other(&elsewhere), here);
}

#[test]
fn what_means_the_same_is_the_same() {
    let base = seeded();
    assert!(!changes(&base, |o| o.cache_prompt = false));
    assert!(!changes(&base, |o| o.prompt_lookup_num_tokens = 8));
    assert!(!changes(&base, |o| {
        o.capture_attention = Some(CaptureAttention::default());
    }));
    assert!(!changes(&base, |o| o.include_stop = true));
    assert!(!changes(&base, |o| o.eos_token_ids = Some(vec![EOS, EOS])));
    // Text without special tokens reads the same either way.
    assert!(!changes(&base, |o| o.parse_special = true));
    let tokens = scheduler()
        .describe_request(Input::Tokens(vec![65]), &base, None, &origin())
        .unwrap();
    assert_eq!(tokens, request("A", &base));
    let ends = |ends: &[u32]| GenerateOptions {
        eos_token_ids: Some(ends.to_vec()),
        ..seeded()
    };
    assert_eq!(request("A", &ends(&[3, 4])), request("A", &ends(&[4, 3])));
}

#[test]
fn greedy_requests_do_not_depend_on_chance() {
    let base = greedy(5);
    assert!(!changes(&base, |o| o.seed = Some(7)));
    assert!(!changes(&base, |o| o.top_k = 3));
    assert!(!changes(&base, |o| o.top_p = 0.3));
    assert!(!changes(&base, |o| o.min_p = 0.3));
    assert!(!changes(&base, |o| o.temperature = -0.0));
    assert!(request("A", &base).reproducible);
    assert!(request("A", &seeded()).reproducible);
    assert!(!request("A", &GenerateOptions::default()).reproducible);
}

#[test]
fn a_state_that_stands_where_a_seed_begins_asks_the_same() {
    let at = |seed, position| {
        let rng = Some(RngState { seed, position });
        let options = GenerateOptions::default();
        scheduler()
            .describe_request(Input::Tokens(vec![65]), &options, rng, &origin())
            .unwrap()
    };
    assert_eq!(at(7, 0), request("A", &seeded()));
    assert!(at(7, 0).reproducible);
    assert_ne!(at(7, 1), at(7, 0));
}

#[test]
fn the_family_has_all_but_the_prompt() {
    let (a, b) = (request("A", &seeded()), request("B", &seeded()));
    assert_eq!((a.prompt.as_str(), b.prompt.as_str()), ("A", "B"));
    assert_eq!(a.family, b.family);
    assert_ne!(a.request, b.request);
    assert_ne!(a.family, request("A", &greedy(5)).family);
}

/// Keys made from this are in people's storage: a change makes all of them misses.
#[test]
fn a_request_is_spelt_as_it_always_was() {
    let options = GenerateOptions {
        temperature: 0.7,
        top_p: 0.9,
        stop: vec!["\n".into()],
        ..seeded()
    };
    let vocabulary = scheduler()
        .tokenizer()
        .unwrap()
        .vocabulary_hash()
        .to_owned();
    assert_eq!(
        request("AB", &options).request,
        json!({
            "kind": "generation",
            "engine": "cacher-wasm/1.0.0/1",
            "model": "ab".repeat(32),
            "dtype": "q8",
            "tokenizer": vocabulary,
            "options": {
                "maxTokens": 128,
                "temperature": 0.7,
                "topK": 50,
                "topP": 0.9,
                "minP": 0.0,
                "repetitionPenalty": 1.0,
                "stop": ["\n"],
                "includeStop": false,
                "eosTokenIds": [EOS],
            },
            "rng": {"seed": "7", "position": "0"},
            "prompt": [65, 66],
        })
    );
}
