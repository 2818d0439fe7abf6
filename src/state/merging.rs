//! Making one state of several.
//!
//! The merge is on tokens, three-way from the youngest common ancestor; without
//! one, from the common beginning of the texts. The result is a new state whose
//! first revision has the heads of all as parents, so that none of their history
//! is lost. Of its KV cache, all up to the first token that differs from a known
//! text is known already.

use super::merge_maps::{merge_maps, merge_tags};
use super::merge_tokens::{MergeRequest, MergeStrategy, merge_tokens};
use super::resolution::{OnConflict, Resolution, TextResolution};
use super::revision::{Attributes, MAX_PARENTS, Operation, Revision, RevisionId};
use super::revisions::Node;
use super::states::States;
use crate::error::{Error, Result};
use crate::generate::rng::RngState;
use crate::model::Config;
use crate::model::forward::check_tokens;
use crate::tokenizer::Tokenizer;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A merge as it is asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MergeCommand {
    /// Ids of the states, two or more.
    pub states: Vec<String>,
    #[serde(default)]
    pub strategy: MergeStrategy,
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// Resolutions by step and index in the step.
    #[serde(default)]
    pub resolutions: Vec<(usize, usize, TextResolution)>,
    /// For `best`: mean log-probability of each side, in nats a token.
    #[serde(default)]
    pub scores: Vec<Option<f64>>,
    pub name: Option<String>,
    pub tags: Option<Vec<String>>,
    pub persist: Option<bool>,
}

impl States {
    /// How many tokens the states begin with alike: where their own text begins.
    pub fn common_len(&self, ids: &[String]) -> Result<usize> {
        let mut common = usize::MAX;
        let first = &self.get(ids.first().map_or("", String::as_str))?.tokens;
        for id in ids {
            let tokens = self.get(id)?.tokens.iter().zip(first.iter());
            common = common.min(tokens.take_while(|(a, b)| a == b).count());
        }
        Ok(common)
    }

