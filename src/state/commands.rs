//! Everything that can be asked of states, as commands in JSON with answers in
//! JSON.
//!
//! One entry for all keeps the bindings small and lets native tests drive states
//! just as a page does. What takes the model's time (reading a text, writing
//! one, comparing two) is a job of the scheduler and not here.

use super::clean_up::CleanUpPolicy;
use super::merging::MergeCommand;
use super::record::to_json;
use super::revision::{Attributes, check_name};
use super::states::{State, States};
use super::text::TokenText;
use super::travel::{ForkAt, RollbackTo};
use super::views::{CheckpointInfo, StateInfo, checkpoints};
use crate::error::{Error, Result};
use crate::generate::Input;
use crate::generate::rng::fresh_seed;
use crate::model::{BlockTable, Model};
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// Most forks in one call.
const MAX_FORKS: usize = 1000;

/// What commands need beside the states.
pub struct Context<'c> {
    pub model: &'c dyn Model,
    pub tokenizer: Option<&'c Tokenizer>,
    pub blocks: &'c mut BlockTable,
    /// Milliseconds since 1970.
    pub now: u64,
}

/// A command; each names the API's function that it is for.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    tag = "command",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Command {
    Create {
        text: Option<String>,
        tokens: Option<Vec<u32>>,
        #[serde(default)]
        config: Map<String, Value>,
        name: Option<String>,
        #[serde(default)]
        tags: Vec<String>,
        #[serde(default)]
        metadata: Map<String, Value>,
        #[serde(default = "yes")]
        persist: bool,
    },
    Info {
        id: String,
    },
    List(Query),
    Delete {
        ids: Vec<String>,
    },
    Update {
        id: String,
        config: Option<Map<String, Value>>,
        #[serde(default, deserialize_with = "given")]
        name: Option<Option<String>>,
        tags: Option<Vec<String>>,
        metadata: Option<Map<String, Value>>,
    },
    Append {
        id: String,
        text: Option<String>,
        tokens: Option<Vec<u32>>,
    },
    Fork {
        id: String,
        count: usize,
        at: Option<ForkAt>,
        name: Option<String>,
    },
    Checkpoint {
        id: String,
        name: String,
    },
    Checkpoints {
        id: String,
    },
    Rollback {
        id: String,
        to: RollbackTo,
    },
    Reseed {
        id: String,
        seed: Option<Value>,
    },
    Pin {
        id: String,
        pinned: bool,
    },
    History {
        id: String,
    },
    Graph {
        id: Option<String>,
    },
    Tokens {
        id: String,
        revision: Option<String>,
    },
    Diff {
        a: String,
        b: String,
    },
    Merge(MergeCommand),
    /// Where the states' texts part.
    CommonLength {
        ids: Vec<String>,
    },
    /// Bytes of KV cache that two states share, and each alone.
    KvBytes {
        a: String,
        b: String,
    },
    /// Which states the policy would delete.
    ToCleanUp {
        policy: CleanUpPolicy,
    },
    Usage,
}

/// Which states to list, and how.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Query {
    pub search: Option<String>,
    pub tags: Vec<String>,
    pub pinned: Option<bool>,
    pub model: Option<String>,
    pub sort: Sort,
    pub order: Order,
    pub offset: usize,
    pub limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    #[default]
    Updated,
    Created,
    Used,
    Name,
    Tokens,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    Asc,
    #[default]
    Desc,
}

/// How many states a list has where nothing is said.
const DEFAULT_LIMIT: usize = 100;

#[derive(Serialize)]
struct List {
    items: Vec<StateInfo>,
    total: usize,
}

#[derive(Serialize)]
struct TokenList {
    text: String,
    ids: Vec<u32>,
    /// `[start, end]` of each, flat.
    offsets: Vec<u32>,
}

#[derive(Serialize)]
struct KvBytes {
    shared: usize,
    a: usize,
    b: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    states: usize,
    revisions: usize,
    unsaved: usize,
    kv: crate::model::prefix::PrefixMetrics,
}

fn yes() -> bool {
    true
}

