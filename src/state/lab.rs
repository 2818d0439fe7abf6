//! A whole product natively, for tests: states, a scheduler with a tiny model
//! that is really run, and a storage that keeps what commits write as IndexedDB
//! does. Everything is driven as the bindings drive it.

use super::commands::{Context, with_seed};
use super::record::{self, Kind};
use super::states::Change;
use super::{Commit, ModelRef, Operation, RevisionId, States};
use crate::engine::{Engine, Packed};
use crate::error::{Error, Result};
use crate::generate::{
    ComparisonResult, Continuation, Event, GenerateOptions, GenerationResult, JobId, ReadingResult,
    Scheduler,
};
use crate::model::sink::Sink;
use crate::model::{BlockName, BlockTable, Config, Dtype, LogitRows, Model, Rows, Taps, names};
use crate::tokenizer::{Tokenizer, byte_to_char};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;

pub const EOS: u32 = 256;
pub const VOCAB_SIZE: usize = 512;
pub const N_POSITIONS: usize = 160;

thread_local! {
    static MODEL: Rc<dyn Model> = Rc::new(engine());
    static TOKENIZER: Rc<Tokenizer> = Rc::new(tokens_of_bytes_and_pairs());
}

/// One layer of odd widths, with made-up weights.
fn engine() -> Engine {
    let config = format!(
        r#"{{"model_type":"gpt2","n_layer":1,"n_head":2,"n_embd":12,"n_inner":20,
            "vocab_size":{VOCAB_SIZE},"n_positions":{N_POSITIONS},"eos_token_id":{EOS}}}"#
    );
    let config = Config::from_json(config.as_bytes()).unwrap();
    let mut packed = Packed::zeroed(&config, Dtype::Q8).unwrap();
    for (index, name) in names::all(&config).into_iter().enumerate() {
        let count: usize = names::shape(&config, &name).unwrap().iter().product();
        let is_scale = name.contains("ln_") && name.ends_with("weight");
        let mut state = index as u32 * 7919 + 1;
        let numbers: Vec<f32> = (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let number = (f64::from(state) / f64::from(1u32 << 31) - 1.0) as f32;
                if is_scale {
                    1.0 + 0.3 * number
                } else {
                    0.9 * number
                }
            })
            .collect();
        packed.begin(&name, false).unwrap();
        packed.push(&numbers);
    }
    Engine::new(packed).unwrap()
}

/// The bytes, the end of text, and pairs of letters that are not made by
/// encoding, so that a stop string can begin inside a token.
fn tokens_of_bytes_and_pairs() -> Tokenizer {
    let bytes = (0..=255u8).map(|byte| byte_to_char(byte).to_string());
    let mut tokens: Vec<String> = bytes.collect();
    tokens.push("<|endoftext|>".into());
    let letter = |i: usize| char::from(b'a' + (i % 16) as u8);
    tokens.extend((0..255).map(|i| [letter(i), letter(i / 16)].iter().collect()));
    Tokenizer::from_lists(tokens, Vec::new(), &[EOS]).unwrap()
}

pub fn model() -> Rc<dyn Model> {
    MODEL.with(Rc::clone)
}

pub fn tokenizer() -> Rc<Tokenizer> {
    TOKENIZER.with(Rc::clone)
}

pub const FINGERPRINT: &str = "tiny:q8:1";

pub fn scheduler() -> Scheduler {
    let mut scheduler = Scheduler::new(model(), Some(tokenizer()), || 0.0);
    scheduler.set_kv_root(BlockName::root(&[FINGERPRINT]));
    scheduler
}

pub fn states() -> States {
    let model = ModelRef {
        sha256: "tiny".into(),
        dtype: "q8".into(),
    };
    States::new(model, FINGERPRINT.into(), Some(tokenizer()))
}

/// Logits of every position, without any cache.
pub fn all_logits(tokens: &[u32]) -> Vec<Vec<f32>> {
    let model = model();
    let mut kv = model.new_kv();
    let rows = Rows {
        kv: &mut kv,
        tokens,
        logits: LogitRows::All,
    };
    let logits = model.forward(&mut [rows], Taps::default()).unwrap();
    let rows = logits[0].logits.chunks_exact(VOCAB_SIZE);
    rows.map(<[f32]>::to_vec).collect()
}

/// A database, as far as commits and readings go.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Store {
    /// Version, fence, record.
    pub states: BTreeMap<String, (u64, u64, Vec<u8>)>,
    pub revisions: BTreeMap<String, Vec<u8>>,
    pub blocks: BTreeMap<BlockName, Vec<u8>>,
}

