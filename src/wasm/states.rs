//! A model's states: commands, jobs, and what goes to storage and back.
//!
//! Storage is JavaScript's: it is asynchronous, and nothing here waits. What is
//! to be written is handed out as a commit, and its outcome is told afterwards.

use super::engine::{Engine, failed, to_value};
use super::errors;
use crate::error::{Error, Result};
use crate::generate::rng::RngState;
use crate::generate::{
    Continuation, Event, FinishReason, GenerateOptions, GenerationResult, JobId, Scheduler,
};
use crate::model::{BlockName, Dtype, KvFormat};
use crate::state::commands::{Context, with_seed};
use crate::state::record::{self, Kind};
use crate::state::states::Change;
use crate::state::{
    Commit, MissingBlock, ModelRef, Operation, RevisionId, State, States, state_diff,
};
use std::collections::HashMap;
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

/// Version of the arithmetic: with another, keys and values may differ in their
/// last bits. To be raised whenever a kernel's results change.
pub(super) const ARITHMETIC: &str = "1";

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

/** What made a revision. */
export type StateOperation =
  | "create"
  | "append"
  | "generate"
  | "truncate"
  | "update"
  | "rollback"
  | "merge"
  | "import"
  | "recover";

/** One transaction's writes; `null` is a deletion. */
export interface StateCommit {
  /** For `committed`. */
  handle: number;
  states: { id: string; version: number; fence: number; bytes: Uint8Array | null }[];
  revisions: { id: string; bytes: Uint8Array | null }[];
  requires: string[];
  blocks: { name: string; bytes: Uint8Array | null }[];
  expects: [id: string, version: number][] | null;
}
"#;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "StateCommit | undefined")]
    pub type JsCommit;
}

/// States, and what is going on with them.
pub struct StateJobs {
    pub(super) states: States,
    /// Generations of states, by job: the state, and when it began.
    generations: HashMap<JobId, (String, f64)>,
    /// Blocks that are being fetched from storage.
    awaited: HashMap<String, MissingBlock>,
    commits: HashMap<u32, Commit>,
    /// States as they were before a change that may have to be undone.
    held: HashMap<String, State>,
    next_commit: u32,
}

impl StateJobs {
    /// Names the scheduler's KV blocks after the model.
    pub(super) fn new(scheduler: &mut Scheduler, dtype: Dtype, sha256: &str) -> Self {
        let format = match scheduler.model().kv_format() {
            KvFormat::F32 => "f32",
            KvFormat::Q8 => "q8",
        };
        let fingerprint = format!("{sha256}:{}:{format}:{ARITHMETIC}", dtype.name());
        let model = ModelRef {
            sha256: sha256.to_owned(),
            dtype: dtype.name().to_owned(),
        };
        scheduler.set_kv_root(BlockName::root(&[&fingerprint]));
        Self {
            states: States::new(model, fingerprint, scheduler.shared_tokenizer()),
            generations: HashMap::new(),
            awaited: HashMap::new(),
            commits: HashMap::new(),
            held: HashMap::new(),
            next_commit: 1,
        }
    }
}

/// A generation of a state: its text, and where its random numbers stand
/// unless the options have a seed.
pub(super) struct StateRequest {
    pub tokens: Vec<u32>,
    pub rng: RngState,
    pub options: GenerateOptions,
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    js_sys::Date::now().max(0.0) as u64
}

#[wasm_bindgen]
impl Engine {
    /// Runs a command in JSON; the answer in JSON.
    #[wasm_bindgen(js_name = stateCommand)]
    pub fn state_command(&mut self, command: &str) -> Result<String> {
        let (model, tokenizer, blocks) = self.scheduler.parts();
        let context = Context {
            model,
            tokenizer,
            blocks,
            now: now(),
        };
        self.states.states.run(command, context)
    }

    /// Sets how many bytes of KV blocks are kept in memory; what was kept is
    /// forgotten.
    #[wasm_bindgen(js_name = setKvBudget)]
    pub fn set_kv_budget(&mut self, bytes: f64) {
        self.scheduler.set_kv_budget(bytes as usize);
    }

    /// Continues a state's text, with options in JSON over those of the state.
    #[wasm_bindgen(js_name = addStateGeneration)]
    pub fn add_state_generation(&mut self, id: &str, options: &str) -> Result<JobId> {
        let asked = self.state_request(id, options)?;
        let states = &self.states.states;
        let root = states.root(states.get(id)?);
        let job = self
            .scheduler
            .add_continuation(asked.tokens, root, asked.rng, &asked.options)?;
        let begun = super::engine::milliseconds();
        self.states.generations.insert(job, (id.to_owned(), begun));
        Ok(job)
    }

