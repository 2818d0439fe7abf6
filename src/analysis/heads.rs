//! What each attention head does: where it looks, and (in [`importance`]) how
//! much the model needs it.

pub mod importance;
pub mod scores;

use super::selection::{AttentionSource, chosen};
use super::{Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Setting, Subject};
use crate::error::Result;
use crate::generate::generation::check_text;
use scores::{HeadScores, Measure, Scoring};
use serde::Deserialize;
use serde_json::json;

/// Options of [`Heads`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct HeadsRequest {
    /// Default: all.
    pub layers: Option<Vec<usize>>,
    /// Default: all.
    pub heads: Option<Vec<usize>>,
    /// How attention is compared with a pattern. Default: `"mul"`.
    pub measure: Measure,
    /// Leave attention to the first token out of the comparison. Default: false.
    pub exclude_bos: bool,
    /// Leave a token's attention to itself out of it. Default: false.
    pub exclude_current_token: bool,
}

/// Scores of heads over a text: f64 arrays `[layers, heads]`, named `entropy`
/// (nats), `meanDistance` (tokens), `firstTokenMass`, `previousToken`,
/// `duplicateToken` and `induction`; and of the last three the heads from the
/// highest score on, as `{layer, head, score}`. See [`scores`].
pub struct Heads {
    source: AttentionSource,
    scoring: Scoring,
    /// `[layers][heads]`
    scores: Vec<Vec<HeadScores>>,
}

/// How many heads a ranking tells.
const RANKED: usize = 20;

impl Heads {
    /// Errors: `invalid-option`, `invalid-token`, `context-overflow`.
    pub fn new(request: HeadsRequest, setting: &Setting, subject: Subject) -> Result<Self> {
        let config = setting.model.config();
        check_text(&subject.tokens, setting.model)?;
        let layers = chosen("layers", request.layers.as_deref(), config.n_layer)?;
        let heads = chosen("heads", request.heads.as_deref(), config.n_head)?;
        let len = subject.tokens.len();
        Ok(Self {
            scores: vec![vec![HeadScores::default(); heads.len()]; layers.len()],
            source: AttentionSource::new(setting.model, subject, layers, heads, 0..len)?,
            scoring: Scoring {
                measure: request.measure,
                exclude_bos: request.exclude_bos,
                exclude_current_token: request.exclude_current_token,
            },
        })
    }
}

impl Analysis for Heads {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        let Some(chunk) = self.source.step(bench)? else {
            return Ok(());
        };
        for (layer, scores) in self.scores.iter_mut().enumerate() {
            for (&head, scores) in self.source.heads.iter().zip(scores) {
                for query in chunk.queries() {
                    let row = chunk.row(layer, head, query);
                    scores.add(self.scoring, self.source.tokens(), row);
                }
            }
        }
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        AnalysisProgress::new(self.source.position(), self.source.queries.end)
    }

    fn is_finished(&self) -> bool {
        self.source.is_finished()
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        let (layers, heads) = (&self.source.layers, &self.source.heads);
        let all: Vec<_> = self.scores.iter().flatten().collect();
        let column = |of: &dyn Fn(&HeadScores) -> f64| -> Vec<f64> {
            all.iter().map(|scores| of(scores)).collect()
        };
        let scoring = self.scoring;
        let [previous, duplicate, induction] =
            [0, 1, 2].map(|pattern| column(&|scores| scores.pattern(scoring, pattern)));
        let ranked = |scores: &[f64]| -> Vec<_> {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            order.truncate(RANKED);
            let head = |at: usize| {
                json!({
                    "layer": layers[at / heads.len()],
                    "head": heads[at % heads.len()],
                    "score": scores[at],
                })
            };
            order.into_iter().map(head).collect()
        };
        let result = AnalysisResult::new(json!({
            "layers": layers,
            "heads": heads,
            "measure": scoring.measure,
            "excludeBos": scoring.exclude_bos,
            "excludeCurrentToken": scoring.exclude_current_token,
            "tokens": self.source.tokens().len(),
            "tokensEvaluated": self.source.evaluated(),
            "ranking": {
                "previousToken": ranked(&previous),
                "duplicateToken": ranked(&duplicate),
                "induction": ranked(&induction),
            },
        }))?;
        let shape = [layers.len(), heads.len()];
        Ok([
            ("entropy", column(&HeadScores::entropy)),
            ("meanDistance", column(&HeadScores::mean_distance)),
            ("firstTokenMass", column(&HeadScores::first_token_mass)),
            ("previousToken", previous),
            ("duplicateToken", duplicate),
            ("induction", induction),
        ]
        .into_iter()
        .fold(result, |result, (name, data)| {
            result.with(name, &shape, ArrayData::F64(data))
        }))
    }
}

#[cfg(test)]
#[path = "heads_tests.rs"]
mod tests;
