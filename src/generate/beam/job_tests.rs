//! Beam searches as jobs of the scheduler, over the model that counts.

use super::*;
use crate::generate::beam::{BeamNodeState, EarlyStopping};
use crate::generate::constraint::ConstraintSpec;
use crate::generate::generation::Matched;
use crate::generate::scheduler::tests::{EOS, N_POSITIONS, scheduler};
use crate::generate::{Event, Scheduler};

fn beams(num_beams: usize) -> BeamOptions {
    BeamOptions {
        num_beams,
        num_return_sequences: num_beams,
        ..BeamOptions::default()
    }
}

fn tokens(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_tokens,
        ..GenerateOptions::default()
    }
}

fn drain(scheduler: &mut Scheduler) -> (Vec<BeamStep>, BeamResult) {
    let mut steps = Vec::new();
    while scheduler.is_busy() {
        for (_, event) in scheduler.step() {
            match event {
                Event::BeamStep(step) => steps.push(step),
                Event::BeamDone(result) => return (steps, *result),
                other => panic!("{other:?}"),
            }
        }
    }
    panic!("no result")
}

fn search(
    prompt: &str,
    options: &BeamOptions,
    generation: &GenerateOptions,
) -> (Vec<BeamStep>, BeamResult) {
    let mut scheduler = scheduler();
    scheduler
        .add_beam_search(Input::Text(prompt.into()), None, options, generation)
        .unwrap();
    drain(&mut scheduler)
}

#[test]
fn the_likeliest_text_comes_first() {
    let (steps, result) = search("A", &beams(3), &tokens(4));
    let best = &result.sequences[0];
    assert_eq!(
        (best.text.as_str(), &best.tokens[..]),
        ("BCDE", &[66, 67, 68, 69][..])
    );
    assert_eq!(best.text_tokens, best.tokens);
    assert_eq!(best.finish_reason, FinishReason::Length);
    assert_eq!(
        (result.sequences.len(), result.steps, steps.len()),
        (3, 4, 4)
    );
    assert_eq!(result.prompt_tokens, [65]);
    assert_eq!(result.usage.completion_tokens, 12);
    let along: String = {
        let mut at = best.node;
        let mut text = Vec::new();
        let nodes: Vec<_> = steps.iter().flat_map(|step| &step.nodes).collect();
        while let Some(node) = nodes.iter().find(|node| node.id == at) {
            text.insert(0, node.text.clone());
            at = node.parent;
        }
        text.concat()
    };
    assert_eq!(along, "BCDE");
}

#[test]
fn one_beam_is_the_greedy_text_and_a_sampled_one_that_of_a_generation() {
    let (_, result) = search("A", &beams(1), &tokens(5));
    assert_eq!(result.sequences[0].text, "BCDEF");
    let sampled = BeamOptions {
        do_sample: true,
        ..beams(1)
    };
    for seed in 0..5 {
        let generation = GenerateOptions {
            seed: Some(seed),
            temperature: 8.0,
            top_k: 0,
            ..tokens(12)
        };
        let (_, result) = search("A", &sampled, &generation);
        let mut scheduler = scheduler();
        scheduler
            .add_generation(Input::Text("A".into()), &generation)
            .unwrap();
        let mut expected = Vec::new();
        while scheduler.is_busy() {
            for (_, event) in scheduler.step() {
                if let Event::Done(result) = event {
                    expected = result.tokens;
                }
            }
        }
        assert_eq!(result.sequences[0].tokens, expected, "seed {seed}");
        assert_eq!(result.seed, seed);
    }
}

#[test]
fn a_beam_that_completes_a_stop_string_has_ended_there() {
    let generation = GenerateOptions {
        stop: vec!["DE".into()],
        ..tokens(20)
    };
    let options = BeamOptions {
        early_stopping: EarlyStopping::AtOnce,
        ..beams(2)
    };
    let (_, result) = search("A", &options, &generation);
    let best = &result.sequences[0];
    assert_eq!(best.text, "BC");
    assert_eq!(best.tokens, [66, 67, 68, 69]);
    assert_eq!(best.text_tokens, [66, 67]);
    assert_eq!(best.finish_reason, FinishReason::Stop);
    assert_eq!(best.matched, Some(Matched::Text("DE".into())));
    let kept = GenerateOptions {
        include_stop: true,
        ..generation
    };
    let (_, result) = search("A", &options, &kept);
    assert_eq!(result.sequences[0].text, "BCDE");
}

#[test]
fn the_end_of_text_token_ends_a_beam_and_is_no_text() {
    let generation = GenerateOptions {
        eos_token_ids: Some(vec![67]),
        ..tokens(9)
    };
    let (steps, result) = search("A", &beams(2), &generation);
    let best = &result.sequences[0];
    assert_eq!((best.text.as_str(), &best.tokens[..]), ("B", &[66, 67][..]));
    assert_eq!(best.text_tokens, [66]);
    assert_eq!(best.finish_reason, FinishReason::Eos);
    let end = steps
        .iter()
        .flat_map(|step| &step.nodes)
        .find(|node| node.id == best.node);
    assert_eq!(end.map(|node| node.text.as_str()), Some(""));
}

