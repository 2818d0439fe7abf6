//! The golden checks: what Hugging Face transformers computed, against what
//! this library computes.
//!
//! They are a library, not test functions, so that the very same assertions
//! run natively (`tests/native.rs`) and, compiled to wasm, in a browser
//! (`tests/browser`). A check names the fixtures it needs, because a page has
//! to fetch them first.

mod analysis_attention;
mod analysis_tokens;
mod beam;
mod engine;
pub mod fixtures;
mod forward;
mod generation;
mod kernels;
mod naive;
mod processors;
pub mod report;
mod stop_strings;
mod tiny;
pub mod tokenizer;
#[cfg(target_arch = "wasm32")]
mod wasm;

pub use fixtures::Fixtures;
pub use report::Report;

/// A named check and the fixture files it reads.
pub struct Check {
    pub name: &'static str,
    pub files: &'static [&'static str],
    pub run: fn(&Fixtures) -> Report,
}

/// Every check there is.
pub const CHECKS: &[Check] = &[
    Check {
        name: "forward",
        files: forward::FILES,
        run: forward::check,
    },
    Check {
        name: "analysis-attention",
        files: analysis_attention::FILES,
        run: analysis_attention::check,
    },
    Check {
        name: "analysis-tokens",
        files: analysis_tokens::FILES,
        run: analysis_tokens::check,
    },
    Check {
        name: "kernels",
        files: &[],
        run: kernels::check,
    },
    Check {
        name: "engine",
        files: engine::FILES,
        run: engine::check,
    },
    Check {
        name: "greedy",
        files: generation::GREEDY_FILES,
        run: generation::greedy,
    },
    Check {
        name: "warped",
        files: generation::WARPED_FILES,
        run: generation::warped,
    },
    Check {
        name: "beam",
        files: beam::BEAM_FILES,
        run: beam::beam,
    },
    Check {
        name: "groups",
        files: beam::GROUPS_FILES,
        run: beam::groups,
    },
    Check {
        name: "window",
        files: naive::FILES,
        run: naive::window,
    },
    Check {
        name: "guidance",
        files: naive::FILES,
        run: naive::guidance,
    },
    Check {
        name: "tiny-gpt2",
        files: tiny::FILES,
        run: tiny::check,
    },
    Check {
        name: "processors",
        files: &["processors.json"],
        run: processors::run,
    },
    Check {
        name: "stop-strings",
        files: &[
            "mini-a/tokenizer.json",
            "mini-a/greedy.json",
            "mini-b/tokenizer.json",
            "mini-b/greedy.json",
        ],
        run: stop_strings::run,
    },
    Check {
        name: "tokenizer-encode",
        files: tokenizer::ENCODE_FILES,
        run: tokenizer::encode,
    },
    Check {
        name: "tokenizer-decode",
        files: tokenizer::DECODE_FILES,
        run: tokenizer::decode,
    },
];