    /// Runs the model over a state's text, so that its KV cache is there. With
    /// `scored_from`, scores the tokens from there on.
    #[wasm_bindgen(js_name = addStateReading)]
    pub fn add_state_reading(&mut self, id: &str, scored_from: Option<u32>) -> Result<JobId> {
        let states = &self.states.states;
        let state = states.get(id)?;
        let mut tokens = state.tokens.to_vec();
        tokens.truncate(self.scheduler.model().config().n_positions);
        let root = states.root(state);
        let scored_from = scored_from.map(|from| from as usize);
        self.scheduler.add_reading(tokens, root, scored_from)
    }

    /// Compares what the model expects in two states.
    #[wasm_bindgen(js_name = addStateComparison)]
    pub fn add_state_comparison(&mut self, a: &str, b: &str) -> Result<JobId> {
        let n_positions = self.scheduler.model().config().n_positions;
        let tokenizer = self.scheduler.tokenizer().ok();
        let states = &self.states.states;
        let compared = states.to_compare([a, b], n_positions, tokenizer)?;
        self.scheduler
            .add_comparison(compared.texts, compared.roots, &compared.pairs)
    }

    /// What to keep of a state's generation in case the tab ends now;
    /// `undefined` where the job has ended.
    #[wasm_bindgen(js_name = stateDraft)]
    pub fn state_draft(&self, job: JobId) -> Result<Option<Vec<u8>>> {
        let (Some((id, _)), Some(continuation)) = (
            self.states.generations.get(&job),
            self.scheduler.continuation(job),
        ) else {
            return Ok(None);
        };
        let Continuation { tokens, rng } = continuation?;
        self.states.states.draft(id, tokens, rng).map(Some)
    }

    /// Takes up a draft; false where its state has moved on.
    #[wasm_bindgen(js_name = recoverDraft)]
    pub fn recover_draft(&mut self, id: &str, bytes: &[u8]) -> Result<bool> {
        self.states.states.recover(id, bytes, now())
    }

    /// What to write for these states, and all deletions.
    #[wasm_bindgen(js_name = stateCommit)]
    pub fn state_commit(&mut self, ids: Vec<String>) -> Result<JsCommit> {
        let blocks = self.scheduler.blocks();
        let Some(commit) = self.states.states.commit(&ids, blocks)? else {
            return Ok(JsValue::UNDEFINED.unchecked_into());
        };
        let handle = self.states.next_commit;
        self.states.next_commit += 1;
        let object = commit_object(&commit, |name| {
            let block = blocks.get(name)?;
            Some(record::seal(Kind::Block, block))
        });
        errors::set(&object, "handle", &handle.into());
        self.states.commits.insert(handle, commit);
        Ok(object.unchecked_into())
    }

    /// Says whether a commit was carried out.
    pub fn committed(&mut self, handle: u32, done: bool) {
        if let (Some(commit), true) = (self.states.commits.remove(&handle), done) {
            self.states.states.committed(&commit);
        }
    }

    /// Remembers how a state stands, until [`release_state`](Self::release_state).
    #[wasm_bindgen(js_name = holdState)]
    pub fn hold_state(&mut self, id: &str) -> Result<()> {
        let state = self.states.states.get(id)?.clone();
        self.states.held.insert(id.to_owned(), state);
        Ok(())
    }

    /// Ends that, and with `undo` makes the state what it was.
    #[wasm_bindgen(js_name = releaseState)]
    pub fn release_state(&mut self, id: &str, undo: bool) {
        if let (Some(state), true) = (self.states.held.remove(id), undo) {
            self.states.states.put_back(state);
        }
    }

    /// Storage lacks revisions that were thought to be there.
    #[wasm_bindgen(js_name = revisionsMissing)]
    pub fn revisions_missing(&mut self, ids: Vec<String>) {
        let ids: Vec<RevisionId> = ids.iter().map(|id| RevisionId::from(&id[..])).collect();
        self.states.states.revisions_missing(&ids);
    }

    /// Takes in the names of all blocks in storage; those that are none are
    /// passed over.
    #[wasm_bindgen(js_name = readBlockNames)]
    pub fn read_block_names(&mut self, names: Vec<String>) {
        let names = names.iter().filter_map(|name| name.parse().ok());
        self.states.states.set_blocks_stored(names);
    }