#[test]
fn a_stop_token_ends_a_beam() {
    let generation = GenerateOptions {
        stop_token_ids: vec![68],
        ..tokens(9)
    };
    let (_, result) = search("A", &beams(2), &generation);
    let best = &result.sequences[0];
    assert_eq!(
        (best.text.as_str(), &best.tokens[..]),
        ("BC", &[66, 67, 68][..])
    );
    assert_eq!(best.finish_reason, FinishReason::StopToken);
    assert_eq!(best.matched, Some(Matched::Number(68.0)));
    let kept = GenerateOptions {
        include_stop: true,
        ..generation
    };
    assert_eq!(search("A", &beams(2), &kept).1.sequences[0].text, "BCD");
}

#[test]
fn a_search_ends_when_its_time_is_over_with_what_there_is() {
    let clock = {
        use std::cell::Cell;
        thread_local!(static NOW: Cell<f64> = const { Cell::new(0.0) });
        || NOW.replace(NOW.get() + 1.0)
    };
    let model = scheduler().shared_model();
    let mut scheduler = Scheduler::new(model, None, clock);
    let generation = GenerateOptions {
        max_time_ms: Some(20.0),
        ..tokens(90)
    };
    scheduler
        .add_beam_search(Input::Tokens(vec![65]), None, &beams(2), &generation)
        .unwrap();
    let (_, result) = drain(&mut scheduler);
    assert!((2..20).contains(&result.steps), "{}", result.steps);
    for sequence in &result.sequences {
        assert_eq!(sequence.finish_reason, FinishReason::Time);
        assert_eq!(sequence.tokens.len(), result.steps as usize);
    }
}

#[test]
fn the_last_position_ends_every_beam() {
    let (_, result) = search(&"A".repeat(N_POSITIONS - 2), &beams(2), &tokens(50));
    for sequence in &result.sequences {
        assert_eq!(sequence.tokens.len(), 3);
        assert_eq!(sequence.finish_reason, FinishReason::Context);
    }
}

#[test]
fn an_abort_gives_the_open_beams() {
    for steps in 0..5 {
        for groups in [1, 2] {
            let mut scheduler = scheduler();
            let options = BeamOptions {
                num_beam_groups: groups,
                diversity_penalty: if groups > 1 { 1.0 } else { 0.0 },
                ..beams(4)
            };
            let prompt = Input::Text("A".repeat(PREFILL_CHUNK + 1));
            let id = scheduler
                .add_beam_search(prompt, None, &options, &tokens(20))
                .unwrap();
            for _ in 0..steps {
                scheduler.step();
            }
            scheduler.cancel(id);
            let (told, result) = drain(&mut scheduler);
            let made = usize::saturating_sub(steps, 1);
            assert_eq!(result.steps as usize, made);
            assert_eq!(result.sequences.is_empty(), made == 0);
            for sequence in &result.sequences {
                assert_eq!(sequence.finish_reason, FinishReason::Aborted);
                assert_eq!(sequence.tokens.len(), made);
            }
            let ended: Vec<u32> = told.iter().flat_map(|step| step.finished.clone()).collect();
            assert_eq!(ended.len(), result.sequences.len());
        }
    }
}

#[test]
fn the_sequences_found_are_known_to_texts_that_go_on_from_them() {
    let mut scheduler = scheduler();
    let prompt = "A".repeat(40);
    scheduler
        .add_beam_search(Input::Text(prompt.clone()), None, &beams(3), &tokens(30))
        .unwrap();
    let (_, result) = drain(&mut scheduler);
    for sequence in &result.sequences {
        let text = [&result.prompt_tokens[..], &sequence.tokens].concat();
        scheduler
            .add_generation(Input::Tokens(text), &tokens(1))
            .unwrap();
        let mut evaluated = None;
        while scheduler.is_busy() {
            for (_, event) in scheduler.step() {
                if let Event::Done(result) = event {
                    evaluated = Some(result.usage.tokens_evaluated);
                }
            }
        }
        assert_eq!(evaluated, Some(1));
    }
    // And the prompt to another search.
    scheduler
        .add_beam_search(Input::Text(prompt), None, &beams(2), &tokens(3))
        .unwrap();
    assert_eq!(drain(&mut scheduler).1.usage.tokens_evaluated, 1);
}