/// Tells `null` from absent.
fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl States {
    /// Runs a command in JSON; the answer in JSON.
    pub fn run(&mut self, command: &str, context: Context) -> Result<String> {
        let command: Command = serde_json::from_str(command)
            .map_err(|error| Error::argument("states", error.to_string()))?;
        let answer = self.answer(command, context)?;
        String::from_utf8(answer).map_err(|error| Error::Internal(error.to_string()))
    }

    fn answer(&mut self, command: Command, context: Context) -> Result<Vec<u8>> {
        let Context {
            model,
            tokenizer,
            blocks,
            now,
        } = context;
        let vocab_size = model.config().vocab_size;
        match command {
            Command::Create {
                text,
                tokens,
                config,
                name,
                tags,
                metadata,
                persist,
            } => {
                let input = input(text, tokens)?;
                let tokens = input.resolve(model, tokenizer, parse_special(&config))?;
                let attributes = Attributes {
                    name,
                    tags,
                    metadata,
                    config: with_seed(config)?,
                };
                attributes.validate(vocab_size)?;
                let id = self.create(tokens, attributes, persist, now)?;
                to_json(&self.info(&id, tokenizer)?)
            }
            Command::Info { id } => {
                self.touch(&id, now)?;
                to_json(&self.info(&id, tokenizer)?)
            }
            Command::List(query) => to_json(&self.list(&query, tokenizer)?),
            Command::Delete { ids } => {
                self.delete(&ids, blocks)?;
                self.pin_blocks(blocks);
                to_json(&())
            }
            Command::Update {
                id,
                config,
                name,
                tags,
                metadata,
            } => {
                let mut attributes = (*self.head(&id)?.attributes).clone();
                let seed = attributes.seed();
                change(&mut attributes.config, config.unwrap_or_default());
                attributes.config = with_seed(attributes.config)?;
                let config = &mut attributes.config;
                config.entry("seed").or_insert_with(|| seed.into());
                change(&mut attributes.metadata, metadata.unwrap_or_default());
                attributes.name = name.unwrap_or(attributes.name);
                attributes.tags = tags.unwrap_or(attributes.tags);
                attributes.validate(vocab_size)?;
                self.update(&id, attributes, now)?;
                to_json(&self.info(&id, tokenizer)?)
            }
            Command::Append { id, text, tokens } => {
                let special = parse_special(&self.head(&id)?.attributes.config);
                let tokens = match input(text, tokens)? {
                    Input::Text(text) => {
                        let tokenizer = tokenizer.ok_or(Error::NoTokenizer)?;
                        tokenizer.encode(&text, special)?.ids
                    }
                    Input::Tokens(tokens) => tokens,
                };
                crate::model::forward::check_tokens(&tokens, vocab_size)?;
                if tokens.is_empty() {
                    return to_json(&self.info(&id, tokenizer)?);
                }
                let needed = self.get(&id)?.tokens.len() + tokens.len();
                let available = model.config().n_positions;
                if needed > available {
                    return Err(Error::ContextOverflow { needed, available });
                }
                self.append(&id, &tokens, now)?;
                to_json(&self.info(&id, tokenizer)?)
            }
            Command::Fork {
                id,
                count,
                at,
                name,
            } => {
                if !(1..=MAX_FORKS).contains(&count) {
                    let reason = format!("must be from 1 to {MAX_FORKS}");
                    return Err(Error::argument("count", reason));
                }
                if let Some(name) = &name {
                    check_name("name", name)?;
                }
                let mut forks = Vec::new();
                for _ in 0..count {
                    let fork = self.fork(&id, at.as_ref(), now)?;
                    if name.is_some() {
                        let mut attributes = (*self.head(&fork)?.attributes).clone();
                        attributes.name = name.clone();
                        self.update(&fork, attributes, now)?;
                    }
                    forks.push(self.info(&fork, tokenizer)?);
                }
                to_json(&forks)
            }
            Command::Checkpoint { id, name } => {
                let checkpoint = self.checkpoint(&id, &name, now)?;
                to_json(&CheckpointInfo::from(&checkpoint))
            }
            Command::Checkpoints { id } => to_json(&checkpoints(self.get(&id)?)),
            Command::Rollback { id, to } => {
                self.rollback(&id, &to, now)?;
                to_json(&self.info(&id, tokenizer)?)
            }
            Command::Reseed { id, seed } => {
                let seed = match seed {
                    Some(seed) => seed_of(&seed).ok_or_else(|| {
                        Error::argument("seed", "must be an integer from 0 to 2^64-1")
                    })?,
                    None => fresh_seed()?,
                };
                self.reseed(&id, seed, now)?;
                to_json(&self.info(&id, tokenizer)?)
            }
            Command::Pin { id, pinned } => {
                self.pin(&id, pinned)?;
                self.pin_blocks(blocks);
                to_json(&self.info(&id, tokenizer)?)
            }
            Command::History { id } => to_json(&self.history(&id, tokenizer)?),
            Command::Graph { id } => to_json(&self.graph(id.as_deref(), tokenizer)?),
            Command::Tokens { id, revision } => {
                let ids = self.tokens_at(&id, revision.as_deref())?;
                self.touch(&id, now)?;
                let text = TokenText::new(tokenizer, &ids)?;
                let offsets = text.offsets();
                to_json(&TokenList {
                    text: text.text().to_owned(),
                    offsets: offsets.iter().flat_map(|&(from, to)| [from, to]).collect(),
                    ids,
                })
            }
            Command::Diff { a, b } => to_json(&self.diff(&a, &b, tokenizer)?),
            Command::Merge(command) => {
                let id = self.merge(command, model.config(), tokenizer, now)?;
                to_json(&self.info(&id, tokenizer)?)
            }
            Command::CommonLength { ids } => to_json(&self.common_len(&ids)?),
            Command::KvBytes { a, b } => {
                let names = [self.kv_names(&a)?, self.kv_names(&b)?];
                let bytes = |name| blocks.get(name).map_or(0, |block| block.len());
                let shared: usize = names[0]
                    .iter()
                    .filter(|name| names[1].contains(name))
                    .map(bytes)
                    .sum();
                let [a, b] = names
                    .each_ref()
                    .map(|names| names.iter().map(bytes).sum::<usize>() - shared);
                to_json(&KvBytes { shared, a, b })
            }
            Command::ToCleanUp { policy } => {
                let block_bytes = model.new_kv().block_bytes() as u64;
                to_json(&self.to_clean_up(&policy, block_bytes, now)?)
            }
            Command::Usage => to_json(&Usage {
                states: self.states.len(),
                revisions: self.revisions.len(),
                unsaved: self.unsaved(),
                kv: blocks.metrics(),
            }),
        }
    }

    /// Names of the KV blocks of a state's text.
    fn kv_names(&self, id: &str) -> Result<Vec<crate::model::BlockName>> {
        let state = self.get(id)?;
        Ok(self.root(state).chain(&state.tokens).collect())
    }

    fn list(&self, query: &Query, tokenizer: Option<&Tokenizer>) -> Result<List> {
        let search = query.search.as_ref().map(|text| text.to_lowercase());
        let mut found: Vec<&State> = Vec::new();
        for state in self.iter() {
            let head = self.revisions.node(&state.record.head)?;
            let attributes = &head.attributes;
            let matches = query.tags.iter().all(|tag| attributes.tags.contains(tag))
                && query
                    .pinned
                    .is_none_or(|pinned| state.record.pinned == pinned)
                && query
                    .model
                    .as_ref()
                    .is_none_or(|sha256| head.revision.model.sha256 == *sha256)
                && search.as_ref().is_none_or(|text| {
                    let name = attributes.name.as_deref().unwrap_or_default();
                    let decoded = || tokenizer.and_then(|t| t.decode(&state.tokens).ok());
                    name.to_lowercase().contains(text)
                        || decoded().is_some_and(|own| own.to_lowercase().contains(text))
                });
            if matches {
                found.push(state);
            }
        }
        found.sort_by(|a, b| {
            let ordering = self.compare(query.sort, a, b);
            let ordering = match query.order {
                Order::Asc => ordering,
                Order::Desc => ordering.reverse(),
            };
            ordering.then(a.record.id.cmp(&b.record.id))
        });
        let total = found.len();
        let page = found.into_iter().skip(query.offset);
        let page = page.take(query.limit.unwrap_or(DEFAULT_LIMIT));
        let items: Result<_> = page
            .map(|state| self.info(&state.record.id, tokenizer))
            .collect();
        Ok(List {
            items: items?,
            total,
        })
    }

    fn compare(&self, sort: Sort, a: &State, b: &State) -> Ordering {
        let name = |state: &State| {
            let node = self.revisions.get(&state.record.head);
            node.and_then(|node| {
                node.attributes
                    .name
                    .as_ref()
                    .map(|name| name.to_lowercase())
            })
        };
        match sort {
            Sort::Updated => a.record.updated.cmp(&b.record.updated),
            Sort::Created => a.record.created.cmp(&b.record.created),
            Sort::Used => a.record.used.cmp(&b.record.used),
            Sort::Name => name(a).cmp(&name(b)),
            Sort::Tokens => a.tokens.len().cmp(&b.tokens.len()),
        }
    }
}

