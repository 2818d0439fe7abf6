//! Heads that are taken out, and attention that is captured, in a model that is
//! really run.

use crate::analysis::testing::run;
use crate::analysis::{AnalysisResult, ArrayData};
use crate::engine::forward::tests::engine;
use crate::generate::beam::BeamOptions;
use crate::generate::options::{CaptureAttention, HeadAblation};
use crate::generate::{Event, GenerateOptions, Input, Scheduler};
use crate::model::Dtype;
use std::rc::Rc;

fn scheduler() -> Scheduler {
    Scheduler::new(Rc::new(engine(Dtype::Q8)), None, || 0.0)
}

fn prompt() -> Vec<u32> {
    (0..40).map(|i| (i * i * 31 + i * 7 + 13) % 101).collect()
}

fn greedy() -> GenerateOptions {
    GenerateOptions {
        max_tokens: 20,
        temperature: 0.0,
        eos_token_ids: Some(Vec::new()),
        ..GenerateOptions::default()
    }
}

/// The tokens that are written.
fn write(scheduler: &mut Scheduler, options: &GenerateOptions) -> Vec<u32> {
    let prompt = Input::Tokens(prompt());
    let job = scheduler.add_generation(prompt, options).unwrap();
    loop {
        for (id, event) in scheduler.step() {
            match event {
                Event::Done(result) if id == job => return result.tokens,
                Event::Done(_) | Event::Chunk(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn without_heads() -> GenerateOptions {
    let head = |layer, head| HeadAblation {
        layer,
        head,
        mean: None,
    };
    GenerateOptions {
        ablate_heads: vec![head(0, 0), head(0, 1), head(0, 2), head(1, 1)],
        ..greedy()
    }
}

#[test]
fn a_text_without_heads_leaves_no_trace_in_texts_with_them() {
    let plain = write(&mut scheduler(), &greedy());
    let without = write(&mut scheduler(), &without_heads());
    assert_ne!(plain, without);
    let mut both = scheduler();
    for _ in 0..2 {
        assert_eq!(write(&mut both, &without_heads()), without);
        assert_eq!(write(&mut both, &greedy()), plain);
    }
    // Each found its own blocks the second time.
    assert_eq!(both.blocks().metrics().hits, 2 * 39);
}

#[test]
fn heads_that_the_model_does_not_have_are_refused_by_name() {
    for (layer, head, mean, option) in [
        (3, 0, None, "ablateHeads[0].layer"),
        (0, 3, None, "ablateHeads[0].head"),
        (0, 0, Some(vec![1.0]), "ablateHeads[0].mean"),
    ] {
        let options = GenerateOptions {
            ablate_heads: vec![HeadAblation { layer, head, mean }],
            ..greedy()
        };
        let added = scheduler().add_generation(Input::Tokens(prompt()), &options);
        assert_eq!(added.unwrap_err().details()["option"], option);
    }
}

fn weights(result: &AnalysisResult) -> &[f32] {
    match &result.array("weights").unwrap().data {
        ArrayData::F32(data) => data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_captured_is_taken_later_and_has_the_bits_of_a_prefill() {
    for drafts in [0, 4] {
        let options = GenerateOptions {
            prompt_lookup_num_tokens: drafts,
            capture_attention: Some(CaptureAttention {
                layers: Some(vec![2, 1]),
                heads: Some(vec![0, 2]),
            }),
            ..greedy()
        };
        let mut scheduler = scheduler();
        let written = write(&mut scheduler, &options);
        assert_eq!(written, write(&mut self::scheduler(), &greedy()));
        let text = [prompt(), written].concat();

        let check = |scheduler: &mut Scheduler, request: &str, evaluated: usize| {
            let found = run(scheduler, request, &[&text]).unwrap();
            let fresh = run(&mut self::scheduler(), request, &[&text]).unwrap();
            assert_eq!(weights(&found), weights(&fresh), "{request}");
            assert_eq!(found.value["tokensEvaluated"], evaluated, "{request}");
        };
        // The last token is never run.
        let request = r#"{"kind":"attention","layers":[1],"heads":[0,2],"queries":{"end":-1}}"#;
        check(&mut scheduler, request, 0);
        let request = r#"{"kind":"attention","layers":[1,2],"heads":[2]}"#;
        check(&mut scheduler, request, 1);
        let request = r#"{"kind":"attention","layers":[0],"queries":{"start":-3}}"#;
        check(&mut scheduler, request, 3);
        let request = r#"{"kind":"attention","heads":[1],"queries":{"start":-4,"end":-2}}"#;
        check(&mut scheduler, request, 2);
        assert!(scheduler.blocks().captured().metrics().rows >= 59);
    }
}

#[test]
fn other_jobs_of_the_same_steps_do_not_notice_a_capture() {
    let options = GenerateOptions {
        capture_attention: Some(CaptureAttention::default()),
        ..greedy()
    };
    let mut scheduler = scheduler();
    let others = Input::Tokens(vec![5, 6, 7]);
    scheduler.add_generation(others.clone(), &greedy()).unwrap();
    write(&mut scheduler, &options);
    assert_eq!(scheduler.blocks().captured().metrics().rows, 59);
    let guided = GenerateOptions {
        guidance_scale: 1.5,
        ..options.clone()
    };
    let uncached = GenerateOptions {
        cache_prompt: false,
        ..options
    };
    for options in [guided, uncached] {
        let error = scheduler.add_generation(others.clone(), &options);
        assert_eq!(error.unwrap_err().details()["option"], "captureAttention");
    }
}

#[test]
fn beams_do_without_heads_too() {
    let beams = |scheduler: &mut Scheduler, options: &GenerateOptions| {
        let prompt = Input::Tokens(prompt());
        let beams = BeamOptions {
            num_beams: 3,
            ..BeamOptions::default()
        };
        let job = scheduler.add_beam_search(prompt, None, &beams, options);
        let job = job.unwrap();
        loop {
            for (id, event) in scheduler.step() {
                match event {
                    Event::BeamDone(result) if id == job => return result.sequences,
                    Event::BeamStep(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    };
    let plain = beams(&mut scheduler(), &greedy());
    let without = beams(&mut scheduler(), &without_heads());
    assert_ne!(plain, without);
    let mut both = scheduler();
    assert_eq!(beams(&mut both, &greedy()), plain);
    assert_eq!(beams(&mut both, &without_heads()), without);
    assert_eq!(beams(&mut both, &greedy()), plain);
}
