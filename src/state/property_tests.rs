//! Any sequence of operations against full copies of everything, computed anew
//! each time.

use super::common_ancestor;
use super::lab::{Lab, N_POSITIONS, Outcome, Store, VOCAB_SIZE, all_logits, id, tokenizer};
use super::merge_tokens::{MergeRequest, MergeStrategy, merge_tokens};
use super::resolution::OnConflict;
use super::{Attributes, RevisionId};
use crate::generate::rng::RngState;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a state was at a moment.
#[derive(Debug, Clone, PartialEq)]
struct Moment {
    tokens: Vec<u32>,
    attributes: Attributes,
    rng: RngState,
}

/// A state as copies: all moments on its way to where it stands.
#[derive(Debug, Clone, Default)]
struct Copies {
    path: Vec<Moment>,
    checkpoints: BTreeMap<String, Vec<Moment>>,
}

impl Copies {
    fn now(&self) -> &Moment {
        self.path.last().unwrap()
    }
}

#[derive(Debug, Clone)]
enum Op {
    Create(String, u64),
    Append(Index, String),
    Generate(Index, Writing),
    Fork(Index),
    ForkAtTokens(Index, Index),
    ForkAtRevision(Index, Index),
    Checkpoint(Index, u8),
    Steps(Index, usize),
    ToCheckpoint(Index, u8),
    ToRevision(Index, Index),
    Update(Index, u8),
    Reseed(Index, u64),
    Merge(Index, Index, u8),
    Delete(Index),
    Commit(u8),
    Restore,
    ExportImport(Index, u8),
    Evict(usize),
    Pin(Index, bool),
}

/// How a generation goes.
#[derive(Debug, Clone)]
struct Writing {
    tokens: usize,
    temperature: f32,
    seed: Option<u64>,
    lookup: usize,
    stop: Option<String>,
    aborted_after: Option<usize>,
}

impl Writing {
    fn options(&self) -> Value {
        let mut options = json!({
            "maxTokens": self.tokens,
            "temperature": self.temperature,
            "promptLookupNumTokens": self.lookup,
        });
        if let Some(seed) = self.seed {
            options["seed"] = seed.into();
        }
        if let Some(stop) = &self.stop {
            options["stop"] = stop.as_str().into();
        }
        options
    }
}

fn writing() -> impl Strategy<Value = Writing> {
    (
        0..20usize,
        prop_oneof![Just(0.0), Just(1.0)],
        prop::option::weighted(0.2, 0..3u64),
        prop_oneof![Just(0usize), Just(4)],
        prop::option::weighted(0.3, "[a-p]{1,2}"),
        prop::option::weighted(0.2, 0..6usize),
    )
        .prop_map(
            |(tokens, temperature, seed, lookup, stop, aborted_after)| Writing {
                tokens,
                temperature,
                seed,
                lookup,
                stop,
                aborted_after,
            },
        )
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let which = any::<Index>;
    let op = prop_oneof![
        2 => ("[ab]{1,70}", 0..2u64).prop_map(|(text, seed)| Op::Create(text, seed)),
        3 => (which(), "[abé]{0,20}").prop_map(|(state, text)| Op::Append(state, text)),
        5 => (which(), writing()).prop_map(|(state, how)| Op::Generate(state, how)),
        2 => which().prop_map(Op::Fork),
        2 => (which(), which()).prop_map(|(state, at)| Op::ForkAtTokens(state, at)),
        1 => (which(), which()).prop_map(|(state, at)| Op::ForkAtRevision(state, at)),
        2 => (which(), 0..2u8).prop_map(|(state, name)| Op::Checkpoint(state, name)),
        2 => (which(), 0..4usize).prop_map(|(state, steps)| Op::Steps(state, steps)),
        1 => (which(), 0..2u8).prop_map(|(state, name)| Op::ToCheckpoint(state, name)),
        1 => (which(), which()).prop_map(|(state, to)| Op::ToRevision(state, to)),
        2 => (which(), any::<u8>()).prop_map(|(state, change)| Op::Update(state, change)),
        1 => (which(), 0..3u64).prop_map(|(state, seed)| Op::Reseed(state, seed)),
        2 => (which(), which(), 0..6u8).prop_map(|(a, b, how)| Op::Merge(a, b, how)),
        1 => which().prop_map(Op::Delete),
        3 => (0..4u8).prop_map(Op::Commit),
        1 => Just(Op::Restore),
        1 => (which(), 0..3u8).prop_map(|(state, kind)| Op::ExportImport(state, kind)),
        1 => (0..8usize).prop_map(Op::Evict),
        1 => (which(), any::<bool>()).prop_map(|(state, pinned)| Op::Pin(state, pinned)),
    ];
    prop::collection::vec(op, 1..30)
}

