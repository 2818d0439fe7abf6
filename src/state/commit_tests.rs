//! What commits write, what is read back of it, and what damage does.

use crate::generate::rng::RngState;
use crate::model::BlockName;
use crate::model::kv::BLOCK_TOKENS;
use crate::state::lab::{FINGERPRINT, Lab, Outcome, Store, all_logits, model, tokenizer};
use crate::state::record::{self, Kind};
use crate::state::{ModelRef, Operation, Revision, RevisionId};
use base64_of_tests::{decode, encode};
use serde_json::{Value, json};

/// A state with two blocks, a checkpoint and three revisions, stored.
fn stored() -> (Lab, Store, String) {
    let mut lab = Lab::new();
    let state = lab.create(&"begin ".repeat(10), json!({ "seed": 1, "maxTokens": 10 }));
    lab.ok(json!({ "command": "checkpoint", "id": state, "name": "first" }));
    lab.append(&state, "and go on");
    lab.generate(&state, json!({})).unwrap();
    let mut store = Store::default();
    lab.commit_all(&mut store);
    (lab, store, state)
}

fn ids(state: &str) -> Vec<String> {
    vec![state.to_owned()]
}

#[test]
fn what_is_stored_once_is_not_written_again() {
    let (mut lab, mut store, state) = stored();
    assert_eq!(
        (
            store.states.len(),
            store.revisions.len(),
            store.blocks.len()
        ),
        (1, 3, 2)
    );
    lab.append(&state, "!");
    let commit = lab
        .states
        .commit(&ids(&state), lab.scheduler.blocks())
        .unwrap()
        .unwrap();
    assert_eq!((commit.states.len(), commit.revisions.len()), (1, 1));
    assert!(commit.new_blocks.is_empty() && commit.expects.is_none());
    assert_eq!(store.apply(&commit, lab.scheduler.blocks()), Outcome::Done);
    lab.states.committed(&commit);
    // A fork writes nothing but itself.
    let fork = lab.fork(&state, Value::Null);
    let commit = lab
        .states
        .commit(&ids(&fork), lab.scheduler.blocks())
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            commit.states.len(),
            commit.revisions.len(),
            commit.new_blocks.len()
        ),
        (1, 0, 0)
    );
    assert_eq!(commit.requires.len(), 1);
}

#[test]
fn a_restored_state_runs_no_more_than_its_last_block() {
    let (lab, store, state) = stored();
    let mut other = Lab::open(&store);
    assert_eq!(other.fetch_blocks(&store, &state), 2);
    let read = other.read(&state, None);
    assert_eq!(
        read.tokens_evaluated as usize,
        lab.tokens(&state).len() - 2 * BLOCK_TOKENS
    );
    assert_eq!(other.tokens(&state), lab.tokens(&state));
    let exact = all_logits(&lab.tokens(&state)).pop().unwrap();
    assert_eq!(other.cached_logits(&state), exact);
}

#[test]
fn what_changes_while_a_commit_is_written_is_still_to_be_written() {
    let (mut lab, mut store, state) = stored();
    lab.append(&state, "one");
    let commit = lab
        .states
        .commit(&ids(&state), lab.scheduler.blocks())
        .unwrap()
        .unwrap();
    assert_eq!(store.apply(&commit, lab.scheduler.blocks()), Outcome::Done);
    lab.append(&state, "two");
    lab.states.committed(&commit);
    assert_eq!(lab.info(&state)["saved"], false);
    lab.commit_all(&mut store);
    assert_eq!(Lab::open(&store).text(&state), lab.text(&state));
}

#[test]
fn a_state_that_is_deleted_while_it_is_first_written_stays_deleted() {
    let mut lab = Lab::new();
    let mut store = Store::default();
    let state = lab.create(&"x".repeat(40), json!({}));
    lab.read(&state, None);
    let commit = lab
        .states
        .commit(&ids(&state), lab.scheduler.blocks())
        .unwrap()
        .unwrap();
    lab.ok(json!({ "command": "delete", "ids": [state] }));
    assert_eq!(store.apply(&commit, lab.scheduler.blocks()), Outcome::Done);
    lab.states.committed(&commit);
    lab.commit_all(&mut store);
    assert_eq!(store, Store::default());
}

