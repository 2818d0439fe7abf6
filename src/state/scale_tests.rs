//! Much of everything: what is right stays right, and nothing takes long. The
//! times are printed (`--nocapture`) and not asserted, as machines differ.

use super::lab::{Lab, Store, id};
use serde_json::{Value, json};
use std::time::Instant;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    println!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    value
}

#[test]
fn a_history_of_ten_thousand_revisions_stays_fast() {
    let mut lab = Lab::new();
    let mut store = Store::default();
    let state = lab.create(&"x".repeat(70), json!({}));
    lab.read(&state, None);
    timed("10,000 operations", || {
        for index in 0..2500 {
            lab.append(&state, "ab");
            lab.ok(json!({ "command": "update", "id": state, "metadata": { "n": index } }));
            lab.ok(json!({ "command": "rollback", "id": state, "to": { "steps": 2 } }));
            lab.ok(json!({ "command": "reseed", "id": state, "seed": index }));
        }
    });
    assert_eq!(lab.states.revisions().len(), 10_001);
    assert_eq!(lab.text(&state), "x".repeat(70));
    timed("commit of all", || lab.commit_all(&mut store));
    assert_eq!(store.revisions.len(), 10_001);
    let mut other = timed("read again", || Lab::open(&store));
    assert_eq!(other.text(&state), lab.text(&state));
    let history = timed("history", || {
        other.ok(json!({ "command": "history", "id": state }))
    });
    assert_eq!(history.as_array().unwrap().len(), 10_001);
    timed("graph", || {
        other.ok(json!({ "command": "graph", "id": state }))
    });
    timed("2,000 steps back", || {
        other.ok(json!({ "command": "rollback", "id": state, "to": { "steps": 2000 } }))
    });
    timed("one more commit", || other.commit_all(&mut store));
    let fork = timed("fork inside", || {
        other.fork(&state, json!({ "tokens": 30 }))
    });
    timed("1,000 forks", || {
        other.ok(json!({ "command": "fork", "id": state, "count": 1000 }))
    });
    timed("diff", || {
        other.ok(json!({ "command": "diff", "a": state, "b": fork }))
    });
    timed("commit of the forks", || other.commit_all(&mut store));
    timed("delete of a fork", || {
        other.ok(json!({ "command": "delete", "ids": [fork] }))
    });
    timed("commit of that", || other.commit_all(&mut store));
    let ids = [state.clone()];
    let file = timed("export", || other.export(&ids, true, &store));
    println!("the file has {} bytes", file.len());
    let mut third = Lab::new();
    timed("import", || third.import(&file, 64 << 10).unwrap());
    assert_eq!(third.text(&state), other.text(&state));
    let json = timed("export as JSON", || other.export_json(&ids));
    timed("import of JSON", || third.import(&json, 1).unwrap());
    store.check();
}

#[test]
fn a_thousand_states_stay_fast() {
    let mut lab = Lab::new();
    let mut store = Store::default();
    let states: Vec<String> = timed("1,000 states, 10 operations each", || {
        let states = (0..1000).map(|index| {
            let state = lab.create(&format!("{index} {}", "word ".repeat(10)), json!({}));
            for _ in 0..9 {
                lab.append(&state, "and more");
            }
            state
        });
        states.collect()
    });
    for state in states.iter().step_by(50) {
        lab.read(state, None);
    }
    timed("commit of all", || lab.commit_all(&mut store));
    assert_eq!((store.states.len(), store.revisions.len()), (1000, 10_000));
    let mut other = timed("read again", || Lab::open(&store));
    timed("list", || {
        other.ok(json!({ "command": "list", "limit": 1000 }))
    });
    let found = timed("search", || {
        other.ok(json!({ "command": "list", "search": "999 word" }))
    });
    assert_eq!(found["total"], 1);
    timed("graph of all", || other.ok(json!({ "command": "graph" })));
    let policy = json!({ "maxStates": 500, "maxBytes": 1 });
    let doomed = timed("clean-up", || {
        other.ok(json!({ "command": "toCleanUp", "policy": policy }))
    });
    let doomed: Vec<String> = serde_json::from_value(doomed).unwrap();
    assert!(doomed.len() >= 500);
    timed("30 deletions one by one", || {
        for id in &doomed[..30] {
            other.ok(json!({ "command": "delete", "ids": [id] }));
            other.commit_all(&mut store);
        }
    });
    assert_eq!((store.states.len(), store.revisions.len()), (970, 9700));
    let ids: Vec<String> = store.states.keys().cloned().collect();
    let file = timed("export", || other.export(&ids, true, &store));
    let mut third = Lab::new();
    let imported = timed("import", || third.import(&file, 64 << 10).unwrap());
    assert_eq!(imported, ids);
    let merged = timed("merge of 64", || {
        other.ok(json!({ "command": "merge", "states": ids[..64], "strategy": "ours" }))
    });
    assert_ne!(id(&merged), ids[0]);
    timed("delete of all", || {
        other.ok(json!({ "command": "delete", "ids": ids }));
        other.ok(json!({ "command": "delete", "ids": [id(&merged)] }))
    });
    other.commit_all(&mut store);
    assert_eq!(store, Store::default());
    assert_eq!(
        other.ok(json!({ "command": "list" }))["items"],
        Value::Array(Vec::new())
    );
}
