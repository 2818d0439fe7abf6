//! The golden checks, natively.

use cacher_golden::{CHECKS, Fixtures};
use std::path::Path;

/// `tests/fixtures`, with the demo's model where the page has it.
fn on_disk(path: &str) -> Option<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = match path {
        "tiny-gpt2/model.q8_0.gguf" => root.join("www/models").join(path),
        _ => root.join("tests/fixtures").join(path),
    };
    std::fs::read(file).ok()
}

fn run(name: &str) {
    let check = CHECKS
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("no check named {name}"));
    (check.run)(&Fixtures::new(on_disk)).assert();
}

#[test]
fn processors_agree_with_transformers() {
    run("processors");
}

#[test]
fn stop_strings_end_where_transformers_ends() {
    run("stop-strings");
}

#[test]
fn the_forward_pass_agrees_with_transformers() {
    run("forward");
}

#[test]
fn analyses_of_attention_and_layers_are_those_of_transformers() {
    run("analysis-attention");
}

#[test]
fn analyses_of_tokens_are_those_of_transformers() {
    run("analysis-tokens");
}

#[test]
fn greedy_texts_are_those_of_transformers() {
    run("greedy");
}

#[test]
fn sampling_draws_from_the_scores_of_transformers() {
    run("warped");
}

#[test]
fn beams_are_those_of_transformers() {
    run("beam");
}

#[test]
fn groups_of_beams_are_those_of_transformers() {
    run("groups");
}

#[test]
fn texts_past_the_context_are_those_of_computing_them_anew() {
    run("window");
}

#[test]
fn guided_texts_are_those_of_the_formula() {
    run("guidance");
}

#[test]
fn tiny_gpt2_gives_the_numbers_of_transformers() {
    run("tiny-gpt2");
}

#[test]
fn text_becomes_the_ids_and_offsets_of_hugging_face() {
    run("tokenizer-encode");
}

#[test]
fn ids_become_the_text_of_hugging_face_token_by_token() {
    run("tokenizer-decode");
}

#[test]
fn every_form_of_a_kernel_gives_the_same_bits() {
    run("kernels");
}

#[test]
fn the_engine_gives_the_same_bits_however_it_is_run() {
    run("engine");
}
