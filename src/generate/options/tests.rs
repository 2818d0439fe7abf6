use super::*;
use crate::error::Error;

fn refused(change: impl FnOnce(&mut GenerateOptions)) -> Error {
    let mut options = GenerateOptions::default();
    change(&mut options);
    options.validate(100).unwrap_err()
}

fn read(json: &str) -> Result<GenerateOptions, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_valid() {
    GenerateOptions::default().validate(100).unwrap();
}

#[test]
fn what_is_out_of_range_is_refused_by_name_value_and_range() {
    let list = |ids: &[u32]| ids.to_vec();
    let entropy = |min, max, exponent| {
        let schedule = TemperatureSchedule::Entropy { min, max, exponent };
        refused(move |o| o.temperature_schedule = Some(schedule))
    };
    let linear = |to, tokens| {
        let schedule = TemperatureSchedule::Linear { to, tokens };
        refused(move |o| o.temperature_schedule = Some(schedule))
    };
    let by_entropy = |min, max| Some(ByEntropy { min, max });
    let mirostat = |tau, eta| Some(MirostatOptions { tau, eta });
    let text = |text: &str| TokenSequence::Text(text.into());
    let looping = |max_period, repeats| {
        Some(LoopOptions {
            max_period,
            repeats,
        })
    };
    let token = |text: &str| TokenName::Text(text.into());
    for (name, value, error) in [
        ("temperature", "-0.1", refused(|o| o.temperature = -0.1)),
        ("temperature", "NaN", refused(|o| o.temperature = f32::NAN)),
        ("temperatureSchedule.to", "0.0", linear(0.0, 5)),
        ("temperatureSchedule.tokens", "0", linear(0.5, 0)),
        ("temperatureSchedule.min", "0.0", entropy(0.0, 1.0, 1.0)),
        ("temperatureSchedule.max", "0.4", entropy(0.5, 0.4, 1.0)),
        (
            "temperatureSchedule.exponent",
            "-1.0",
            entropy(0.5, 1.0, -1.0),
        ),
        ("topH", "0.0", refused(|o| o.top_h = Some(0.0))),
        ("topP", "0.0", refused(|o| o.top_p = 0.0)),
        ("topP", "1.1", refused(|o| o.top_p = 1.1)),
        (
            "adaptiveTopK",
            "0.0",
            refused(|o| o.adaptive_top_k = by_entropy(0.0, 9.0)),
        ),
        (
            "adaptiveTopP",
            "1.5",
            refused(|o| o.adaptive_top_p = by_entropy(0.5, 1.5)),
        ),
        ("minP", "-1.0", refused(|o| o.min_p = -1.0)),
        ("typicalP", "0.0", refused(|o| o.typical_p = 0.0)),
        ("epsilonCutoff", "1.0", refused(|o| o.epsilon_cutoff = 1.0)),
        ("etaCutoff", "-1.0", refused(|o| o.eta_cutoff = -1.0)),
        (
            "mirostat.tau",
            "0.0",
            refused(|o| o.mirostat = mirostat(0.0, 0.1)),
        ),
        (
            "mirostat.eta",
            "2.0",
            refused(|o| o.mirostat = mirostat(5.0, 2.0)),
        ),
        (
            "repetitionPenalty",
            "0.0",
            refused(|o| o.repetition_penalty = 0.0),
        ),
        (
            "frequencyPenalty",
            "inf",
            refused(|o| o.frequency_penalty = f32::INFINITY),
        ),
        (
            "presencePenalty",
            "NaN",
            refused(|o| o.presence_penalty = f32::NAN),
        ),
        (
            "badWords[1]",
            "[]",
            refused(|o| {
                o.bad_words = vec![text("a"), TokenSequence::Ids(vec![])];
            }),
        ),
        (
            "badWords[0]",
            "100",
            refused(|o| o.bad_words = vec![TokenSequence::Ids(vec![100])]),
        ),
        (
            "sequenceBias[0]",
            "NaN",
            refused(|o| o.sequence_bias = vec![(text("a"), f32::NAN)]),
        ),
        (
            "logitBias",
            "100",
            refused(|o| o.logit_bias = vec![(TokenName::Id(100), Bias::RuleOut)]),
        ),
        (
            "logitBias",
            "inf",
            refused(|o| {
                o.logit_bias = vec![(token("a"), Bias::Add(f32::INFINITY))];
            }),
        ),
        (
            "suppressTokens",
            "100",
            refused(|o| o.suppress_tokens = list(&[1, 100])),
        ),
        (
            "beginSuppressTokens",
            "100",
            refused(|o| o.begin_suppress_tokens = list(&[100])),
        ),
        (
            "forcedBosTokenId",
            "100",
            refused(|o| o.forced_bos_token_id = Some(100)),
        ),
        (
            "forcedEosTokenId",
            "100",
            refused(|o| o.forced_eos_token_id = list(&[100])),
        ),
        (
            "exponentialDecayLengthPenalty[1]",
            "0.0",
            refused(|o| {
                o.exponential_decay_length_penalty = Some((3, 0.0));
            }),
        ),
        (
            "guidanceScale",
            "NaN",
            refused(|o| o.guidance_scale = f32::NAN),
        ),
        (
            "negativePrompt",
            "100",
            refused(|o| {
                o.negative_prompt = Some(TokenSequence::Ids(vec![100]));
            }),
        ),
        ("stop", "\"\"", refused(|o| o.stop = vec![String::new()])),
        (
            "stop",
            "5000 bytes",
            refused(|o| o.stop = vec!["x".repeat(5000)]),
        ),
        (
            "stop",
            "65 strings",
            refused(|o| o.stop = vec!["x".into(); 65]),
        ),
        (
            "eosTokenIds",
            "100",
            refused(|o| o.eos_token_ids = Some(vec![5, 100])),
        ),
        (
            "stopTokenIds",
            "100",
            refused(|o| o.stop_token_ids = list(&[100])),
        ),
        ("maxTimeMs", "-1.0", refused(|o| o.max_time_ms = Some(-1.0))),
        (
            "stopBelowProbability",
            "1.5",
            refused(|o| o.stop_below_probability = 1.5),
        ),
        (
            "stopAboveEntropy",
            "-1.0",
            refused(|o| o.stop_above_entropy = Some(-1.0)),
        ),
        (
            "stopOnLoop.maxPeriod",
            "0",
            refused(|o| o.stop_on_loop = looping(0, 4)),
        ),
        (
            "stopOnLoop.repeats",
            "1",
            refused(|o| o.stop_on_loop = looping(8, 1)),
        ),
        ("logprobs", "101", refused(|o| o.logprobs = Some(101))),
        (
            "promptLookupNumTokens",
            "33",
            refused(|o| o.prompt_lookup_num_tokens = 33),
        ),
    ] {
        assert_eq!(error.code(), "invalid-option");
        let details = error.details();
        assert_eq!(details["option"], name, "{error}");
        let told = details["value"].as_str().unwrap();
        assert!(told.contains(value), "{name}: {told}");
        assert!(!details["range"].as_str().unwrap().is_empty());
    }
}