#[test]
fn a_deletion_spares_what_another_tab_has_forked_meanwhile() {
    let (mut lab, mut store, state) = stored();
    let mut other = Lab::open(&store);
    let fork = other.fork(&state, Value::Null);
    other.commit_all(&mut store);
    let before = store.clone();
    lab.ok(json!({ "command": "delete", "ids": [state] }));
    assert_eq!(lab.try_commit(&mut store, &[]), Outcome::Outdated);
    assert_eq!(store, before);
    lab.commit_all(&mut store);
    store.check();
    assert_eq!(store.states.len(), 1);
    assert_eq!((store.revisions.len(), store.blocks.len()), (3, 2));
    assert_eq!(lab.text(&fork), other.text(&fork));
    lab.ok(json!({ "command": "delete", "ids": [fork] }));
    lab.commit_all(&mut store);
    assert_eq!(store, Store::default());
}

#[test]
fn a_history_that_another_tab_has_deleted_is_written_again_whole() {
    let (mut lab, mut store, state) = stored();
    for letter in ["a", "b", "c", "d", "e", "f", "g"] {
        lab.append(&state, letter);
    }
    lab.commit_all(&mut store);
    let mut other = Lab::open(&store);
    let fork = other.fork(&state, Value::Null);
    lab.ok(json!({ "command": "delete", "ids": [state] }));
    lab.commit_all(&mut store);
    assert_eq!(store, Store::default());
    other.commit(&mut store, &ids(&fork));
    store.check();
    assert_eq!(store.revisions.len(), 10);
    assert_eq!(Lab::open(&store).text(&fork), other.text(&fork));
}

#[test]
fn of_two_tabs_that_write_a_state_the_second_keeps_its_text_as_a_copy() {
    let (mut lab, mut store, state) = stored();
    let mut other = Lab::open(&store);
    lab.append(&state, " here");
    other.append(&state, " there");
    lab.commit_all(&mut store);
    assert_eq!(other.commit(&mut store, &ids(&state)), ids(&state));
    let lost = other.text(&state);
    let copy = other.states.lose(&state, 1).unwrap().unwrap();
    assert_eq!(other.load(&store), []);
    other.commit_all(&mut store);
    assert_eq!(other.text(&copy), lost);
    assert_eq!(other.text(&state), lab.text(&state));
    assert_eq!(store.states.len(), 2);
    // What is stored needs no copy.
    assert_eq!(other.states.lose(&copy, 1).unwrap(), None);
    assert_eq!(other.states.lose("nothing", 1).unwrap(), None);
}

#[test]
fn a_deletion_that_another_tab_has_overtaken_does_not_block_what_follows() {
    let (mut lab, mut store, state) = stored();
    let mut other = Lab::open(&store);
    other.append(&state, " still in use");
    other.commit_all(&mut store);
    lab.ok(json!({ "command": "delete", "ids": [state] }));
    assert_eq!(lab.commit(&mut store, &[]), ids(&state));
    lab.states.lose(&state, 1).unwrap();
    assert_eq!(lab.load(&store), []);
    lab.append(&state, ", and here");
    lab.commit_all(&mut store);
    store.check();
    assert_eq!(Lab::open(&store).text(&state), lab.text(&state));
    assert_eq!((store.states.len(), store.blocks.len()), (1, 2));
}

#[test]
fn an_imported_file_takes_no_id_that_storage_is_yet_to_forget() {
    let (mut lab, mut store, state) = stored();
    let file = lab.export(&ids(&state), true, &store);
    lab.ok(json!({ "command": "delete", "ids": [state] }));
    let imported = lab.import(&file, usize::MAX).unwrap();
    assert_ne!(imported, ids(&state));
    lab.commit_all(&mut store);
    store.check();
    assert_eq!(store.states.keys().cloned().collect::<Vec<_>>(), imported);
    assert_eq!(Lab::open(&store).text(&imported[0]), lab.text(&imported[0]));
}

