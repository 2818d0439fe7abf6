//! States as callers see them: plain data, made anew for each answer.

use super::changes::{Change, JsonMap, changes};
use super::revision::{Operation, RevisionId};
use super::states::{Origin, State, States};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use serde::{Serialize, Serializer};
use std::collections::{HashMap, HashSet};

/// Characters of a preview.
const PREVIEW_CHARS: usize = 80;
/// Tokens that are decoded for it.
const PREVIEW_TOKENS: usize = 96;

/// A seed in JSON: a number where JavaScript's numbers hold it exactly, else a
/// string of its digits.
fn seed_in_json<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    if *seed < 1 << 53 {
        serializer.serialize_u64(*seed)
    } else {
        serializer.collect_str(seed)
    }
}

/// Where random numbers stand.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct RngInfo {
    #[serde(serialize_with = "seed_in_json")]
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number | bigint"))]
    pub seed: u64,
    /// Numbers drawn so far.
    pub position: f64,
}

/// Which model a text was made with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct StateModel {
    /// SHA-256 of the weights file, hexadecimal.
    pub sha256: String,
    pub dtype: String,
}

/// A name for a revision.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename = "Checkpoint")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct CheckpointInfo {
    pub name: String,
    pub revision: String,
    /// Milliseconds since 1970.
    pub created: f64,
}

/// Where a fork came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct ForkOrigin {
    pub state: String,
    pub revision: String,
}

/// A state as it stands: plain data.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
#[cfg_attr(target_arch = "wasm32", tsify(missing_as_null))]
pub struct StateInfo {
    pub id: String,
    pub name: Option<String>,
    pub tags: Vec<String>,
    #[cfg_attr(target_arch = "wasm32", tsify(type = "Record<string, JsonValue>"))]
    pub metadata: JsonMap,
    /// What was set of the options; `seed` always.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "Partial<GenerateOptions>"))]
    pub config: JsonMap,
    pub rng: RngInfo,
    /// Id of the revision it stands at.
    pub revision: String,
    /// How many revisions its history has, along its longest line.
    pub revisions: u32,
    /// How many tokens its text has.
    pub tokens: u32,
    /// The first 80 characters of the text.
    pub preview: String,
    pub model: StateModel,
    pub checkpoints: Vec<CheckpointInfo>,
    pub forked_from: Option<ForkOrigin>,
    /// Milliseconds since 1970, as the next two.
    pub created: f64,
    pub updated: f64,
    pub used: f64,
    /// Exempt from clean-up and from eviction.
    pub pinned: bool,
    /// Meant to be kept in IndexedDB.
    pub persist: bool,
    /// All of it is in storage.
    pub saved: bool,
    /// Of the call that returned this: tokens of the text before it (of what was
    /// added or merged: of the text after it) that the model was run for. 0: all
    /// were in the KV cache.
    pub tokens_evaluated: u32,
}

/// A revision in a state's history.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
#[cfg_attr(target_arch = "wasm32", tsify(missing_as_null))]
pub struct HistoryEntry {
    pub revision: String,
    pub parents: Vec<String>,
    #[cfg_attr(target_arch = "wasm32", tsify(type = "StateOperation"))]
    pub operation: &'static str,
    /// Milliseconds since 1970, and how long the operation took.
    pub created: f64,
    pub duration_ms: u32,
    pub tokens_added: u32,
    pub tokens_removed: u32,
    /// Tokens of the text after it.
    pub tokens: u32,
    /// The text that was added; of a rollback none.
    pub added: String,
    /// Of the config: `a` is the value before, `b` after.
    pub config_changes: Vec<Change>,
    #[serde(serialize_with = "seed_in_json")]
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number | bigint"))]
    pub seed: u64,
    /// Of a generation.
    pub finish_reason: Option<crate::generate::FinishReason>,
    /// Of a merge.
    pub strategy: Option<String>,
    /// Of a rollback: where to.
    pub target: Option<String>,
    /// Names that the state has for it.
    pub checkpoints: Vec<String>,
}

/// A revision in a graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct GraphNode {
    pub revision: String,
    #[cfg_attr(target_arch = "wasm32", tsify(type = "StateOperation"))]
    pub operation: &'static str,
    pub created: f64,
    pub tokens: u32,
    pub tokens_added: u32,
    /// The first 80 characters of what was added.
    pub preview: String,
    /// States that stand here, by id.
    pub heads: Vec<String>,
    pub checkpoints: Vec<GraphCheckpoint>,
}