struct World {
    lab: Lab,
    store: Store,
    states: BTreeMap<String, Copies>,
    /// Of every revision ever seen, the moments on the way to it.
    paths: BTreeMap<String, Vec<Moment>>,
}

impl World {
    fn pick(&self, index: &Index) -> Option<String> {
        let ids: Vec<&String> = self.states.keys().collect();
        (!ids.is_empty()).then(|| index.get(&ids).to_string())
    }

    /// What the state is by its own account.
    fn seen(&self, state: &str) -> Moment {
        let head = self.lab.states.head(state).unwrap();
        Moment {
            tokens: self.lab.tokens(state),
            attributes: (*head.attributes).clone(),
            rng: head.revision.rng,
        }
    }

    fn revision(&self, state: &str) -> String {
        self.lab.states.get(state).unwrap().record.head.to_string()
    }

    /// Puts a moment after the last, and knows its revision.
    fn advance(&mut self, state: &str, moment: Moment) {
        let path = &mut self.states.get_mut(state).unwrap().path;
        path.push(moment);
        let path = path.clone();
        self.paths.insert(self.revision(state), path);
    }

    fn add(&mut self, state: &str, path: Vec<Moment>) {
        self.paths.insert(self.revision(state), path.clone());
        let copies = Copies {
            path,
            ..Copies::default()
        };
        self.states.insert(state.to_owned(), copies);
    }