#[test]
fn a_draft_is_taken_up_where_the_state_still_stands_and_nowhere_else() {
    let (mut lab, store, state) = stored();
    let job = lab
        .begin_generation(&state, json!({ "maxTokens": 20 }))
        .unwrap();
    for _ in 0..8 {
        lab.scheduler.step();
    }
    let left = lab.scheduler.continuation(job).unwrap().unwrap();
    let draft = lab
        .states
        .draft(&state, left.tokens.clone(), left.rng)
        .unwrap();
    let whole = lab.end_generation(&state, job).unwrap();
    let mut other = Lab::open(&store);
    assert!(other.states.recover(&state, &draft, 5).unwrap());
    assert_eq!(other.tokens(&state), left.tokens);
    assert!(!other.states.recover(&state, &draft, 5).unwrap());
    let more = 20 - (left.tokens.len() - whole.prompt_tokens.len());
    other
        .generate(&state, json!({ "maxTokens": more }))
        .unwrap();
    assert_eq!(other.tokens(&state), lab.tokens(&state));
    let mut third = Lab::open(&store);
    third.append(&state, "moved on");
    assert!(!third.states.recover(&state, &draft, 5).unwrap());
    for bit in [0, 50, 100, 300] {
        let mut damaged = draft.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(
            Lab::open(&store)
                .states
                .recover(&state, &damaged, 5)
                .is_err()
        );
    }
}

/// Every record of the store, as something that can be changed.
fn damage_each(store: &Store, mut with: impl FnMut(Store, Kind, &str)) {
    for id in store.states.keys() {
        with(store.clone(), Kind::State, id);
    }
    for id in store.revisions.keys() {
        with(store.clone(), Kind::Revision, id);
    }
    for name in store.blocks.keys() {
        with(store.clone(), Kind::Block, &name.to_string());
    }
}

fn record_of<'s>(store: &'s mut Store, kind: Kind, id: &str) -> &'s mut Vec<u8> {
    match kind {
        Kind::State => &mut store.states.get_mut(id).unwrap().2,
        Kind::Revision => store.revisions.get_mut(id).unwrap(),
        _ => store.blocks.get_mut(&id.parse().unwrap()).unwrap(),
    }
}

/// Something that happens to a record at a byte.
type Damage<'d> = dyn Fn(&mut Vec<u8>) + 'd;

#[test]
fn of_a_damaged_database_the_rest_loads_and_the_text_stays() {
    let (mut lab, mut store, state) = stored();
    let intact = lab.create("another", json!({}));
    lab.commit_all(&mut store);
    let (text, whole) = (lab.text(&state), store);
    let logits = all_logits(&lab.tokens(&state)).pop().unwrap();
    damage_each(&whole, |store, kind, id| {
        let len = record_of(&mut store.clone(), kind, id).len();
        let step = if kind == Kind::Block { 97 } else { 1 };
        for at in (0..len).step_by(step) {
            let mut changes: Vec<Box<Damage>> = vec![
                Box::new(|record| record[at] ^= 0x10),
                Box::new(|record| record.truncate(at)),
            ];
            if at == 4 {
                changes.push(Box::new(|record| record[4] = 3));
            }
            for change in changes {
                let mut store = store.clone();
                change(record_of(&mut store, kind, id));
                let mut lab = Lab::new();
                let damaged = lab.load(&store);
                let is_unnoticed = (at == 7 || at == 4 || at == 5) && damaged.is_empty();
                if id != intact && kind == Kind::State {
                    assert!(is_unnoticed || damaged[0].0 == id, "byte {at}");
                    if !damaged.is_empty() {
                        assert!(lab.states.get(&state).is_err());
                        assert_eq!(lab.text(&intact), "another");
                        continue;
                    }
                } else if kind == Kind::Revision {
                    assert!(is_unnoticed || damaged[0].0 == id, "byte {at}");
                }
                if lab.states.get(&state).is_err() {
                    continue;
                }
                assert_eq!(lab.text(&state), text);
                lab.fetch_blocks(&store, &state);
                assert_eq!(lab.cached_logits(&state), logits);
                // Stored again, it is whole.
                lab.commit_all(&mut store);
                let mut again = Lab::new();
                again.load(&store);
                assert_eq!(again.text(&state), text);
            }
        }
    });
}

#[test]
fn a_missing_record_costs_no_more_than_itself() {
    let (lab, whole, state) = stored();
    let logits = all_logits(&lab.tokens(&state)).pop().unwrap();
    damage_each(&whole, |mut store, kind, id| {
        match kind {
            Kind::State => return,
            Kind::Revision => drop(store.revisions.remove(id)),
            _ => drop(store.blocks.remove(&id.parse().unwrap())),
        }
        let mut other = Lab::open(&store);
        assert_eq!(other.text(&state), lab.text(&state));
        other.fetch_blocks(&store, &state);
        assert_eq!(other.cached_logits(&state), logits);
        if kind == Kind::Revision {
            assert_eq!(other.info(&state)["saved"], false);
            let history = other.ok(json!({ "command": "history", "id": state }));
            assert_eq!(history[0]["operation"], "import");
            other.commit_all(&mut store);
            assert_eq!(Lab::open(&store).text(&state), lab.text(&state));
        }
    });
}

