use super::*;
use crate::error::Result;
use crate::model::{Config, KvFormat};
use proptest::prelude::*;

const N_POSITIONS: usize = 200;

fn empty() -> KvCache {
    let config = format!(
        r#"{{"model_type":"gpt2","n_layer":1,"n_embd":2,"n_head":1,"n_positions":{N_POSITIONS}}}"#
    );
    let config = Config::from_json(config.as_bytes()).unwrap();
    KvCache::new(&config, KvFormat::F32)
}

fn root() -> BlockName {
    BlockName::root(&["model"])
}

/// Runs a model whose key at a position tells all tokens up to it.
fn run(kv: &mut KvCache, tokens: &[u32]) -> Result<()> {
    let start = kv.len();
    kv.reserve(tokens.len() - start)?;
    for position in start..tokens.len() {
        let key = key_of(&tokens[..=position]);
        kv.write(0, position - start, &key, &key);
    }
    kv.commit(tokens.len() - start);
    Ok(())
}

fn key_of(tokens: &[u32]) -> [f32; 2] {
    let sum = tokens.iter().fold(1u32, |sum, t| sum.wrapping_mul(31) ^ t);
    [(sum & 0xffff) as f32, tokens.len() as f32]
}

fn check(kv: &KvCache, tokens: &[u32]) {
    let (keys, _) = kv.gather(0, kv.len());
    let expected: Vec<f32> = (0..kv.len())
        .flat_map(|position| key_of(&tokens[..=position]))
        .collect();
    assert_eq!(keys, expected);
}

/// What it takes to see `tokens`: how many were known.
fn see(table: &mut BlockTable, tokens: &[u32]) -> usize {
    let mut kv = empty();
    table.fill(root(), tokens, &mut kv);
    check(&kv, tokens);
    let known = kv.len();
    run(&mut kv, tokens).unwrap();
    check(&kv, tokens);
    table.keep(root(), tokens, &kv);
    known
}

fn text(len: usize) -> Vec<u32> {
    (0..len as u32).collect()
}

#[test]
fn a_text_that_was_seen_is_known_to_its_last_token() {
    let mut table = BlockTable::new(1 << 20);
    assert_eq!(see(&mut table, &text(75)), 0);
    assert_eq!(see(&mut table, &text(75)), 75);
    assert_eq!(see(&mut table, &text(90)), 75);
}

#[test]
fn going_back_inside_a_block_needs_no_computation() {
    let mut table = BlockTable::new(1 << 20);
    see(&mut table, &text(75));
    assert_eq!(see(&mut table, &text(40)), 40);
    let mut other = text(40);
    other.extend([900, 901]);
    assert_eq!(see(&mut table, &other), 40);
    assert_eq!(see(&mut table, &text(75)), 75);
}

#[test]
fn an_end_is_replaced_by_its_longer_version() {
    let mut table = BlockTable::new(1 << 20);
    for len in 1..=64 {
        see(&mut table, &text(len));
    }
    assert_eq!(table.metrics().blocks, 2);
}

#[test]
fn over_the_budget_the_longest_unused_ends_go_first() {
    let block = empty().block_bytes();
    let mut table = BlockTable::new(4 * block);
    see(&mut table, &text(96));
    let other: Vec<u32> = (500..564).collect();
    see(&mut table, &other);
    let metrics = table.metrics();
    assert_eq!((metrics.blocks, metrics.evictions), (4, 1));
    assert_eq!(see(&mut table, &other), 64);
    let mut kv = empty();
    table.fill(root(), &text(96), &mut kv);
    assert_eq!(kv.len(), 64);
}

#[test]
fn pinned_blocks_stay_whatever_the_budget() {
    let block = empty().block_bytes();
    let mut table = BlockTable::new(2 * block);
    let tokens = text(96);
    table.set_pinned(root().chain(&tokens).collect());
    see(&mut table, &tokens);
    assert_eq!(table.metrics().pinned_bytes, 3 * block as u64);
    see(&mut table, &[700, 701]);
    assert_eq!(see(&mut table, &tokens), 96);
    table.set_pinned(HashSet::new());
    assert!(table.metrics().bytes <= 2 * block as u64);
}