    /// Merges; the id of the new state.
    ///
    /// Errors: `merge-conflict`, `invalid-argument`, `state-not-found`,
    /// `context-overflow` over the model's context, `invalid-token`, those of the
    /// tokenizer for texts among the resolutions.
    pub fn merge(
        &mut self,
        command: MergeCommand,
        model: &Config,
        tokenizer: Option<&Tokenizer>,
        now: u64,
    ) -> Result<String> {
        let ids = &command.states;
        if !(2..=MAX_PARENTS).contains(&ids.len()) {
            let reason = format!("must be 2 to {MAX_PARENTS}");
            return Err(Error::argument("states", reason));
        }
        let mut heads = Vec::new();
        let mut sides = Vec::new();
        for id in ids {
            let state = self.get(id)?;
            heads.push(state.record.head.clone());
            sides.push(state.tokens.clone());
        }
        let sides: Vec<&[u32]> = sides.iter().map(|tokens| &tokens[..]).collect();
        let ancestor = self.ancestor(&heads);
        let base = match &ancestor {
            Some(id) => self.revisions.tokens(id)?,
            None => sides[0][..self.common_len(ids)?].to_vec(),
        };
        let mut resolutions = BTreeMap::new();
        for (step, index, resolution) in command.resolutions {
            resolutions.insert((step, index), encode(resolution, tokenizer)?);
        }
        let scores = command.scores.iter();
        let scores: Vec<f64> = scores.map(|score| score.unwrap_or(f64::NAN)).collect();
        let request = MergeRequest {
            base: &base,
            sides: &sides,
            strategy: command.strategy,
            on_conflict: command.on_conflict,
            resolutions: &resolutions,
            scores: &scores,
            tokenizer,
        };
        let (tokens, chosen, conflicts) = match merge_tokens(&request) {
            Ok(merged) => (merged.tokens, merged.chosen, None),
            Err(conflicts) => (Vec::new(), None, Some(conflicts)),
        };
        let attributes = self.merge_attributes(
            &ancestor,
            &heads,
            chosen,
            command.on_conflict,
            (command.name, command.tags),
        )?;
        let (attributes, keys) = match attributes {
            Ok(attributes) => (attributes, Vec::new()),
            Err(keys) => (Attributes::default(), keys),
        };
        if conflicts.is_some() || !keys.is_empty() {
            let texts = match &conflicts {
                Some(conflicts) => serde_json::to_value(conflicts.with_text(&request)?),
                None => Ok(serde_json::json!([])),
            };
            return Err(Error::MergeConflict {
                conflicts: texts.map_err(|error| Error::Internal(error.to_string()))?,
                step: conflicts.map_or(0, |conflicts| conflicts.step),
                keys,
            });
        }
        // Several sides' tags and metadata may be too many together.
        attributes.validate(model.vocab_size)?;
        check_tokens(&tokens, model.vocab_size)?;
        if tokens.len() > model.n_positions {
            return Err(Error::ContextOverflow {
                needed: tokens.len(),
                available: model.n_positions,
            });
        }
        // A side that was chosen whole goes on as it would have.
        let rng = match chosen {
            Some(side) => self.revisions.node(&heads[side])?.revision.rng,
            None => RngState {
                seed: attributes.seed(),
                position: 0,
            },
        };
        let parent = sides[0];
        let common = parent.iter().zip(&tokens).take_while(|(a, b)| a == b);
        let keep = common.count();
        let strategy = match serde_json::to_value(command.strategy) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        };
        let mut seen = Vec::new();
        heads.retain(|id| {
            let is_new = !seen.contains(id);
            seen.push(id.clone());
            is_new
        });
        let revision = Revision {
            parents: heads,
            operation: Operation::Merge { strategy },
            keep: keep as u32,
            appended: tokens[keep..].to_vec(),
            attributes: Some(attributes),
            rng,
            model: self.model().clone(),
            created: now,
            duration_ms: 0,
        };
        let mut all_persist = true;
        for id in ids {
            all_persist &= self.get(id)?.persist;
        }
        let kv = self.get(&ids[0])?.record.kv.clone();
        let head = self.revisions.insert(revision, false)?;
        let persist = command.persist.unwrap_or(all_persist);
        self.add_state(head, None, kv, persist, now)
    }

    /// The attributes of a merge, or the keys in conflict.
    fn merge_attributes(
        &self,
        ancestor: &Option<RevisionId>,
        heads: &[RevisionId],
        chosen: Option<usize>,
        on_conflict: OnConflict,
        (name, tags): (Option<String>, Option<Vec<String>>),
    ) -> Result<Result<Attributes, Vec<String>>> {
        let nothing = Attributes::default();
        let base: Option<&Node> = match ancestor {
            Some(id) => Some(self.revisions.node(id)?),
            None => None,
        };
        let base = base.map_or(&nothing, |node| &node.attributes);
        let nodes: Result<Vec<&Node>> = heads.iter().map(|id| self.revisions.node(id)).collect();
        let sides: Vec<&Attributes> = nodes?.iter().map(|node| &*node.attributes).collect();
        // The seed is no setting that could be lost: it is the chosen side's.
        let seed = sides[chosen.unwrap_or(0)].seed();
        let without_seed = |attributes: &Attributes| {
            let mut config = attributes.config.clone();
            config.remove("seed");
            config
        };
        let configs: Vec<_> = sides.iter().map(|side| without_seed(side)).collect();
        let configs: Vec<_> = configs.iter().collect();
        let config = merge_maps(&without_seed(base), &configs, chosen, on_conflict);
        let metadata: Vec<_> = sides.iter().map(|side| &side.metadata).collect();
        let metadata = merge_maps(&base.metadata, &metadata, chosen, on_conflict);
        let (mut config, metadata) = match (config, metadata) {
            (Ok(config), Ok(metadata)) => (config, metadata),
            (config, metadata) => {
                let mut keys = Vec::new();
                for (part, keys_of) in [("config", config.err()), ("metadata", metadata.err())] {
                    let of = keys_of.unwrap_or_default().into_iter();
                    keys.extend(of.map(|key| format!("{part}.{key}")));
                }
                return Ok(Err(keys));
            }
        };
        config.insert("seed".into(), seed.into());
        let tags = match tags {
            Some(tags) => tags,
            None => {
                let sides: Vec<&[String]> = sides.iter().map(|side| &side.tags[..]).collect();
                merge_tags(&base.tags, &sides)
            }
        };
        let name = name.or_else(|| sides[chosen.unwrap_or(0)].name.clone());
        Ok(Ok(Attributes {
            name,
            tags,
            metadata,
            config,
        }))
    }
}

fn encode(resolution: TextResolution, tokenizer: Option<&Tokenizer>) -> Result<Resolution> {
    resolution.encode(tokenizer, false)
}
