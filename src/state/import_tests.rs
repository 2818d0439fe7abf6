//! Files that are wrong, by accident or on purpose.

use super::*;
use crate::error::Result;
use crate::generate::rng::RngState;
use crate::state::lab::{Lab, Store, all_logits, model, states};
use crate::state::record::to_json;
use crate::state::revision::{Attributes, ModelRef, Operation, Revision};
use crate::state::states::Checkpoint;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A state with blocks, a checkpoint and several revisions, and another.
fn lab() -> (Lab, Vec<String>) {
    let mut lab = Lab::new();
    let state = lab.create(&"begin ".repeat(12), json!({ "seed": 1, "maxTokens": 6 }));
    lab.ok(json!({ "command": "checkpoint", "id": state, "name": "first" }));
    lab.generate(&state, json!({})).unwrap();
    lab.ok(json!({ "command": "rollback", "id": state, "to": { "steps": 1 } }));
    let fork = lab.fork(&state, json!({ "tokens": 10 }));
    lab.ok(json!({ "command": "update", "id": fork, "metadata": {
        "__proto__": { "x": 1 }, "constructor": "c", "prototype": null, "toString": [1.25e-7],
    } }));
    let mut ids = vec![state, fork];
    ids.sort();
    (lab, ids)
}

fn binary(lab: &mut Lab, ids: &[String]) -> Vec<u8> {
    lab.export(ids, true, &Store::default())
}

/// The manifest of a new file, without blocks.
fn manifest(lab: &mut Lab, ids: &[String]) -> Manifest {
    read_json(&lab.export_json(ids)).unwrap().0
}

/// A file in JSON whose hash is right, whatever it says.
fn signed(mut manifest: Manifest) -> Vec<u8> {
    manifest.sha256 = Some(manifest.digest().unwrap());
    to_json(&manifest).unwrap()
}

/// A binary file whose hash is right, of a manifest in JSON and what follows.
fn packed(json: &[u8], declared: usize, rest: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::block::compress(json);
    let mut file = MAGIC.to_vec();
    for number in [VERSION, packed.len() as u32, declared as u32] {
        file.extend(number.to_le_bytes());
    }
    file.extend(packed);
    file.extend(rest);
    let hash = Sha256::digest(&file);
    file.extend(hash);
    file
}

/// All that can be seen of a store, times of use apart.
fn seen(lab: &mut Lab) -> Value {
    let mut list = lab.ok(json!({ "command": "list" }));
    for item in list["items"].as_array_mut().unwrap() {
        item["used"] = Value::Null;
    }
    let usage = lab.ok(json!({ "command": "usage" }));
    json!([
        list,
        lab.ok(json!({ "command": "graph" })),
        usage["revisions"],
        usage["kv"]["blocks"]
    ])
}

/// Takes a file in or leaves all as it was, and what was taken in is sound.
fn import_or_nothing(file: &[u8], piece: usize) -> Result<Vec<String>> {
    let mut lab = Lab::new();
    lab.create("was here", json!({}));
    let before = seen(&mut lab);
    match lab.import(file, piece) {
        Err(error) => {
            assert_eq!(seen(&mut lab), before, "{error}");
            Err(error)
        }
        Ok(ids) => {
            for id in &ids {
                lab.info(id);
                lab.ok(json!({ "command": "history", "id": id }));
                lab.ok(json!({ "command": "tokens", "id": id }));
                lab.ok(json!({ "command": "rollback", "id": id, "to": { "steps": 0 } }));
            }
            lab.commit_all(&mut Store::default());
            Ok(ids)
        }
    }
}

fn refused(file: &[u8]) -> &'static str {
    import_or_nothing(file, usize::MAX).unwrap_err().code()
}

#[test]
fn a_file_is_read_in_pieces_of_any_size() {
    let (mut origin, ids) = lab();
    let file = binary(&mut origin, &ids);
    for piece in [1, 7, 33, 1000, usize::MAX] {
        let mut lab = Lab::new();
        assert_eq!(lab.import(&file, piece).unwrap(), ids);
        for id in &ids {
            assert_eq!(lab.tokens(id), origin.tokens(id));
            let (theirs, ours) = (origin.info(id), lab.info(id));
            for key in [
                "config",
                "metadata",
                "rng",
                "revision",
                "checkpoints",
                "name",
                "tags",
            ] {
                assert_eq!(theirs[key], ours[key]);
            }
            assert!(lab.read(id, None).tokens_evaluated < 32);
            assert_eq!(
                lab.cached_logits(id),
                *all_logits(&lab.tokens(id)).last().unwrap()
            );
        }
    }
}