#[test]
fn a_newer_record_is_told_as_such_and_the_rest_loads() {
    let (_, whole, state) = stored();
    damage_each(&whole, |mut store, kind, id| {
        record_of(&mut store, kind, id)[4] = 9;
        let mut lab = Lab::new();
        let damaged = lab.load(&store);
        match kind {
            Kind::Block => {
                lab.fetch_blocks(&store, &state);
                let expected = all_logits(&lab.tokens(&state)).pop().unwrap();
                assert_eq!(lab.cached_logits(&state), expected);
            }
            _ => assert_eq!(damaged, [(id.to_owned(), "unsupported-version")]),
        }
    });
}

#[test]
fn a_state_of_another_model_is_read_and_its_blocks_are_left_alone() {
    let (lab, store, state) = stored();
    let mut other = Lab::new();
    let model = ModelRef {
        sha256: "other".into(),
        dtype: "q4".into(),
    };
    other.states = crate::state::States::new(model, "other:q4".into(), Some(tokenizer()));
    assert_eq!(other.load(&store), []);
    assert_eq!(other.text(&state), lab.text(&state));
    assert_eq!(other.fetch_blocks(&store, &state), 0);
    let fresh = other.create("x", json!({}));
    other.ok(json!({ "command": "delete", "ids": [fresh] }));
    let mut after = store.clone();
    other.commit_all(&mut after);
    assert_eq!(after, store);
}

/// What version 1 wrote: records without what came later.
struct Version1 {
    states: Vec<(String, Vec<u8>)>,
    revisions: Vec<(String, Vec<u8>)>,
    blocks: Vec<(String, Vec<u8>)>,
}

fn sealed_by_version_1(kind: Kind, content: &[u8]) -> Vec<u8> {
    let mut record = record::seal(kind, content);
    record[4] = 1;
    record
}

impl Version1 {
    fn new() -> Self {
        let text = "State A begins here, goes on, and is longer than two blocks are.";
        let tokens = tokenizer().encode(text, false).unwrap().ids;
        let revision = |parents: &[&RevisionId], operation, keep, appended: &[u32]| Revision {
            parents: parents.iter().copied().cloned().collect(),
            operation,
            keep,
            appended: appended.to_vec(),
            attributes: parents.is_empty().then(|| crate::state::Attributes {
                config: json!({ "seed": 5, "maxTokens": 8 })
                    .as_object()
                    .unwrap()
                    .clone(),
                ..Default::default()
            }),
            rng: RngState {
                seed: 5,
                position: 0,
            },
            model: ModelRef {
                sha256: "tiny".into(),
                dtype: "q8".into(),
            },
            created: 1_700_000_000_000,
            duration_ms: 0,
        };
        let id = |revision: &Revision| RevisionId::of(&revision.to_json().unwrap());
        let first = revision(&[], Operation::Create, 0, &tokens[..20]);
        let second = revision(&[&id(&first)], Operation::Append, 20, &tokens[20..]);
        let b = tokenizer().encode("State B", false).unwrap().ids;
        let other = revision(&[], Operation::Create, 0, &b);
        let state = |name: &str, head: &Revision| {
            let record = json!({
                "id": name,
                "head": id(head),
                "checkpoints": if name == "state-a" {
                    json!([{ "name": "start", "revision": id(&first), "created": 1_700_000_000_000u64 }])
                } else {
                    json!([])
                },
                "forkedFrom": null,
                "created": 1_700_000_000_000u64,
                "updated": 1_700_000_000_000u64,
            });
            let sealed = sealed_by_version_1(Kind::State, record.to_string().as_bytes());
            (name.to_owned(), sealed)
        };
        let mut lab = Lab::new();
        let job = lab
            .scheduler
            .add_reading(tokens.clone(), BlockName::root(&[FINGERPRINT]), None);
        lab.drain(job.unwrap());
        let names = BlockName::root(&[FINGERPRINT]).chain(&tokens[..2 * BLOCK_TOKENS]);
        let blocks = names.map(|name| {
            let block = lab.scheduler.blocks().get(&name).unwrap();
            (name.to_string(), sealed_by_version_1(Kind::Block, block))
        });
        let blocks = blocks.collect();
        let sealed = |revision: &Revision| {
            let json = revision.to_json().unwrap();
            (
                id(revision).to_string(),
                sealed_by_version_1(Kind::Revision, &json),
            )
        };
        Self {
            states: vec![state("state-a", &second), state("state-b", &other)],
            revisions: [&first, &second, &other].map(sealed).into(),
            blocks,
        }
    }