    #[wasm_bindgen(js_name = readRevision)]
    pub fn read_revision(&mut self, id: &str, bytes: &[u8]) -> Result<()> {
        self.states.states.read_revision(id, bytes)
    }

    /// Ids of revisions that were read ones' parents and are not here.
    #[wasm_bindgen(js_name = wantedRevisions)]
    pub fn wanted_revisions(&self) -> Vec<String> {
        self.states.states.wanted()
    }

    /// Puts the revisions that were read into their places; how many have none.
    #[wasm_bindgen(js_name = connectRevisions)]
    pub fn connect_revisions(&mut self) -> usize {
        self.states.states.connect()
    }

    /// Ids of the revisions that a state's record names and that are not here.
    #[wasm_bindgen(js_name = revisionsOf)]
    pub fn revisions_of(&self, bytes: &[u8]) -> Result<Vec<String>> {
        self.states.states.revisions_of(bytes)
    }

    #[wasm_bindgen(js_name = readState)]
    pub fn read_state(&mut self, id: &str, version: f64, fence: f64, bytes: &[u8]) -> Result<()> {
        let states = &mut self.states.states;
        states.read_state(id, version as u64, fence as u64, bytes)?;
        states.pin_blocks(self.scheduler.blocks());
        Ok(())
    }

    /// Another tab has written or deleted the state; the id of the copy made of
    /// what was not stored of it here.
    #[wasm_bindgen(js_name = loseState)]
    pub fn lose_state(&mut self, id: &str) -> Result<Option<String>> {
        self.states.states.lose(id, now())
    }

    /// Which owner may write a state, as far as is known here.
    #[wasm_bindgen(js_name = stateFence)]
    pub fn state_fence(&self, id: &str) -> f64 {
        let state = self.states.states.get(id);
        state.map_or(0.0, |state| state.fence as f64)
    }

    /// The version of a state in storage, as far as is known here; 0: none.
    #[wasm_bindgen(js_name = stateVersion)]
    pub fn state_version(&self, id: &str) -> f64 {
        let state = self.states.states.get(id);
        state.map_or(0.0, |state| state.version as f64)
    }

    /// Names of the stored blocks that a state's text needs and memory lacks.
    #[wasm_bindgen(js_name = missingBlocks)]
    pub fn missing_blocks(&mut self, id: &str) -> Result<Vec<String>> {
        let missing = self
            .states
            .states
            .missing_blocks(id, self.scheduler.blocks())?;
        let mut names = Vec::new();
        for block in missing {
            let name = block.name.to_string();
            self.states.awaited.insert(name.clone(), block);
            names.push(name);
        }
        Ok(names)
    }

    /// Takes a block in that `missingBlocks` named; without bytes, storage does
    /// not have it.
    #[wasm_bindgen(js_name = readBlock)]
    pub fn read_block(&mut self, name: &str, bytes: Option<Vec<u8>>) -> Result<()> {
        let Some(place) = self.states.awaited.remove(name) else {
            return Ok(());
        };
        let read = match &bytes {
            None => None,
            Some(bytes) => {
                let empty = self.scheduler.model().new_kv();
                let content = record::unseal(Kind::Block, bytes);
                Some(content.and_then(|content| empty.block_from(content)))
            }
        };
        match read {
            Some(Ok(block)) => {
                let blocks = self.scheduler.blocks();
                blocks.add(place.parent, place.depth, &place.tokens, block);
                Ok(())
            }
            failed => {
                self.states.states.block_lost(&place.name);
                failed.map_or(Ok(()), |error| error.map(drop))
            }
        }
    }
}

impl Engine {
    /// A state's generation has ended: its text goes on.
    pub(super) fn continued(
        &mut self,
        job: JobId,
        result: &GenerationResult,
        continuation: Continuation,
    ) -> Result<JsValue> {
        let Some((id, begun)) = self.states.generations.remove(&job) else {
            return Err(Error::Internal("a generation without a state".into()));
        };
        let (kind, object) = match self.continue_state(&id, begun, result, continuation) {
            Err(error) => failed(&error),
            Ok(info) => {
                let object = JsValue::from(js_sys::Object::new());
                errors::set(&object, "result", &to_value(result)?);
                errors::set(&object, "state", &info.into());
                ("continued", object)
            }
        };
        errors::set(&object, "type", &kind.into());
        Ok(object)
    }