#[test]
fn keys_like_those_of_prototypes_are_data() {
    let (mut origin, ids) = lab();
    let file = origin.export_json(&ids);
    let mut lab = Lab::new();
    lab.import(&file, 1).unwrap();
    let metadata = |lab: &mut Lab| -> Vec<Value> {
        ids.iter()
            .map(|id| lab.info(id)["metadata"].clone())
            .collect()
    };
    let kept = metadata(&mut lab);
    assert_eq!(kept, metadata(&mut origin));
    assert!(
        kept.iter()
            .any(|m| m["__proto__"] == json!({ "x": 1 }) && m["toString"][0] == 1.25e-7)
    );
}

#[test]
fn a_file_that_ends_early_is_refused_wherever_it_ends() {
    let (mut origin, ids) = lab();
    let file = binary(&mut origin, &ids);
    for len in (0..file.len())
        .step_by(3)
        .chain(file.len() - 40..file.len())
    {
        refused(&file[..len]);
    }
    let json = origin.export_json(&ids);
    for len in (0..json.len()).step_by(5) {
        refused(&json[..len]);
    }
    let mut longer = file;
    longer.push(0);
    assert_eq!(refused(&longer), "invalid-state-file");
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    let (mut origin, ids) = lab();
    let file = binary(&mut origin, &ids);
    for at in (0..file.len()).step_by(5) {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (at % 8);
        import_or_nothing(&damaged, 512).unwrap_err();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_a_hostile_file_says_it_is_refused_or_sound(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
        piece in 1..3000usize,
        kind in 0..3u8,
    ) {
        let (mut origin, ids) = lab();
        let mut content = match kind {
            // Within the compressed manifest and the blocks, the hash right.
            0 => binary(&mut origin, &ids),
            // Within the JSON, the hash right.
            _ => to_json(&manifest(&mut origin, &ids)).unwrap(),
        };
        if kind == 0 {
            content.truncate(content.len() - HASH_BYTES);
        }
        for (at, byte, how) in edits {
            let at = at.index(content.len());
            match how {
                0 => content[at] = byte,
                1 => drop(content.remove(at)),
                2 => content.insert(at, byte),
                _ => content[at] = b'0' + byte % 10,
            }
        }
        let file = match kind {
            0 => {
                let hash = Sha256::digest(&content);
                [&content[..], &hash].concat()
            }
            1 => packed(&content, content.len(), &[]),
            _ => match serde_json::from_slice::<Manifest>(&content) {
                Ok(manifest) => signed(manifest),
                Err(_) => content,
            },
        };
        if let Err(error) = import_or_nothing(&file, piece) {
            prop_assert!(error.code() != "internal", "{}", error);
        }
    }
}

#[test]
fn each_wrong_statement_is_refused_by_its_code() {
    let (mut origin, ids) = lab();
    let good = manifest(&mut origin, &ids);
    assert_eq!(
        import_or_nothing(&signed(good.clone()), 1).unwrap().len(),
        2
    );
    let with = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        refused(&signed(manifest))
    };
    let first = |manifest: &mut Manifest, change: &dyn Fn(&mut Revision)| {
        manifest.revisions.truncate(1);
        change(&mut manifest.revisions[0]);
        let id = RevisionId::of(&manifest.revisions[0].to_json().unwrap());
        manifest.states.truncate(1);
        manifest.states[0].record.head = id;
        manifest.states[0].record.checkpoints.clear();
    };
    let of_first = |change: &dyn Fn(&mut Revision)| with(&|manifest| first(manifest, change));
    let attributes = |change: &dyn Fn(&mut Attributes)| {
        of_first(&|revision| change(revision.attributes.as_mut().unwrap()))
    };
    let of_state = |change: &dyn Fn(&mut StateRecord)| {
        with(&|manifest| change(&mut manifest.states[0].record))
    };
    assert_eq!(
        of_first(&|revision| revision.appended[3] = 512),
        "invalid-token"
    );
    assert_eq!(
        of_first(&|revision| revision.appended = vec![0; 70_000]),
        "invalid-state-file"
    );
    assert_eq!(
        of_first(&|revision| revision.keep = 1),
        "invalid-state-file"
    );
    assert_eq!(
        of_first(&|revision| revision.attributes = None),
        "invalid-state-file"
    );
    assert_eq!(
        of_first(&|r| r.parents = vec!["no".into()]),
        "invalid-state-file"
    );
    let set = |key: &str, value: Value| {
        attributes(&|attributes| {
            attributes.config.insert(key.to_owned(), value.clone());
        })
    };
    assert_eq!(set("topk", json!(1)), "invalid-option");
    assert_eq!(set("topP", json!(7)), "invalid-option");
    assert_eq!(set("stop", json!([""])), "invalid-option");
    assert_eq!(set("eosTokenIds", json!([512])), "invalid-option");
    assert_eq!(
        attributes(&|a| a.name = Some("a\u{1}".into())),
        "invalid-argument"
    );
    assert_eq!(
        attributes(&|a| a.tags = vec!["t".into(); 65]),
        "invalid-argument"
    );
    let long = json!("x".repeat(66_000));
    assert_eq!(
        attributes(&|a| drop(a.metadata.insert("m".into(), long.clone()))),
        "invalid-argument"
    );
    assert_eq!(
        with(&|manifest| manifest.revisions.reverse()),
        "invalid-state-file"
    );
    assert_eq!(
        with(&|manifest| drop(manifest.revisions.remove(0))),
        "invalid-state-file"
    );
    assert_eq!(
        with(&|manifest| manifest.format = "other".into()),
        "invalid-state-file"
    );
    assert_eq!(
        with(&|manifest| manifest.version = 2),
        "unsupported-version"
    );
    assert_eq!(with(&|manifest| manifest.version = 0), "invalid-state-file");
    assert_eq!(
        with(&|manifest| manifest.tokenizer = Some("x".into())),
        "invalid-state-file"
    );
    assert_eq!(
        with(&|m| m.states.push(m.states[0].clone())),
        "invalid-state-file"
    );
    assert_eq!(
        of_state(&|record| record.id = "../x".into()),
        "invalid-state-file"
    );
    assert_eq!(
        of_state(&|record| record.id = "x".repeat(65)),
        "invalid-state-file"
    );
    assert_eq!(
        of_state(&|record| record.head = "no".into()),
        "invalid-state-file"
    );
    let checkpoint = Checkpoint {
        name: "c".into(),
        revision: good.states[0].record.head.clone(),
        created: 0,
    };
    assert_eq!(
        of_state(&|record| record.checkpoints = vec![checkpoint.clone(); 1001]),
        "invalid-state-file"
    );
    assert_eq!(
        of_state(&|record| record.checkpoints = vec![Checkpoint {
            name: String::new(),
            ..checkpoint.clone()
        }]),
        "invalid-argument"
    );
    let back = |change: &dyn Fn(&mut Revision)| {
        with(&|manifest| {
            let at = manifest
                .revisions
                .iter()
                .position(|r| r.operation.name() == "rollback")
                .unwrap();
            manifest.revisions.truncate(at + 1);
            change(&mut manifest.revisions[at]);
            let id = RevisionId::of(&manifest.revisions[at].to_json().unwrap());
            manifest.states.truncate(1);
            manifest.states[0].record.head = id;
            manifest.states[0].record.checkpoints.clear();
        })
    };
    assert_eq!(
        back(&|revision| revision.rng.position = 99),
        "invalid-state-file"
    );
    assert_eq!(
        back(&|revision| revision.appended.push(1)),
        "invalid-state-file"
    );
    let parent = RevisionId::of(&good.revisions[0].to_json().unwrap());
    assert_eq!(
        back(&|r| r.parents = vec![parent.clone(); 65]),
        "invalid-state-file"
    );

    let text = String::from_utf8(to_json(&good).unwrap()).unwrap();
    let extra = text.replacen('{', r#"{"more":1,"#, 1);
    assert_eq!(refused(extra.as_bytes()), "invalid-state-file");
    let twice = text.replacen('{', r#"{"blocks":1,"#, 1);
    assert_eq!(refused(twice.as_bytes()), "invalid-state-file");
    let other = text.replacen(r#""created":"#, r#""created":1"#, 1);
    assert_eq!(refused(other.as_bytes()), "checksum-mismatch");
    assert_eq!(
        refused(&packed(extra.as_bytes(), extra.len(), &[])),
        "invalid-state-file"
    );
    let newer = text.replacen(r#""version":1"#, r#""version":9,"new":true"#, 1);
    assert_eq!(refused(newer.as_bytes()), "unsupported-version");
    assert_eq!(refused(b""), "invalid-state-file");
    assert_eq!(refused(b"{}"), "invalid-state-file");
    let deep = "[".repeat(1 << 20);
    assert_eq!(refused(deep.as_bytes()), "invalid-state-file");
}

#[test]
fn sizes_that_cannot_be_are_refused_before_anything_is_made_of_them() {
    let bomb = vec![b' '; 1 << 20];
    assert_eq!(refused(&packed(&bomb, 65 << 20, &[])), "invalid-state-file");
    assert_eq!(refused(&packed(&bomb, 1 << 19, &[])), "invalid-state-file");
    assert_eq!(refused(&packed(b"{}", 1 << 20, &[])), "invalid-state-file");
    let header = |packed: u32, len: u32| {
        let mut file = MAGIC.to_vec();
        for number in [VERSION, packed, len] {
            file.extend(number.to_le_bytes());
        }
        file
    };
    assert_eq!(refused(&header(u32::MAX, 1)), "invalid-state-file");
    assert_eq!(refused(&header(1, u32::MAX)), "invalid-state-file");
    assert_eq!(refused(&header(1 << 20, 1 << 20)), "invalid-state-file");
}

#[test]
fn a_small_file_cannot_name_any_number_of_tokens() {
    let (mut origin, ids) = lab();
    let mut manifest = manifest(&mut origin, &ids);
    let revision = Revision {
        parents: Vec::new(),
        operation: Operation::Import,
        keep: 0,
        appended: vec![1; 1 << 16],
        attributes: Some(Attributes::default()),
        rng: RngState {
            seed: 0,
            position: u64::MAX,
        },
        model: ModelRef {
            sha256: String::new(),
            dtype: String::new(),
        },
        created: u64::MAX,
        duration_ms: 0,
    };
    let state = manifest.states[0].clone();
    let head = RevisionId::of(&revision.to_json().unwrap());
    manifest.revisions = vec![revision];
    let states = (0..513).map(|index| {
        let mut state = state.clone();
        state.record.id = format!("s{index}");
        state.record.head = head.clone();
        state.record.checkpoints.clear();
        state
    });
    manifest.states = states.collect();
    assert_eq!(refused(&signed(manifest.clone())), "invalid-state-file");
    // A text longer than any context can be looked at, and its clock may be wrong.
    manifest.states.truncate(1);
    let mut lab = Lab::new();
    lab.import(&signed(manifest), 1).unwrap();
    let fork = lab.fork("s0", json!({ "tokens": 20 }));
    lab.generate(&fork, json!({ "maxTokens": 3 })).unwrap();
    let error = lab.begin_generation("s0", json!({})).unwrap_err();
    assert_eq!(error.code(), "context-overflow");
}

/// A block as it lies in a file.
fn block(name: BlockName, content: &[u8], is_packed: u8) -> Vec<u8> {
    let len = (content.len() as u32).to_le_bytes();
    [name.as_bytes(), &len, &[is_packed], content].concat()
}

#[test]
fn blocks_that_are_none_are_refused_and_forged_ones_stay_with_their_file() {
    let (mut origin, ids) = lab();
    let good = manifest(&mut origin, &ids);
    let long = ids.iter().find(|id| origin.tokens(id).len() > 64).unwrap();
    let tokens = origin.tokens(long);
    let root = good.states[0].root;
    let names: Vec<BlockName> = root.chain(&tokens[..64]).collect();
    let size = model().new_kv().block_bytes();
    let file = |blocks: &[Vec<u8>]| {
        let manifest = Manifest {
            blocks: blocks.len() as u32,
            sha256: None,
            ..good.clone()
        };
        let json = to_json(&manifest).unwrap();
        packed(&json, json.len(), &blocks.concat())
    };
    let forged: Vec<u8> = origin.scheduler.blocks().get(&names[1]).unwrap().to_vec();
    let nan = {
        let layout = model().new_kv().head_layout();
        let mut block = forged.clone();
        block[layout.code_bytes()..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        block
    };
    assert_eq!(
        refused(&file(&[block(names[0], &nan, 0)])),
        "invalid-state-file"
    );
    // A good block first: not even that one may have been taken.
    let first = block(names[0], &forged, 0);
    assert_eq!(
        refused(&file(&[first.clone(), block(names[1], &nan, 0)])),
        "invalid-state-file"
    );
    assert_eq!(
        refused(&file(&[block(names[0], &forged[1..], 0)])),
        "invalid-state-file"
    );
    assert_eq!(
        refused(&file(&[block(names[0], &vec![0; size + 1], 0)])),
        "invalid-state-file"
    );
    assert_eq!(
        refused(&file(&[block(names[0], &forged, 2)])),
        "invalid-state-file"
    );
    assert_eq!(
        refused(&file(&[block(names[0], &forged, 1)])),
        "invalid-state-file"
    );
    let bomb = lz4_flex::block::compress(&vec![0; 100 * size]);
    assert_eq!(
        refused(&file(&[block(names[0], &bomb, 1)])),
        "invalid-state-file"
    );
    assert_eq!(
        refused(&file(std::slice::from_ref(&first))[..300]),
        "invalid-state-file"
    );

    // The second block's content under the first one's name: nothing tells.
    let mut lab = Lab::new();
    let imported = lab.import(&file(&[first]), 100).unwrap();
    assert_eq!(imported, ids);
    let own = lab.create(&"begin ".repeat(12), json!({}));
    let exact = all_logits(&lab.tokens(&own)).pop().unwrap();
    assert_eq!(lab.cached_logits(&own), exact);
    assert_eq!(
        lab.read(&own, None).tokens_evaluated as usize,
        lab.tokens(&own).len()
    );
    assert_eq!(lab.cached_logits(&own), exact);
    assert_ne!(
        lab.cached_logits(long),
        *all_logits(&tokens).last().unwrap()
    );
}

#[test]
fn an_id_that_is_taken_becomes_another_and_the_file_of_another_model_comes_without_blocks() {
    let (mut origin, ids) = lab();
    let file = binary(&mut origin, &ids);
    let again = origin.import(&file, 64).unwrap();
    assert!(again.iter().all(|id| !ids.contains(id)));
    for (id, again) in ids.iter().zip(&again) {
        assert_eq!(origin.tokens(id), origin.tokens(again));
    }
    let mut other = Lab::new();
    let model = ModelRef {
        sha256: "other".into(),
        dtype: "q4".into(),
    };
    let tokenizer = crate::state::lab::tokenizer();
    other.states = States::new(model, "other:q4".into(), Some(tokenizer));
    assert_eq!(other.import(&file, 64).unwrap(), ids);
    assert_eq!(other.scheduler.blocks().metrics().blocks, 0);
    for id in &ids {
        assert_eq!(other.tokens(id), origin.tokens(id));
        assert_eq!(other.info(id)["model"]["sha256"], "tiny");
    }
    assert_eq!(states().iter().count(), 0);
}

#[test]
fn writes_the_seeds_of_the_fuzzer() {
    let (mut origin, ids) = lab();
    let folder = format!("{}/fuzz/seeds/import_states", env!("CARGO_MANIFEST_DIR"));
    let seeds = [
        ("with-blocks", binary(&mut origin, &ids)),
        (
            "without-blocks",
            origin.export(&ids, false, &Store::default()),
        ),
        ("json", origin.export_json(&ids)),
    ];
    for (name, seed) in seeds {
        assert!(Lab::new().import(&seed, 64).is_ok());
        if std::env::var_os("WRITE_FUZZ_SEEDS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            // First the size of the pieces.
            std::fs::write(format!("{folder}/{name}"), [&[0], &seed[..]].concat()).unwrap();
        }
    }
}