#[test]
fn blocks_that_come_back_from_elsewhere_serve_as_before() {
    let tokens = text(64);
    let mut kv = empty();
    run(&mut kv, &tokens).unwrap();
    let mut table = BlockTable::new(1 << 20);
    let mut parent = root();
    for (depth, block) in kv.blocks().iter().enumerate() {
        let part = &tokens[depth * 32..][..32];
        table.add(parent, depth, part, kv.block_from(block).unwrap());
        parent = parent.child(part);
    }
    assert_eq!(see(&mut table, &tokens), 64);
}

#[test]
fn texts_of_another_model_share_nothing() {
    let mut table = BlockTable::new(1 << 20);
    see(&mut table, &text(64));
    let mut kv = empty();
    table.fill(BlockName::root(&["another"]), &text(64), &mut kv);
    assert_eq!(kv.len(), 0);
}

#[test]
fn a_name_is_read_as_it_is_written_and_nothing_else_is() {
    let name = root().child(&[1, 2]);
    assert_eq!(name.to_string().parse(), Ok(name));
    for wrong in [
        "",
        "00",
        "G0000000000000000000000000000000",
        "+0000000000000000000000000000000",
    ] {
        assert!(wrong.parse::<BlockName>().is_err(), "{wrong}");
    }
    assert!(
        name.to_string()
            .to_uppercase()
            .parse::<BlockName>()
            .is_err()
    );
}

proptest! {
    /// Few tokens and short jumps, so that texts often share beginnings.
    #[test]
    fn whatever_is_found_is_what_would_be_computed(
        texts in prop::collection::vec((0..N_POSITIONS, 0..3u32, 0..N_POSITIONS), 1..30),
        budget in 1..12usize,
    ) {
        let block = empty().block_bytes();
        let mut table = BlockTable::new(budget * block);
        for (len, tag, turn) in texts {
            let mut tokens = text(len.max(1));
            for token in tokens.iter_mut().skip(turn) {
                *token += tag * 1000;
            }
            see(&mut table, &tokens);
            prop_assert!(table.metrics().bytes <= (budget * block) as u64);
            let sum: usize = table.entries.values().map(|e| e.block.len()).sum();
            prop_assert_eq!(sum, table.bytes);
            prop_assert_eq!(table.order.len(), table.entries.len());
            let children: usize = table.children.values().map(Vec::len).sum();
            prop_assert_eq!(children, table.entries.len());
        }
    }
}

#[test]
fn every_block_is_listed_with_its_use_and_where_it_went() {
    let mut table = BlockTable::new(1 << 20);
    let mut kv = empty();
    run(&mut kv, &text(40)).unwrap();
    table.keep(root(), &text(40), &kv);
    let mut begun = empty();
    table.fill(root(), &text(40), &mut begun);
    let list = table.list();
    assert_eq!(list.len(), 2);
    let full = list.iter().find(|block| block.depth == 0).unwrap();
    assert_eq!((full.tokens.len(), full.hits, full.parent), (32, 1, root()));
    // The two caches above.
    assert_eq!(full.references, 2);
    assert!(!full.pinned);
    table.set_pinned([full.name].into());
    assert!(table.list().iter().any(|block| block.pinned));

    run(&mut kv, &text(50)).unwrap();
    table.keep(root(), &text(50), &kv);
    assert_eq!(table.dropped().extended, 1);
    assert_eq!(table.dropped().last[0].reason, DropReason::Extended);
    assert_eq!(table.dropped().last[0].tokens, 8);
    table.forget(full.name);
    assert_eq!(table.dropped().forgotten, 1);
    let report = serde_json::to_value(table.report()).unwrap();
    assert_eq!(report["metrics"]["hits"], 40);
    assert_eq!(report["blocks"].as_array().unwrap().len(), 1);
    assert_eq!(report["dropped"]["last"][1]["reason"], "forgotten");
    assert_eq!(report["captured"]["rows"], 0);
}

#[test]
fn what_the_budget_drops_is_told_with_its_reason() {
    let mut kv = empty();
    run(&mut kv, &text(96)).unwrap();
    let mut table = BlockTable::new(2 * kv.block_bytes());
    table.keep(root(), &text(96), &kv);
    assert_eq!(table.dropped().budget, 1);
    assert_eq!(table.dropped().last[0].depth, 2);
    assert_eq!(table.metrics().evictions, 1);
}
