//! Options of beams: what is refused, and by which name.

use super::*;
use crate::generate::options::{CaptureAttention, LoopOptions, MirostatOptions, StopAt};

type Change = fn(&mut BeamOptions, &mut GenerateOptions);

#[test]
fn defaults_are_valid() {
    let beams = BeamOptions::default();
    beams.validate(&GenerateOptions::default(), 100).unwrap();
}

#[test]
fn what_may_not_be_is_refused_by_name() {
    let cases: [(&str, Change); 23] = [
        ("numBeams", |b, _| b.num_beams = 0),
        ("numBeams", |b, _| b.num_beams = MAX_BEAMS + 1),
        ("numReturnSequences", |b, _| b.num_return_sequences = 0),
        ("numReturnSequences", |b, _| b.num_return_sequences = 5),
        ("lengthPenalty", |b, _| b.length_penalty = f64::NAN),
        ("numBeamGroups", |b, _| b.num_beam_groups = 0),
        ("numBeamGroups", |b, _| b.num_beam_groups = 3),
        ("diversityPenalty", |b, _| b.num_beam_groups = 2),
        ("diversityPenalty", |b, _| b.diversity_penalty = 0.5),
        ("diversityPenalty", |b, _| {
            (b.num_beam_groups, b.diversity_penalty) = (2, f32::INFINITY);
        }),
        ("doSample", |b, _| {
            (b.num_beam_groups, b.diversity_penalty, b.do_sample) = (2, 0.5, true);
        }),
        ("padTokenId", |b, _| b.pad_token_id = Some(100)),
        ("temperature", |b, o| {
            (b.do_sample, o.temperature) = (true, 0.0);
        }),
        ("maxTokens", |_, o| o.max_tokens = 0),
        ("guidanceScale", |_, o| o.guidance_scale = 1.5),
        ("promptLookupNumTokens", |_, o| {
            o.prompt_lookup_num_tokens = 2
        }),
        ("stopBelowProbability", |_, o| {
            o.stop_below_probability = 0.1
        }),
        ("mirostat", |_, o| {
            o.mirostat = Some(MirostatOptions::default())
        }),
        ("stopAt", |_, o| o.stop_at = Some(StopAt::Line)),
        ("stopOnLoop", |_, o| {
            o.stop_on_loop = Some(LoopOptions::default())
        }),
        ("logprobs", |_, o| o.logprobs = Some(2)),
        ("captureAttention", |_, o| {
            o.capture_attention = Some(CaptureAttention::default());
        }),
        ("contextPolicy", |_, o| {
            o.context_policy = ContextPolicy::TruncateStart
        }),
    ];
    for (name, change) in cases {
        let mut beams = BeamOptions::default();
        let mut generation = GenerateOptions::default();
        change(&mut beams, &mut generation);
        match beams.validate(&generation, 100) {
            Err(Error::InvalidOption { option, range, .. }) => {
                assert_eq!(option, name);
                assert!(!range.is_empty());
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn early_stopping_has_three_forms() {
    for (json, form) in [
        ("true", EarlyStopping::AtOnce),
        ("false", EarlyStopping::Likely),
        ("\"never\"", EarlyStopping::Never),
    ] {
        let options: BeamOptions =
            serde_json::from_str(&format!("{{\"earlyStopping\":{json}}}")).unwrap();
        assert_eq!(options.early_stopping, form);
        assert_eq!(serde_json::to_string(&form).unwrap(), json);
    }
    for json in ["\"always\"", "1", "null"] {
        serde_json::from_str::<EarlyStopping>(json).unwrap_err();
    }
}