    /// As the fixture has it.
    fn json(&self) -> String {
        let records = |key: &str, records: &[(String, Vec<u8>)]| -> Value {
            let records = records.iter();
            records
                .map(|(id, bytes)| json!({ key: id, "bytes": encode(bytes) }))
                .collect()
        };
        let all = json!({
            "states": records("id", &self.states),
            "revisions": records("id", &self.revisions),
            "blocks": records("name", &self.blocks),
        });
        serde_json::to_string_pretty(&all).unwrap() + "\n"
    }
}

fn fixture_path() -> String {
    format!(
        "{}/tests/fixtures/states-v1/database.json",
        env!("CARGO_MANIFEST_DIR")
    )
}

#[test]
fn the_fixture_is_what_version_1_writes() {
    let written = std::fs::read_to_string(fixture_path()).unwrap();
    assert_eq!(Version1::new().json(), written);
}

fn read_version_1(records: Version1) {
    let states = records.states.into_iter();
    let blocks = records.blocks.into_iter();
    let mut store = Store {
        // The upgrade of the database gives states their versions.
        states: states.map(|(id, bytes)| (id, (1, 0, bytes))).collect(),
        revisions: records.revisions.into_iter().collect(),
        blocks: blocks
            .map(|(name, bytes)| (name.parse().unwrap(), bytes))
            .collect(),
    };
    let mut lab = Lab::open(&store);
    assert!(lab.text("state-a").starts_with("State A begins here"));
    assert_eq!(lab.text("state-b"), "State B");
    let history = lab.ok(json!({ "command": "history", "id": "state-a" }));
    assert_eq!(history[1]["checkpoints"], json!(["start"]));
    assert_eq!(lab.fetch_blocks(&store, "state-a"), 2);
    let exact = all_logits(&lab.tokens("state-a")).pop().unwrap();
    assert_eq!(lab.cached_logits("state-a"), exact);
    let info = lab.info("state-a");
    assert_eq!(
        (&info["pinned"], &info["saved"]),
        (&json!(false), &json!(true))
    );
    lab.generate("state-a", json!({})).unwrap();
    lab.commit_all(&mut store);
    store.check();
    assert_eq!(Lab::open(&store).text("state-a"), lab.text("state-a"));
}

#[test]
fn records_of_version_1_are_read_and_go_on_as_this_version_s() {
    read_version_1(Version1::new());
    let fixture: Value = serde_json::from_slice(&std::fs::read(fixture_path()).unwrap()).unwrap();
    let records = |list: &str, key: &str| {
        let records = fixture[list].as_array().unwrap().iter();
        let text = |record: &Value, key: &str| record[key].as_str().unwrap().to_owned();
        records
            .map(|record| (text(record, key), decode(&text(record, "bytes"))))
            .collect()
    };
    read_version_1(Version1 {
        states: records("states", "id"),
        revisions: records("revisions", "id"),
        blocks: records("blocks", "name"),
    });
    assert_eq!(model().new_kv().block_bytes() + 16, {
        let blocks: Vec<(String, Vec<u8>)> = records("blocks", "name");
        blocks[0].1.len()
    });
}

/// Base64 (RFC 4648), as the fixture has its bytes.
mod base64_of_tests {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub fn encode(bytes: &[u8]) -> String {
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let number = chunk
                .iter()
                .fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
            let number = number << (8 * (3 - chunk.len()));
            for digit in 0..4 {
                let place = (number >> (18 - 6 * digit)) as usize & 63;
                let is_filled = digit <= chunk.len();
                text.push(if is_filled {
                    char::from(DIGITS[place])
                } else {
                    '='
                });
            }
        }
        text
    }

    pub fn decode(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chunk in text.trim_end_matches('=').as_bytes().chunks(4) {
            let value = |digit: &u8| DIGITS.iter().position(|d| d == digit).unwrap() as u32;
            let number = chunk
                .iter()
                .fold(0u32, |sum, digit| sum << 6 | value(digit));
            let number = number << (6 * (4 - chunk.len()));
            bytes.extend_from_slice(&number.to_be_bytes()[1..chunk.len()]);
        }
        bytes
    }
}