/// A checkpoint in a graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct GraphCheckpoint {
    pub state: String,
    pub name: String,
}

/// From a revision to one made of it. `"rollback"`: from the revision gone back
/// to, to the one that records it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct GraphEdge {
    pub from: String,
    pub to: String,
    #[cfg_attr(
        target_arch = "wasm32",
        tsify(type = "\"next\" | \"merge\" | \"rollback\"")
    )]
    pub kind: &'static str,
}

/// A state in a graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
#[cfg_attr(target_arch = "wasm32", tsify(missing_as_null))]
pub struct GraphState {
    pub id: String,
    pub name: Option<String>,
    pub head: String,
}

/// Everything related, for drawing: parents come before children.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct StateGraph {
    pub nodes: Vec<GraphNode>,
    pub edges: Vec<GraphEdge>,
    pub states: Vec<GraphState>,
}

/// The first characters of the tokens' text.
fn preview(tokens: &[u32], tokenizer: Option<&Tokenizer>) -> String {
    let first = &tokens[..tokens.len().min(PREVIEW_TOKENS)];
    let text = tokenizer.and_then(|tokenizer| tokenizer.decode(first).ok());
    text.unwrap_or_default()
        .chars()
        .take(PREVIEW_CHARS)
        .collect()
}

impl States {
    /// A state as it stands.
    pub fn info(&self, id: &str, tokenizer: Option<&Tokenizer>) -> Result<StateInfo> {
        let state = self.get(id)?;
        let head = self.head(id)?;
        let record = &state.record;
        let mut config = head.attributes.config.clone();
        let seed = serde_json::to_value(SeedInJson(head.attributes.seed())).unwrap_or_default();
        config.insert("seed".into(), seed);
        Ok(StateInfo {
            id: record.id.clone(),
            name: head.attributes.name.clone(),
            tags: head.attributes.tags.clone(),
            metadata: head.attributes.metadata.clone(),
            config,
            rng: RngInfo {
                seed: head.revision.rng.seed,
                position: head.revision.rng.position as f64,
            },
            revision: record.head.to_string(),
            revisions: head.generation + 1,
            tokens: state.tokens.len() as u32,
            preview: preview(&state.tokens, tokenizer),
            model: StateModel {
                sha256: head.revision.model.sha256.clone(),
                dtype: head.revision.model.dtype.clone(),
            },
            checkpoints: checkpoints(state),
            forked_from: record.forked_from.as_ref().map(origin),
            created: record.created as f64,
            updated: record.updated as f64,
            used: record.used as f64,
            pinned: record.pinned,
            persist: state.persist,
            saved: state.persist && !state.dirty,
            tokens_evaluated: 0,
        })
    }

    /// A state's history, newest first.
    pub fn history(&self, id: &str, tokenizer: Option<&Tokenizer>) -> Result<Vec<HistoryEntry>> {
        let state = self.get(id)?;
        let ancestry = self.revisions.ancestry([state.record.head.clone()]);
        let mut names: HashMap<&RevisionId, Vec<String>> = HashMap::new();
        for checkpoint in &state.record.checkpoints {
            let names = names.entry(&checkpoint.revision).or_default();
            names.push(checkpoint.name.clone());
        }
        let order = self.revisions.in_order(&ancestry);
        let newest_first = order.iter().rev();
        newest_first
            .map(|id| {
                let node = self.revisions.node(id)?;
                let revision = &node.revision;
                let parent = revision.parents.first();
                let parent = parent.and_then(|id| self.revisions.get(id));
                let (mut finish_reason, mut strategy, mut target) = (None, None, None);
                match &revision.operation {
                    Operation::Generate { finish_reason: end } => finish_reason = Some(*end),
                    Operation::Merge { strategy: name } => strategy = Some(name.clone()),
                    Operation::Rollback { target: to } => target = Some(to.to_string()),
                    _ => {}
                }
                // Tokens of another model's vocabulary may have no text here.
                let added = match (target.is_none(), tokenizer) {
                    (true, Some(tokenizer)) => {
                        tokenizer.decode(&revision.appended).unwrap_or_default()
                    }
                    _ => String::new(),
                };
                let before = parent.map_or(0, |parent| parent.len);
                let nothing = JsonMap::new();
                let config_before = parent.map_or(&nothing, |parent| &parent.attributes.config);
                Ok(HistoryEntry {
                    revision: id.to_string(),
                    parents: revision.parents.iter().map(ToString::to_string).collect(),
                    operation: revision.operation.name(),
                    created: revision.created as f64,
                    duration_ms: revision.duration_ms,
                    tokens_added: revision.appended.len() as u32,
                    tokens_removed: (before - revision.keep as usize) as u32,
                    tokens: node.len as u32,
                    added,
                    config_changes: changes(config_before, &node.attributes.config),
                    seed: revision.rng.seed,
                    finish_reason,
                    strategy,
                    target,
                    checkpoints: names.remove(id).unwrap_or_default(),
                })
            })
            .collect()
    }