#[derive(Debug, PartialEq)]
pub enum Outcome {
    Done,
    Conflict(Vec<String>),
    Missing(Vec<RevisionId>),
    Outdated,
}

impl Store {
    /// All of a commit, or nothing.
    pub fn apply(&mut self, commit: &Commit, table: &BlockTable) -> Outcome {
        let fits = |write: &&super::commit::StateWrite| match self.states.get(&write.id) {
            None => write.version == 0,
            Some((version, fence, _)) => (*version, *fence) == (write.version, write.fence),
        };
        let conflicts: Vec<String> = {
            let writes = commit.states.iter().filter(|write| !fits(write));
            writes.map(|write| write.id.clone()).collect()
        };
        if !conflicts.is_empty() {
            return Outcome::Conflict(conflicts);
        }
        if let Some(known) = &commit.expects {
            let known: BTreeMap<_, _> = known.iter().cloned().collect();
            let mut stored = self.states.iter();
            if !stored.all(|(id, (version, ..))| known.get(id) == Some(version)) {
                return Outcome::Outdated;
            }
        }
        let written = |id: &RevisionId| {
            let write = commit.revisions.iter().find(|(written, _)| written == id);
            write.map_or(self.revisions.contains_key(id.as_str()), |(_, content)| {
                content.is_some()
            })
        };
        let missing: Vec<_> = commit
            .requires
            .iter()
            .filter(|id| !written(id))
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Outcome::Missing(missing);
        }
        for name in &commit.new_blocks {
            if let Some(block) = table.get(name) {
                let sealed = record::seal(Kind::Block, block);
                self.blocks.entry(*name).or_insert(sealed);
            }
        }
        for name in &commit.dead_blocks {
            self.blocks.remove(name);
        }
        for (id, content) in &commit.revisions {
            match content {
                Some(content) => self.revisions.insert(id.to_string(), content.clone()),
                None => self.revisions.remove(id.as_str()),
            };
        }
        for write in &commit.states {
            match &write.record {
                Some(record) => {
                    let value = (write.version + 1, write.fence, record.clone());
                    self.states.insert(write.id.clone(), value);
                }
                None => {
                    self.states.remove(&write.id);
                }
            }
        }
        Outcome::Done
    }

    /// Nothing stored refers to what is not.
    pub fn check(&self) {
        for sealed in self.revisions.values() {
            let revision: super::Revision = record::unseal_json(Kind::Revision, sealed).unwrap();
            for source in revision.sources() {
                assert!(
                    self.revisions.contains_key(source.as_str()),
                    "{source} is missing"
                );
            }
        }
        for (_, _, sealed) in self.states.values() {
            let state: super::StateRecord = record::unseal_json(Kind::State, sealed).unwrap();
            for id in state.heads() {
                assert!(self.revisions.contains_key(id.as_str()), "{id} is missing");
            }
        }
    }
}