fn input(text: Option<String>, tokens: Option<Vec<u32>>) -> Result<Input> {
    match (text, tokens) {
        (Some(_), Some(_)) => Err(Error::argument("text", "and `tokens` cannot both be given")),
        (None, Some(tokens)) => Ok(Input::Tokens(tokens)),
        (text, None) => Ok(Input::Text(text.unwrap_or_default())),
    }
}

fn parse_special(config: &Map<String, Value>) -> bool {
    config.get("parseSpecial") == Some(&Value::Bool(true))
}

/// Options with the seed as a number: JavaScript's large ones come as strings.
pub fn with_seed(mut options: Map<String, Value>) -> Result<Map<String, Value>> {
    if let Some(seed) = options.get("seed") {
        let range = "an integer from 0 to 2^64-1";
        let seed = seed_of(seed).ok_or_else(|| Error::option("seed", seed, range))?;
        options.insert("seed".into(), seed.into());
    }
    Ok(options)
}

/// Sets the keys given; null removes one.
fn change(map: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (key, value) in changes {
        match value {
            Value::Null => map.remove(&key),
            value => map.insert(key, value),
        };
    }
}

fn seed_of(value: &Value) -> Option<u64> {
    match value {
        Value::String(digits) => digits.parse().ok(),
        value => value.as_u64(),
    }
}

#[cfg(test)]
#[path = "commands_tests.rs"]
mod tests;