#[test]
fn beams_and_generations_at_once_give_what_each_gives_alone() {
    let (_, alone) = search("A", &beams(3), &tokens(10));
    let mut scheduler = scheduler();
    scheduler
        .add_beam_search(Input::Text("A".into()), None, &beams(3), &tokens(10))
        .unwrap();
    let other = GenerateOptions {
        temperature: 0.0,
        ..tokens(20)
    };
    scheduler
        .add_generation(Input::Text("a".into()), &other)
        .unwrap();
    let (mut text, mut together) = (String::new(), None);
    while scheduler.is_busy() {
        for (_, event) in scheduler.step() {
            match event {
                Event::BeamDone(result) => together = Some(*result),
                Event::Done(result) => text = result.text,
                _ => {}
            }
        }
    }
    let mut together = together.unwrap();
    together.seed = alone.seed;
    assert_eq!(together, alone);
    assert_eq!(text, "bcdefghijklmnopqrstu");
}

#[test]
fn beams_go_on_only_with_what_is_allowed() {
    let mut scheduler = scheduler();
    let words = ["Xab", "Xcd", "Y"];
    let id = scheduler
        .add_beam_search(Input::Text("A".into()), None, &beams(3), &tokens(9))
        .unwrap();
    let allowed = move |output: &[u32]| {
        let text: String = output.iter().filter_map(|&id| char::from_u32(id)).collect();
        let next = words.iter().filter_map(|word| word.strip_prefix(&text[..]));
        let next = next.map(|rest| rest.bytes().next().map_or(EOS, u32::from));
        Some(next.collect())
    };
    scheduler.allow(id, Allowed::By(Box::new(allowed)));
    let (_, result) = drain(&mut scheduler);
    let mut texts: Vec<&str> = result.sequences.iter().map(|s| &s.text[..]).collect();
    texts.sort_unstable();
    assert_eq!(texts, words);
    assert!(
        result
            .sequences
            .iter()
            .all(|s| s.finish_reason == FinishReason::Eos)
    );
}

#[test]
fn beams_can_be_told_step_by_step_what_is_allowed() {
    let mut scheduler = scheduler();
    let id = scheduler
        .add_beam_search(Input::Text("A".into()), None, &beams(2), &tokens(3))
        .unwrap();
    let told = |nodes: &[NodeId]| {
        let list = |&node: &NodeId| (node, Some(vec![100, 101]));
        Allowed::Told(nodes.iter().map(list).collect())
    };
    scheduler.allow(id, told(&[0]));
    let mut sequences = None;
    while sequences.is_none() {
        for (_, event) in scheduler.step() {
            match event {
                Event::BeamStep(step) => {
                    let open = step
                        .nodes
                        .iter()
                        .filter(|n| n.state == BeamNodeState::Running);
                    let open: Vec<NodeId> = open.map(|node| node.id).collect();
                    scheduler.allow(id, told(&open));
                }
                Event::BeamDone(result) => sequences = Some(result.sequences),
                other => panic!("{other:?}"),
            }
        }
    }
    let sequences = sequences.unwrap();
    assert_eq!(sequences.len(), 2);
    for sequence in sequences {
        assert!(
            sequence
                .tokens
                .iter()
                .all(|token| [100, 101].contains(token))
        );
    }
}

#[test]
fn groups_write_different_texts() {
    let options = BeamOptions {
        num_beam_groups: 2,
        diversity_penalty: 100.0,
        ..beams(2)
    };
    let (_, result) = search("A", &options, &tokens(3));
    let firsts: Vec<u32> = result.sequences.iter().map(|s| s.tokens[0]).collect();
    assert_ne!(firsts[0], firsts[1]);
    let groups: Vec<u32> = result.sequences.iter().map(|s| s.group).collect();
    assert_eq!(groups, [0, 1]);
}

#[test]
fn stop_strings_need_a_tokenizer() {
    let generation = GenerateOptions {
        stop: vec!["x".into()],
        ..tokens(3)
    };
    let scheduler = scheduler();
    let prompt = Input::Tokens(vec![65]);
    let request = BeamRequest {
        prompt,
        options: &beams(2),
        generation: &generation,
        rng: None,
    };
    let constraints = RecentConstraints::default();
    let begun = BeamSearch::new(scheduler.model(), None, request, &constraints, 0.0);
    assert_eq!(begun.err().map(|error| error.code()), Some("no-tokenizer"));
}

#[test]
fn a_beam_ends_where_a_constraint_lets_nothing_follow() {
    let choices = ["Xab", "Xcd", "Y"];
    let generation = GenerateOptions {
        constraint: Some(ConstraintSpec::Choices(choices.map(String::from).into())),
        ..tokens(9)
    };
    let (_, result) = search("A", &beams(3), &generation);
    let mut texts: Vec<&str> = result.sequences.iter().map(|s| &s.text[..]).collect();
    texts.sort_unstable();
    assert_eq!(texts, choices);
    for sequence in &result.sequences {
        assert_eq!(sequence.finish_reason, FinishReason::Complete);
        assert_eq!(sequence.text_tokens, sequence.tokens);
    }
}