    /// A state's text goes on; the state in JSON.
    pub(super) fn continue_state(
        &mut self,
        id: &str,
        begun: f64,
        result: &GenerationResult,
        continuation: Continuation,
    ) -> Result<String> {
        self.advance(id, begun, result.finish_reason, continuation)?;
        let tokenizer = self.scheduler.tokenizer().ok();
        let mut info = self.states.states.info(id, tokenizer)?;
        info.tokens_evaluated = result.usage.tokens_evaluated;
        Ok(String::from_utf8_lossy(&record::to_json(&info)?).into_owned())
    }

    /// What a generation of a state is asked for, with options in JSON over
    /// those of the state.
    pub(super) fn state_request(&self, id: &str, options: &str) -> Result<StateRequest> {
        let changes = serde_json::from_str(options)
            .map_err(|error| Error::argument("options", error.to_string()))?;
        let changes = with_seed(changes)?;
        let states = &self.states.states;
        let head = states.head(id)?;
        let vocab_size = self.scheduler.model().config().vocab_size;
        let mut options = head.attributes.options(&changes, vocab_size)?;
        // Its own seed goes on where it stands; another begins.
        if !changes.contains_key("seed") {
            options.seed = None;
        }
        Ok(StateRequest {
            tokens: states.get(id)?.tokens.to_vec(),
            rng: head.revision.rng,
            options,
        })
    }

    fn advance(
        &mut self,
        id: &str,
        begun: f64,
        finish_reason: FinishReason,
        Continuation { tokens, rng }: Continuation,
    ) -> Result<()> {
        let rng = rng.unwrap_or(self.states.states.head(id)?.revision.rng);
        let change = Change {
            operation: Operation::Generate { finish_reason },
            tokens,
            attributes: None,
            rng,
            duration: super::engine::milliseconds() - begun,
        };
        self.states.states.advance(id, change, now())?;
        self.states.states.pin_blocks(self.scheduler.blocks());
        Ok(())
    }

    /// What a reading or a comparison has shown.
    pub(super) fn told(&self, event: Event) -> Result<JsValue> {
        let json = match event {
            Event::Read(result) => record::to_json(&result)?,
            Event::Compared(result) => {
                let tokenizer = self.scheduler.tokenizer().ok();
                record::to_json(&state_diff::Distributions::new(result, tokenizer))?
            }
            _ => return Err(Error::Internal("an event of another kind".into())),
        };
        let object = JsValue::from(js_sys::Object::new());
        errors::set(&object, "type", &"told".into());
        errors::set(
            &object,
            "answer",
            &String::from_utf8_lossy(&json)[..].into(),
        );
        Ok(object)
    }
}

fn commit_object(commit: &Commit, block: impl Fn(&BlockName) -> Option<Vec<u8>>) -> JsValue {
    let list = |items: Vec<JsValue>| JsValue::from(items.into_iter().collect::<js_sys::Array>());
    let bytes = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => js_sys::Uint8Array::from(bytes).into(),
        None => JsValue::NULL,
    };
    let object_of = |fields: &[(&str, JsValue)]| {
        let object = JsValue::from(js_sys::Object::new());
        for (name, value) in fields {
            errors::set(&object, name, value);
        }
        object
    };
    let states = commit.states.iter().map(|write| {
        object_of(&[
            ("id", write.id[..].into()),
            ("version", (write.version as f64).into()),
            ("fence", (write.fence as f64).into()),
            ("bytes", bytes(write.record.as_deref())),
        ])
    });
    let revisions = commit.revisions.iter().map(|(id, content)| {
        object_of(&[
            ("id", id.as_str().into()),
            ("bytes", bytes(content.as_deref())),
        ])
    });
    let new_blocks = commit.new_blocks.iter().filter_map(|name| {
        let content = block(name)?;
        Some(object_of(&[
            ("name", name.to_string()[..].into()),
            ("bytes", bytes(Some(&content))),
        ]))
    });
    let dead_blocks = commit.dead_blocks.iter().map(|name| {
        object_of(&[
            ("name", name.to_string()[..].into()),
            ("bytes", JsValue::NULL),
        ])
    });
    let expects = commit.expects.as_ref().map(|known| {
        let pairs = known
            .iter()
            .map(|(id, version)| list(vec![id[..].into(), (*version as f64).into()]));
        list(pairs.collect())
    });
    object_of(&[
        ("states", list(states.collect())),
        ("revisions", list(revisions.collect())),
        (
            "requires",
            list(
                commit
                    .requires
                    .iter()
                    .map(|id| id.as_str().into())
                    .collect(),
            ),
        ),
        ("blocks", list(new_blocks.chain(dead_blocks).collect())),
        ("expects", expects.unwrap_or(JsValue::NULL)),
    ])
}