    /// Goes back to where a path ends.
    fn back(&mut self, state: &str, path: Vec<Moment>) {
        self.states.get_mut(state).unwrap().path = path.clone();
        self.paths.insert(self.revision(state), path);
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(text, seed) => {
                let config = json!({ "seed": seed, "topK": 40 });
                let state = self.lab.create(text, config.clone());
                let Value::Object(config) = config else {
                    unreachable!()
                };
                let moment = Moment {
                    tokens: tokenizer().encode(text, false).unwrap().ids,
                    attributes: Attributes {
                        config,
                        ..Attributes::default()
                    },
                    rng: RngState {
                        seed: *seed,
                        position: 0,
                    },
                };
                self.add(&state, vec![moment]);
            }
            Op::Append(state, text) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                let mut moment = self.states[&state].now().clone();
                moment
                    .tokens
                    .extend(tokenizer().encode(text, false).unwrap().ids);
                let answer = self
                    .lab
                    .run(json!({ "command": "append", "id": state, "text": text }));
                match answer {
                    // Nothing added is nothing to remember.
                    Ok(_) if text.is_empty() => {}
                    Ok(_) => self.advance(&state, moment),
                    Err(error) => {
                        assert_eq!(error.code(), "context-overflow");
                        assert!(moment.tokens.len() > N_POSITIONS);
                    }
                }
            }
            Op::Generate(state, how) => self.generate(state, how),
            Op::Fork(state) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                let fork = self.lab.fork(&state, Value::Null);
                self.add(&fork, self.states[&state].path.clone());
            }
            Op::ForkAtTokens(state, at) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                let tokens = self.lab.tokens(&state);
                let at = at.index(tokens.len()) + 1;
                let fork = self.lab.fork(&state, json!({ "tokens": at }));
                let head = self.revision(&fork);
                let path = match self.paths.get(&head) {
                    Some(path) => path.clone(),
                    None => {
                        let node = self.lab.states.head(&fork).unwrap();
                        let mut path = self.paths[node.revision.parents[0].as_str()].clone();
                        path.push(Moment {
                            tokens: tokens[..at].to_vec(),
                            rng: node.revision.rng,
                            ..path.last().unwrap().clone()
                        });
                        path
                    }
                };
                assert_eq!(path.last().unwrap().tokens, tokens[..at]);
                self.add(&fork, path);
            }
            Op::ForkAtRevision(state, at) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                let revision = self.any_revision(&state, at);
                let fork = self.lab.fork(&state, json!({ "revision": revision }));
                self.add(&fork, self.paths[&revision].clone());
            }
            Op::Checkpoint(state, name) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                let name = name.to_string();
                self.lab
                    .ok(json!({ "command": "checkpoint", "id": state, "name": name }));
                let copies = self.states.get_mut(&state).unwrap();
                copies.checkpoints.insert(name, copies.path.clone());
            }
            Op::Steps(state, steps) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                let to = json!({ "steps": steps });
                let answer = self
                    .lab
                    .run(json!({ "command": "rollback", "id": state, "to": to }));
                let mut path = self.states[&state].path.clone();
                match path.len().checked_sub(*steps) {
                    Some(left) if left > 0 => {
                        answer.unwrap();
                        path.truncate(left);
                        self.back(&state, path);
                    }
                    _ => assert_eq!(answer.unwrap_err().code(), "invalid-argument"),
                }
            }
            Op::ToCheckpoint(state, name) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                let name = name.to_string();
                let to = json!({ "checkpoint": name });
                let answer = self
                    .lab
                    .run(json!({ "command": "rollback", "id": state, "to": to }));
                match self.states[&state].checkpoints.get(&name).cloned() {
                    Some(path) => {
                        answer.unwrap();
                        self.back(&state, path);
                    }
                    None => assert_eq!(answer.unwrap_err().code(), "checkpoint-not-found"),
                }
            }
            Op::ToRevision(state, to) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                let revision = self.any_revision(&state, to);
                let to = json!({ "revision": revision });
                self.lab
                    .ok(json!({ "command": "rollback", "id": state, "to": to }));
                self.back(&state, self.paths[&revision].clone());
            }
            Op::Update(state, change) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                let mut moment = self.states[&state].now().clone();
                let mut command = json!({ "command": "update", "id": state });
                let number = json!(f64::from(*change) / 7.1);
                match change % 4 {
                    0 => {
                        command["name"] = json!(format!("n{change}"));
                        moment.attributes.name = Some(format!("n{change}"));
                    }
                    1 => {
                        command["tags"] = json!(["t", change.to_string()]);
                        moment.attributes.tags = vec!["t".into(), change.to_string()];
                    }
                    2 => {
                        command["metadata"] = json!({ "x": number });
                        moment.attributes.metadata.insert("x".into(), number);
                    }
                    _ => {
                        command["config"] = json!({ "topK": null, "minP": 0.013 });
                        moment.attributes.config.remove("topK");
                        moment.attributes.config.insert("minP".into(), json!(0.013));
                    }
                }
                self.lab.ok(command);
                if moment != *self.states[&state].now() {
                    self.advance(&state, moment);
                }
            }
            Op::Reseed(state, seed) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                self.reseed(&state, *seed);
            }
            Op::Merge(a, b, how) => self.merge(a, b, *how),
            Op::Delete(state) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                self.lab.ok(json!({ "command": "delete", "ids": [state] }));
                self.states.remove(&state);
                let error = self
                    .lab
                    .run(json!({ "command": "info", "id": state }))
                    .unwrap_err();
                assert_eq!(error.details(), json!({ "id": state }));
            }
            Op::Commit(how) => self.commit(*how),
            Op::Restore => {
                self.lab.commit_all(&mut self.store);
                self.lab = Lab::open(&self.store);
                let first = self.states.keys().next().cloned();
                if let Some(state) = first {
                    self.lab.fetch_blocks(&self.store, &state);
                }
            }
            Op::ExportImport(state, kind) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                let ids = [state.clone()];
                let file = match kind {
                    0 => self.lab.export_json(&ids),
                    kind => self.lab.export(&ids, *kind == 1, &self.store),
                };
                let mut elsewhere = Lab::new();
                assert_eq!(elsewhere.import(&file, 1000).unwrap(), ids);
                let copy = elsewhere.states.get(&state).unwrap();
                assert_eq!(copy.tokens[..], self.states[&state].now().tokens[..]);
                let exact = all_logits(&elsewhere.tokens(&state)).pop().unwrap();
                assert_eq!(elsewhere.cached_logits(&state), exact);
                // Beside the original it gets another id.
                let copy = self.lab.import(&file, usize::MAX).unwrap().remove(0);
                assert_ne!(copy, state);
                let copies = self.states[&state].clone();
                self.states.insert(copy, copies);
            }
            Op::Evict(blocks) => {
                let block = super::lab::model().new_kv().block_bytes();
                self.lab.scheduler.set_kv_budget(blocks * block);
                self.lab.states.pin_blocks(self.lab.scheduler.blocks());
            }
            Op::Pin(state, pinned) => {
                let Some(state) = self.pick(state) else {
                    return;
                };
                self.lab
                    .ok(json!({ "command": "pin", "id": state, "pinned": pinned }));
            }
        }
    }

    fn reseed(&mut self, state: &str, seed: u64) {
        let mut moment = self.states[state].now().clone();
        self.lab
            .ok(json!({ "command": "reseed", "id": state, "seed": seed }));
        moment.attributes.config.insert("seed".into(), json!(seed));
        moment.rng = RngState { seed, position: 0 };
        self.advance(state, moment);
    }

    /// A revision of the state's history.
    fn any_revision(&mut self, state: &str, at: &Index) -> String {
        let history = self.lab.ok(json!({ "command": "history", "id": state }));
        let entry = at.get(history.as_array().unwrap());
        entry["revision"].as_str().unwrap().to_owned()
    }

    fn generate(&mut self, state: &Index, how: &Writing) {
        let Some(state) = self.pick(state) else {
            return;
        };
        let options = how.options();
        let (tokens, continuation) = self.lab.generated_from_scratch(&state, options.clone());
        let before = self.states[&state].now().clone();
        let job = self.lab.begin_generation(&state, options).unwrap();
        if let Some(steps) = how.aborted_after {
            for _ in 0..steps {
                if let Some(Ok(left)) = self.lab.scheduler.continuation(job) {
                    let all = [&before.tokens[..], &tokens].concat();
                    assert!(all.starts_with(&left.tokens));
                }
                // The end's event must not be lost to this loop.
                let is_last = how.tokens <= steps;
                if is_last || how.stop.is_some() {
                    break;
                }
                self.lab.scheduler.step();
                if !self.lab.scheduler.is_busy() {
                    return self.generated_unseen(&state, &before);
                }
            }
            self.lab.scheduler.cancel(job);
        }
        let result = self.lab.end_generation(&state, job).unwrap();
        let text = |tokens: &[u32]| tokenizer().decode(tokens).unwrap();
        let after = self.seen(&state);
        if how.aborted_after.is_none() {
            assert_eq!(result.tokens, tokens);
            assert_eq!(after.tokens, continuation.tokens);
            assert_eq!(after.rng, continuation.rng.unwrap_or(before.rng));
        } else {
            assert!(tokens.starts_with(&result.tokens));
        }
        let bytes = |tokens: &[u32]| {
            let tokenizer = tokenizer();
            let bytes = tokens
                .iter()
                .flat_map(|t| tokenizer.token_bytes(*t).unwrap().to_vec());
            bytes.collect::<Vec<u8>>()
        };
        // A border inside a character is one for the result only.
        if String::from_utf8(bytes(&before.tokens)).is_ok() && !result.text.starts_with('\u{FFFD}')
        {
            assert_eq!(text(&after.tokens), text(&before.tokens) + &result.text);
        }
        assert_eq!(after.attributes, before.attributes);
        self.advance(&state, after);
    }

    /// A generation that ended in a step whose events went by: nothing was kept.
    fn generated_unseen(&self, state: &str, before: &Moment) {
        assert_eq!(self.lab.tokens(state), before.tokens);
    }

    fn merge(&mut self, a: &Index, b: &Index, how: u8) {
        let (Some(a), Some(b)) = (self.pick(a), self.pick(b)) else {
            return;
        };
        let (strategy, name) = [
            (MergeStrategy::Ours, "ours"),
            (MergeStrategy::Theirs, "theirs"),
            (MergeStrategy::Concat, "concat"),
            (MergeStrategy::Best, "best"),
            (MergeStrategy::Longest, "longest"),
            (MergeStrategy::Edit, "edit"),
        ][usize::from(how)];
        let sides = [&a, &b].map(|id| self.states[id].now().tokens.clone());
        let heads: Vec<RevisionId> = [&a, &b]
            .map(|id| RevisionId::from(&self.revision(id)[..]))
            .into();
        let revisions = self.lab.states.revisions();
        let parents = |id: &RevisionId| &revisions.get(id).unwrap().revision.parents[..];
        let created = |id: &RevisionId| revisions.get(id).unwrap().revision.created as f64;
        let base = match common_ancestor(&heads, parents, created) {
            Some(id) => self.paths[id.as_str()].last().unwrap().tokens.clone(),
            None => {
                let common = sides[0].iter().zip(&sides[1]).take_while(|(a, b)| a == b);
                common.map(|(token, _)| *token).collect()
            }
        };
        let chosen = match how {
            0 => Some(0),
            1 => Some(1),
            3 => Some(usize::from(a != b)),
            4 => Some(usize::from(sides[1].len() > sides[0].len())),
            _ => None,
        };
        let chosen_rng = chosen.map(|side| self.states[[&a, &b][side]].now().rng);
        let expected = match chosen {
            Some(side) => sides[side].clone(),
            None => {
                let request = MergeRequest {
                    base: &base,
                    sides: &[&sides[0], &sides[1]],
                    strategy,
                    on_conflict: OnConflict::Theirs,
                    resolutions: &BTreeMap::new(),
                    scores: &[],
                    tokenizer: Some(&tokenizer()),
                };
                merge_tokens(&request).unwrap().tokens
            }
        };
        let answer = self.lab.run(json!({
            "command": "merge", "states": [a, b], "strategy": name, "onConflict": "theirs",
            "scores": [-2.0, if a == b { -2.0 } else { -1.0 }],
        }));
        match answer {
            Ok(info) => {
                let merged = id(&info);
                let moment = self.seen(&merged);
                assert_eq!(moment.tokens, expected);
                let seed = moment.attributes.seed();
                let begun = RngState { seed, position: 0 };
                assert_eq!(moment.rng, chosen_rng.unwrap_or(begun));
                let mut path = self.states[&a].path.clone();
                path.push(moment);
                self.add(&merged, path);
            }
            Err(error) => {
                assert_eq!(error.code(), "context-overflow");
                assert!(expected.len() > N_POSITIONS);
            }
        }
    }

    fn commit(&mut self, how: u8) {
        let ids: Vec<String> = self.states.keys().cloned().collect();
        let before = self.store.clone();
        let commit = self
            .lab
            .states
            .commit(&ids, self.lab.scheduler.blocks())
            .unwrap();
        let Some(commit) = commit else { return };
        match how {
            // Refused, as for want of room: nothing has changed.
            0 => {
                let again = self
                    .lab
                    .states
                    .commit(&ids, self.lab.scheduler.blocks())
                    .unwrap();
                assert_eq!(again.as_ref(), Some(&commit));
                assert_eq!(self.store, before);
            }
            // While it is written, a state changes and another is deleted.
            1 => {
                let outcome = self.store.apply(&commit, self.lab.scheduler.blocks());
                assert_eq!(outcome, Outcome::Done);
                if let Some(first) = ids.first() {
                    self.reseed(first, 7);
                }
                if ids.len() > 1 {
                    let last = ids[ids.len() - 1].clone();
                    self.lab.ok(json!({ "command": "delete", "ids": [last] }));
                    self.states.remove(&last);
                }
                self.lab.states.committed(&commit);
            }
            _ => {
                let outcome = self.store.apply(&commit, self.lab.scheduler.blocks());
                assert_eq!(outcome, Outcome::Done);
                self.lab.states.committed(&commit);
                assert_eq!(self.lab.states.unsaved(), 0);
                let again = self
                    .lab
                    .states
                    .commit(&ids, self.lab.scheduler.blocks())
                    .unwrap();
                assert_eq!(again, None, "what is stored is not written again");
            }
        }
        self.store.check();
    }

    fn check(&mut self, which: usize) {
        assert_eq!(self.lab.states.iter().count(), self.states.len());
        let ids: Vec<String> = self.states.keys().cloned().collect();
        for id in &ids {
            assert_eq!(&self.seen(id), self.states[id].now(), "{id}");
            let info = self.lab.info(id);
            assert_eq!(info["tokens"], self.states[id].now().tokens.len());
        }
        if let Some(id) = ids.get(which % ids.len().max(1)) {
            let tokens = self.lab.tokens(id);
            let logits = all_logits(&tokens);
            assert_eq!(self.lab.cached_logits(id), logits[tokens.len() - 1]);
            assert_eq!(logits[0].len(), VOCAB_SIZE);
        }
        let metrics = self.lab.scheduler.blocks().metrics();
        assert!(metrics.bytes <= metrics.budget + metrics.pinned_bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn states_behave_as_full_copies_that_are_computed_anew(ops in ops()) {
        let mut world = World {
            lab: Lab::new(),
            store: Store::default(),
            states: BTreeMap::new(),
            paths: BTreeMap::new(),
        };
        for (index, op) in ops.iter().enumerate() {
            world.apply(op);
            world.check(index);
        }
        world.lab.commit_all(&mut world.store);
        world.store.check();
        // Every state restores.
        world.lab = Lab::open(&world.store);
        world.check(0);
        // With the last state everything is gone.
        for id in world.states.keys() {
            world.lab.ok(json!({ "command": "delete", "ids": [id] }));
        }
        world.lab.commit_all(&mut world.store);
        prop_assert_eq!(&world.store, &Store::default());
        prop_assert!(world.lab.states.revisions().is_empty());
    }
}
