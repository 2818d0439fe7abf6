//! How two states differ, as it is handed to JavaScript.

use super::changes::Change;
use super::diff::DiffHunk;
use serde::Serialize;

/// How two states differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
#[cfg_attr(target_arch = "wasm32", tsify(missing_as_null))]
pub struct StateDiff {
    pub a: DiffSide,
    pub b: DiffSide,
    /// The youngest revision that both come from.
    pub ancestor: Option<Ancestor>,
    /// Length of the common beginning.
    pub shared_tokens: u32,
    /// From 0 (nothing in common) to 1: twice the equal tokens over all.
    pub similarity: f64,
    pub hunks: Vec<DiffHunk>,
    pub config: Vec<Change>,
    pub metadata: Vec<Change>,
    /// What the model expected in either; only where it was asked for.
    pub distributions: Option<Distributions>,
}

/// What was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct DiffSide {
    pub state: String,
    pub revision: String,
    /// How many it has.
    pub tokens: u32,
}

/// A revision that two states come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct Ancestor {
    pub revision: String,
    /// How many it has.
    pub tokens: u32,
}

/// What the model expected in two texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct Distributions {
    /// One for each token that both have after the first difference.
    pub positions: Vec<PositionDivergence>,
    /// What comes after the last token of either.
    pub next: NextDivergence,
}

/// What was expected in the place of a token that both texts have.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct PositionDivergence {
    /// The token's index in `a`,
    pub a: u32,
    /// and in `b`.
    pub b: u32,
    /// KL(a || b), in nats.
    pub kl: f64,
    /// The token's rank in each; 1 is the likeliest.
    pub rank_a: u32,
    pub rank_b: u32,
}

/// What is expected next.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct NextDivergence {
    /// KL(a || b), in nats.
    pub kl: f64,
    /// The likeliest tokens of either.
    pub top: Vec<NextToken>,
}

/// A token that may come next.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct NextToken {
    pub token: u32,
    pub text: String,
    /// Its probability in each.
    pub a: f64,
    pub b: f64,
}