#[test]
fn what_may_be_one_or_many_is_read_as_many() {
    assert_eq!(read(r#"{"stop":"a"}"#).unwrap().stop, ["a"]);
    assert_eq!(read(r#"{"stop":["a","b"]}"#).unwrap().stop, ["a", "b"]);
    assert_eq!(
        read(r#"{"forcedEosTokenId":7}"#)
            .unwrap()
            .forced_eos_token_id,
        [7]
    );
    assert_eq!(
        read(r#"{"forcedEosTokenId":[7,8]}"#)
            .unwrap()
            .forced_eos_token_id,
        [7, 8]
    );
    assert!(
        read(r#"{"stop":3}"#)
            .unwrap_err()
            .contains("a string or a list of strings")
    );
    assert!(
        read(r#"{"forcedEosTokenId":"x"}"#)
            .unwrap_err()
            .contains("a token id or a list")
    );
    assert!(read(r#"{"forcedEosTokenId":-1}"#).is_err());
}

#[test]
fn biases_are_an_object_or_pairs_and_mean_the_same() {
    let by_name = read(r#"{"logitBias":{"11":-2.5," the":false}}"#)
        .unwrap()
        .logit_bias;
    let pairs = read(r#"{"logitBias":[[11,-2.5],[" the",false]]}"#)
        .unwrap()
        .logit_bias;
    assert_eq!(by_name, pairs);
    assert_eq!(pairs[1], (TokenName::Text(" the".into()), Bias::RuleOut));
    // Only in a pair can digits be a text.
    let digits = read(r#"{"logitBias":[["11",1]]}"#).unwrap().logit_bias;
    assert_eq!(digits, [(TokenName::Text("11".into()), Bias::Add(1.0))]);
    assert!(
        read(r#"{"logitBias":{"11":true}}"#)
            .unwrap_err()
            .contains("a number or false")
    );
}

#[test]
fn every_kind_of_value_survives_json() {
    let options = read(
        r#"{"temperatureSchedule":{"type":"entropy","min":0.5,"max":1.5},
            "adaptiveTopP":{"min":0.5,"max":0.95},"mirostat":{"tau":3},
            "badWords":["cat",[5,6]],"sequenceBias":[["dog",-1.5]],"logitBias":{"3":false},
            "exponentialDecayLengthPenalty":[5,1.25],"negativePrompt":[1,2],
            "stopAt":"sentence","stopOnLoop":{},"contextPolicy":"keep-prefix","logprobs":3,
            "ablateHeads":[{"layer":1,"head":2},{"layer":1,"head":3,"mean":[0.5]}],
            "captureAttention":{"layers":[0]}}"#,
    )
    .unwrap();
    assert_eq!(
        options.mirostat,
        Some(MirostatOptions { tau: 3.0, eta: 0.1 })
    );
    assert_eq!(options.context_policy, ContextPolicy::KeepPrefix);
    let again = read(&serde_json::to_string(&options).unwrap()).unwrap();
    assert_eq!(again, options);
    assert!(read(r#"{"topKK":1}"#).is_err());
    assert!(read(r#"{"stopAt":"word"}"#).is_err());
}