/// What could not be read.
pub type Damaged = Vec<(String, &'static str)>;

pub struct Lab {
    pub states: States,
    pub scheduler: Scheduler,
    pub now: u64,
}

impl Lab {
    pub fn new() -> Self {
        Self {
            states: states(),
            scheduler: scheduler(),
            now: 1_000_000,
        }
    }

    /// The answer to a command.
    pub fn run(&mut self, command: Value) -> Result<Value> {
        self.now += 1;
        let (model, tokenizer, blocks) = self.scheduler.parts();
        let context = Context {
            model,
            tokenizer,
            blocks,
            now: self.now,
        };
        let answer = self.states.run(&command.to_string(), context)?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    pub fn ok(&mut self, command: Value) -> Value {
        match self.run(command.clone()) {
            Ok(answer) => answer,
            Err(error) => panic!("{command}: {error}"),
        }
    }

    pub fn code(&mut self, command: Value) -> &'static str {
        self.run(command).unwrap_err().code()
    }

    /// A state of a text; its id.
    pub fn create(&mut self, text: &str, config: Value) -> String {
        id(&self.ok(json!({ "command": "create", "text": text, "config": config })))
    }

    pub fn fork(&mut self, state: &str, at: Value) -> String {
        let forks = self.ok(json!({ "command": "fork", "id": state, "count": 1, "at": at }));
        id(&forks[0])
    }

    pub fn append(&mut self, state: &str, text: &str) -> Value {
        self.ok(json!({ "command": "append", "id": state, "text": text }))
    }

    pub fn info(&mut self, state: &str) -> Value {
        self.ok(json!({ "command": "info", "id": state }))
    }

    pub fn tokens(&self, state: &str) -> Vec<u32> {
        self.states.get(state).unwrap().tokens.to_vec()
    }

    pub fn text(&self, state: &str) -> String {
        tokenizer().decode(&self.tokens(state)).unwrap()
    }

    /// Ends a job.
    pub fn drain(&mut self, job: JobId) -> Event {
        loop {
            for (id, event) in self.scheduler.step() {
                if id == job && !matches!(event, Event::Chunk(_)) {
                    return event;
                }
            }
        }
    }

    pub fn begin_generation(&mut self, state: &str, options: Value) -> Result<JobId> {
        let Value::Object(changes) = options else {
            panic!("no options")
        };
        let (options, rng) = self.options(state, &changes)?;
        let state = self.states.get(state)?;
        let root = self.states.root(state);
        self.scheduler
            .add_continuation(state.tokens.to_vec(), root, rng, &options)
    }

    fn options(
        &self,
        state: &str,
        changes: &Map<String, Value>,
    ) -> Result<(GenerateOptions, crate::generate::rng::RngState)> {
        let changes = with_seed(changes.clone())?;
        let head = self.states.head(state)?;
        let mut options = head.attributes.options(&changes, VOCAB_SIZE)?;
        if !changes.contains_key("seed") {
            options.seed = None;
        }
        Ok((options, head.revision.rng))
    }

    /// Ends a generation and lets the state's text go on.
    pub fn end_generation(&mut self, state: &str, job: JobId) -> Result<GenerationResult> {
        match self.drain(job) {
            Event::Continued(result, Continuation { tokens, rng }) => {
                self.now += 1;
                let rng = rng.unwrap_or(self.states.head(state)?.revision.rng);
                let change = Change {
                    operation: Operation::Generate {
                        finish_reason: result.finish_reason,
                    },
                    tokens,
                    attributes: None,
                    rng,
                    duration: 1.0,
                };
                self.states.advance(state, change, self.now)?;
                self.states.pin_blocks(self.scheduler.blocks());
                Ok(*result)
            }
            Event::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub fn generate(&mut self, state: &str, options: Value) -> Result<GenerationResult> {
        let job = self.begin_generation(state, options)?;
        self.end_generation(state, job)
    }

    /// What a state's generation gives where nothing is cached.
    pub fn generated_from_scratch(&self, state: &str, options: Value) -> (Vec<u32>, Continuation) {
        let Value::Object(mut changes) = options else {
            panic!("no options")
        };
        changes.insert("cachePrompt".into(), false.into());
        let (options, rng) = self.options(state, &changes).unwrap();
        let mut fresh = Lab::new();
        let root = BlockName::root(&["none"]);
        let job = fresh
            .scheduler
            .add_continuation(self.tokens(state), root, rng, &options);
        match fresh.drain(job.unwrap()) {
            Event::Continued(result, continuation) => {
                let run = match result.tokens.len() {
                    0 => 0,
                    _ => result.usage.prompt_tokens,
                };
                assert_eq!(result.usage.tokens_evaluated, run);
                (result.tokens, continuation)
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn read(&mut self, state: &str, scored_from: Option<usize>) -> ReadingResult {
        let root = self.states.root(self.states.get(state).unwrap());
        let tokens = self.tokens(state);
        let job = self
            .scheduler
            .add_reading(tokens, root, scored_from)
            .unwrap();
        match self.drain(job) {
            Event::Read(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn compare(&mut self, a: &str, b: &str) -> ComparisonResult {
        let tokenizer = tokenizer();
        let compared = self
            .states
            .to_compare([a, b], N_POSITIONS, Some(&tokenizer))
            .unwrap();
        let job = self
            .scheduler
            .add_comparison(compared.texts, compared.roots, &compared.pairs);
        match self.drain(job.unwrap()) {
            Event::Compared(result) => result,
            other => panic!("{other:?}"),
        }
    }

    /// Next-token logits with what the block table has of the state's text.
    pub fn cached_logits(&mut self, state: &str) -> Vec<f32> {
        let root = self.states.root(self.states.get(state).unwrap());
        let tokens = self.tokens(state);
        let model = model();
        let mut kv = model.new_kv();
        let known = &tokens[..tokens.len() - 1];
        self.scheduler.blocks().fill(root, known, &mut kv);
        let start = kv.len();
        let rows = Rows {
            kv: &mut kv,
            tokens: &tokens[start..],
            logits: LogitRows::Last,
        };
        model
            .forward(&mut [rows], Taps::default())
            .unwrap()
            .remove(0)
            .logits
    }

    /// One attempt to store these states.
    pub fn try_commit(&mut self, store: &mut Store, ids: &[String]) -> Outcome {
        let commit = self.states.commit(ids, self.scheduler.blocks()).unwrap();
        let Some(commit) = commit else {
            return Outcome::Done;
        };
        let outcome = store.apply(&commit, self.scheduler.blocks());
        if outcome == Outcome::Done {
            self.states.committed(&commit);
        }
        outcome
    }

    /// As pages do it; ids that another tab was first to write.
    pub fn commit(&mut self, store: &mut Store, ids: &[String]) -> Vec<String> {
        for _ in 0..4 {
            match self.try_commit(store, ids) {
                Outcome::Done => return Vec::new(),
                Outcome::Conflict(ids) => return ids,
                Outcome::Missing(revisions) => self.states.revisions_missing(&revisions),
                Outcome::Outdated => assert_eq!(self.load(store), []),
            }
        }
        panic!("no commit after four attempts");
    }

    pub fn commit_all(&mut self, store: &mut Store) {
        let ids: Vec<String> = self
            .states
            .iter()
            .map(|state| state.record.id.clone())
            .collect();
        assert_eq!(self.commit(store, &ids), [""; 0]);
    }

    /// Reads everything; what is damaged.
    pub fn load(&mut self, store: &Store) -> Damaged {
        let mut damaged = Damaged::new();
        let mut note = |id: &str, result: Result<()>| {
            damaged.extend(result.err().map(|error| (id.to_owned(), error.code())));
        };
        self.states.set_blocks_stored(store.blocks.keys().copied());
        for (id, sealed) in &store.revisions {
            note(id, self.states.read_revision(id, sealed));
        }
        self.states.connect();
        for (id, (version, fence, sealed)) in &store.states {
            if self
                .states
                .get(id)
                .is_ok_and(|s| (s.version, s.fence) == (*version, *fence))
            {
                continue;
            }
            if self.states.get(id).is_ok_and(|state| state.version > 0) {
                self.states.lose(id, self.now).unwrap();
            }
            note(id, self.states.read_state(id, *version, *fence, sealed));
        }
        let gone = self.states.iter().filter(|s| s.version > 0);
        let gone: Vec<String> = gone.map(|state| state.record.id.clone()).collect();
        for id in gone.iter().filter(|id| !store.states.contains_key(*id)) {
            self.states.lose(id, self.now).unwrap();
        }
        damaged
    }

    /// Another tab, or this one after a reload.
    pub fn open(store: &Store) -> Self {
        let mut lab = Self::new();
        assert_eq!(lab.load(store), []);
        lab
    }

    /// Fetches the stored blocks of a state's text; how many.
    pub fn fetch_blocks(&mut self, store: &Store, state: &str) -> usize {
        let missing = self
            .states
            .missing_blocks(state, self.scheduler.blocks())
            .unwrap();
        let count = missing.len();
        for place in missing {
            let read = store
                .blocks
                .get(&place.name)
                .ok_or(Error::Internal("gone".into()));
            let read = read.and_then(|sealed| record::unseal(Kind::Block, sealed));
            match read.and_then(|content| model().new_kv().block_from(content)) {
                Ok(block) => {
                    let blocks = self.scheduler.blocks();
                    blocks.add(place.parent, place.depth, &place.tokens, block);
                }
                Err(_) => self.states.block_lost(&place.name),
            }
        }
        count
    }

    pub fn export(&mut self, ids: &[String], kv: bool, store: &Store) -> Vec<u8> {
        let blocks = self.scheduler.blocks();
        let (mut file, mut export) = self.states.export(ids, kv, blocks, self.now).unwrap();
        for name in export.blocks.clone() {
            let stored = store.blocks.get(&name);
            let stored = stored.and_then(|sealed| record::unseal(Kind::Block, sealed).ok());
            let block = blocks.get(&name).map(|block| &block[..]).or(stored);
            file.extend(export.block(&name, block));
        }
        file.extend(export.finish());
        file
    }

    /// Takes a file in, in pieces of that many bytes.
    pub fn import(&mut self, file: &[u8], piece: usize) -> Result<Vec<String>> {
        self.now += 1;
        let blocks = self.scheduler.blocks();
        super::import::import_file(
            &mut self.states,
            file,
            piece,
            &model().new_kv(),
            VOCAB_SIZE,
            blocks,
            self.now,
        )
    }

    pub fn export_json(&mut self, ids: &[String]) -> Vec<u8> {
        let tokenizer = tokenizer();
        self.states
            .export_json(ids, Some(&tokenizer), self.now)
            .unwrap()
    }
}

/// The id in an answer.
pub fn id(info: &Value) -> String {
    info["id"].as_str().unwrap().to_owned()
}
