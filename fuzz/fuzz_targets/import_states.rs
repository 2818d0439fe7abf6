//! A file of states from anywhere: it is refused, or its states are sound and
//! come out of another file as they were.

#![no_main]

use cacher_wasm::model::{BlockTable, Config, KvCache, KvFormat};
use cacher_wasm::state::import::import_file;
use cacher_wasm::state::{ModelRef, States};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const VOCAB_SIZE: usize = 512;
const KV_BUDGET: usize = 1 << 20;

/// The shape that the seeds' blocks are of.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let json = br#"{"model_type":"gpt2","n_layer":1,"n_head":2,"n_embd":12,"n_inner":20,
        "vocab_size":512,"n_positions":160,"eos_token_id":256}"#;
    Config::from_json(json).expect("a config")
});

fn states() -> States {
    let model = ModelRef {
        sha256: "tiny".into(),
        dtype: "q8".into(),
    };
    // Without a tokenizer, so that no vocabulary has to agree.
    States::new(model, "tiny:q8:1".into(), None)
}

/// Whole files in one piece; otherwise of as many bytes as the first says.
fn import(file: &[u8], piece: usize) -> Option<(States, Vec<String>)> {
    let mut states = states();
    let mut blocks = BlockTable::new(KV_BUDGET);
    let empty = KvCache::new(&CONFIG, KvFormat::Q8);
    let ids = import_file(&mut states, file, piece, &empty, VOCAB_SIZE, &mut blocks, 1);
    assert!(blocks.metrics().bytes <= KV_BUDGET as u64);
    match ids {
        Ok(ids) => Some((states, ids)),
        Err(_) => {
            assert_eq!(states.iter().count(), 0, "all or nothing");
            assert!(states.revisions().is_empty(), "all or nothing");
            None
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, file)) = bytes.split_first() else {
        return;
    };
    // The hash at the end is made right, or nothing would get past it.
    let mut file = file.to_vec();
    cacher_wasm::state::import::sign(&mut file);
    let piece = if piece == 0 { usize::MAX } else { usize::from(piece) };
    let Some((states, ids)) = import(&file, piece) else {
        return;
    };
    for id in &ids {
        states.info(id, None).expect("a state");
        states.history(id, None).expect("a history");
    }
    let again = states.export_json(&ids, None, 2).expect("a file");
    let (copies, copied) = import(&again, 1).expect("what was written is read");
    let mut ids = ids;
    ids.sort();
    assert_eq!(ids, copied);
    for id in &ids {
        let text = |states: &States| states.get(id).expect("a state").tokens.to_vec();
        assert_eq!(text(&states), text(&copies));
    }
});