    /// Everything related to a state, or without one, all there is.
    pub fn graph(&self, id: Option<&str>, tokenizer: Option<&Tokenizer>) -> Result<StateGraph> {
        let ids = match id {
            Some(id) => self.related(&self.get(id)?.record.head),
            None => {
                let heads = self.iter().map(|state| state.record.head.clone());
                self.revisions.ancestry(heads)
            }
        };
        let mut heads: HashMap<&RevisionId, Vec<String>> = HashMap::new();
        let mut names: HashMap<&RevisionId, Vec<GraphCheckpoint>> = HashMap::new();
        let mut states = Vec::new();
        let related = |state: &&State| ids.contains(&state.record.head);
        for state in self.iter().filter(related) {
            let record = &state.record;
            states.push(GraphState {
                id: record.id.clone(),
                name: self.revisions.node(&record.head)?.attributes.name.clone(),
                head: record.head.to_string(),
            });
            heads
                .entry(&record.head)
                .or_default()
                .push(record.id.clone());
            for checkpoint in &record.checkpoints {
                names
                    .entry(&checkpoint.revision)
                    .or_default()
                    .push(GraphCheckpoint {
                        state: record.id.clone(),
                        name: checkpoint.name.clone(),
                    });
            }
        }
        let mut nodes = Vec::new();
        let mut edges = Vec::new();
        for id in self.revisions.in_order(&ids) {
            let node = self.revisions.node(&id)?;
            let revision = &node.revision;
            let edge = |from: &RevisionId, kind| GraphEdge {
                from: from.to_string(),
                to: id.to_string(),
                kind,
            };
            let kind = match revision.operation {
                Operation::Merge { .. } => "merge",
                _ => "next",
            };
            edges.extend(revision.parents.iter().map(|parent| edge(parent, kind)));
            if let Operation::Rollback { target } = &revision.operation {
                edges.push(edge(target, "rollback"));
            }
            nodes.push(GraphNode {
                operation: revision.operation.name(),
                created: revision.created as f64,
                tokens: node.len as u32,
                tokens_added: revision.appended.len() as u32,
                preview: preview(&revision.appended, tokenizer),
                heads: heads.remove(&id).unwrap_or_default(),
                checkpoints: names.remove(&id).unwrap_or_default(),
                revision: id.to_string(),
            });
        }
        Ok(StateGraph {
            nodes,
            edges,
            states,
        })
    }

    /// All revisions that are connected with one.
    fn related(&self, id: &RevisionId) -> HashSet<RevisionId> {
        let mut neighbours: HashMap<RevisionId, Vec<RevisionId>> = HashMap::new();
        for (id, _) in self.revisions.iter() {
            for source in self.revisions.sources(id) {
                neighbours
                    .entry(source.clone())
                    .or_default()
                    .push(id.clone());
                neighbours.entry(id.clone()).or_default().push(source);
            }
        }
        let mut seen = HashSet::from([id.clone()]);
        let mut left = vec![id.clone()];
        while let Some(id) = left.pop() {
            for next in neighbours.remove(&id).unwrap_or_default() {
                if seen.insert(next.clone()) {
                    left.push(next);
                }
            }
        }
        seen
    }
}

struct SeedInJson(u64);

impl Serialize for SeedInJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        seed_in_json(&self.0, serializer)
    }
}

/// A state's checkpoints, oldest first.
pub(super) fn checkpoints(state: &State) -> Vec<CheckpointInfo> {
    let checkpoints = state.record.checkpoints.iter();
    checkpoints.map(CheckpointInfo::from).collect()
}

impl From<&super::states::Checkpoint> for CheckpointInfo {
    fn from(checkpoint: &super::states::Checkpoint) -> Self {
        Self {
            name: checkpoint.name.clone(),
            revision: checkpoint.revision.to_string(),
            created: checkpoint.created as f64,
        }
    }
}

fn origin(origin: &Origin) -> ForkOrigin {
    ForkOrigin {
        state: origin.state.clone(),
        revision: origin.revision.to_string(),
    }
}
