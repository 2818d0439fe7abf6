//! What a page can ask of states, end to end with a model that is really run.

use crate::generate::FinishReason;
use crate::state::lab::{Lab, N_POSITIONS, Store, id, model, tokenizer};
use serde_json::{Value, json};

fn sampled(seed: u64) -> Value {
    json!({ "seed": seed, "maxTokens": 12 })
}

fn strings(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn merge(lab: &mut Lab, states: &[&str], others: Value) -> crate::Result<Value> {
    let mut command = json!({ "command": "merge", "states": states });
    for (key, value) in others.as_object().unwrap() {
        command[key] = value.clone();
    }
    lab.run(command)
}

#[test]
fn going_back_writes_the_same_text_again_and_another_seed_another() {
    let mut lab = Lab::new();
    let state = lab.create("Once upon", sampled(5));
    lab.ok(json!({ "command": "checkpoint", "id": state, "name": "start" }));
    lab.generate(&state, json!({})).unwrap();
    let first = lab.tokens(&state);
    for to in [json!({ "steps": 1 }), json!({ "checkpoint": "start" })] {
        lab.ok(json!({ "command": "rollback", "id": state, "to": to }));
        lab.generate(&state, json!({})).unwrap();
        assert_eq!(lab.tokens(&state), first);
    }
    let rollback = json!({ "command": "rollback", "id": state, "to": { "steps": 1 } });
    lab.ok(rollback.clone());
    lab.ok(json!({ "command": "reseed", "id": state, "seed": 6 }));
    lab.generate(&state, json!({})).unwrap();
    assert_ne!(lab.tokens(&state), first);
    // Back over the text and the new seed.
    lab.ok(rollback.clone());
    lab.ok(rollback);
    lab.generate(&state, json!({})).unwrap();
    assert_eq!(lab.tokens(&state), first);
}

#[test]
fn states_made_alike_write_alike_and_so_do_forks() {
    let mut lab = Lab::new();
    let [a, b] = [0, 0].map(|_| lab.create("The same", sampled(3)));
    lab.generate(&a, json!({})).unwrap();
    lab.generate(&b, json!({})).unwrap();
    assert_eq!(lab.tokens(&a), lab.tokens(&b));
    let fork = lab.fork(&a, Value::Null);
    for id in [&a, &fork] {
        lab.generate(id, json!({})).unwrap();
    }
    assert_eq!(lab.tokens(&a), lab.tokens(&fork));
    assert_ne!(lab.tokens(&a), lab.tokens(&b));
}

#[test]
fn a_fork_inside_a_generated_text_goes_on_as_its_origin_did() {
    for options in [json!({}), json!({ "temperature": 0 }), json!({ "seed": 9 })] {
        let mut lab = Lab::new();
        let state = lab.create("Some words", sampled(5));
        for _ in 0..3 {
            lab.generate(&state, options.clone()).unwrap();
        }
        let text = lab.tokens(&state);
        for at in 10..=text.len() {
            let fork = lab.fork(&state, json!({ "tokens": at }));
            assert_eq!(lab.tokens(&fork), text[..at]);
            // Up to the end of the generation that it was forked in.
            let left = (text.len() - at) % 12;
            if left > 0 && (options.get("seed").is_none() || at < 22) {
                let mut options = options.clone();
                // The seed is part of where the random numbers stand.
                options.as_object_mut().unwrap().remove("seed");
                options["maxTokens"] = left.into();
                lab.generate(&fork, options).unwrap();
                assert_eq!(lab.tokens(&fork), text[..at + left], "at {at}");
            }
        }
    }
}

#[test]
fn however_a_generation_ends_the_text_is_what_was_told_and_can_go_on() {
    let mut lab = Lab::new();
    let state = lab.create("Stop it", json!({ "seed": 1, "maxTokens": 40 }));
    let plain = lab.fork(&state, Value::Null);
    let written = lab.generate(&plain, json!({})).unwrap();
    let token_text = |token: &u32| tokenizer().decode(&[*token]).unwrap();
    // A stop string that begins with the second letter of a token.
    let letters = written.tokens.iter().map(token_text);
    let mut letters = letters;
    let pair = letters.find(|text| text.len() == 2 && text.is_ascii());
    let stop = pair.unwrap()[1..].to_owned();
    for options in [
        json!({ "stop": stop }),
        json!({ "stop": stop, "includeStop": true }),
        json!({ "stop": [stop], "promptLookupNumTokens": 8 }),
        json!({ "eosTokenIds": [written.tokens[7]] }),
        json!({ "maxTokens": 0 }),
    ] {
        let fork = lab.fork(&state, Value::Null);
        let result = lab.generate(&fork, options.clone()).unwrap();
        assert_eq!(
            lab.text(&fork),
            "Stop it".to_owned() + &result.text,
            "{options}"
        );
        let expected = match options.get("stop") {
            Some(_) => FinishReason::Stop,
            None if options.get("maxTokens").is_some() => FinishReason::Length,
            None => FinishReason::Eos,
        };
        assert_eq!(result.finish_reason, expected);
        let before = lab.text(&fork);
        let (tokens, _) = lab.generated_from_scratch(&fork, json!({}));
        let next = lab.generate(&fork, json!({})).unwrap();
        assert_eq!(next.tokens, tokens);
        assert_eq!(lab.text(&fork), before + &next.text);
    }
}

#[test]
fn an_aborted_generation_keeps_what_was_made() {
    let mut lab = Lab::new();
    let state = lab.create("Not to the end", sampled(2));
    let whole = lab.fork(&state, Value::Null);
    lab.generate(&whole, json!({})).unwrap();
    let job = lab.begin_generation(&state, json!({})).unwrap();
    for _ in 0..5 {
        lab.scheduler.step();
    }
    lab.scheduler.cancel(job);
    let result = lab.end_generation(&state, job).unwrap();
    assert_eq!(result.finish_reason, FinishReason::Aborted);
    assert_eq!(lab.text(&state), "Not to the end".to_owned() + &result.text);
    assert_eq!(result.tokens.len(), 5);
    // The rest comes as it would have.
    lab.generate(&state, json!({ "maxTokens": 7 })).unwrap();
    assert_eq!(lab.tokens(&state), lab.tokens(&whole));
}

#[test]
fn speculation_changes_nothing() {
    for seed in 0..4 {
        let mut lab = Lab::new();
        let config = json!({ "seed": seed, "maxTokens": 60, "temperature": 0.3, "topK": 4 });
        let plain = lab.create("abcabcabcabc", config);
        let drafted = lab.fork(&plain, Value::Null);
        let one = lab.generate(&plain, json!({})).unwrap();
        let other = lab
            .generate(&drafted, json!({ "promptLookupNumTokens": 8 }))
            .unwrap();
        assert_eq!(one.text, other.text);
        let [one, other] = [&plain, &drafted].map(|id| lab.info(id));
        assert_eq!(one["rng"], other["rng"]);
        assert_eq!(lab.tokens(&plain), lab.tokens(&drafted));
    }
}

#[test]
fn a_state_that_is_gone_is_told_by_its_id() {
    let mut lab = Lab::new();
    let gone = lab.create("x", json!({}));
    lab.ok(json!({ "command": "delete", "ids": [gone] }));
    for command in [
        json!({ "command": "info", "id": gone }),
        json!({ "command": "append", "id": gone, "text": "y" }),
        json!({ "command": "fork", "id": gone, "count": 1 }),
        json!({ "command": "update", "id": gone }),
        json!({ "command": "history", "id": gone }),
        json!({ "command": "graph", "id": gone }),
        json!({ "command": "delete", "ids": [gone] }),
        json!({ "command": "checkpoint", "id": gone, "name": "c" }),
        json!({ "command": "rollback", "id": gone, "to": { "steps": 1 } }),
        json!({ "command": "merge", "states": [gone, gone] }),
        json!({ "command": "diff", "a": gone, "b": gone }),
        json!({ "command": "kvBytes", "a": gone, "b": gone }),
        json!({ "command": "pin", "id": gone, "pinned": true }),
        json!({ "command": "reseed", "id": gone }),
        json!({ "command": "tokens", "id": gone }),
    ] {
        let error = lab.run(command.clone()).unwrap_err();
        assert_eq!(error.code(), "state-not-found", "{command}");
        assert_eq!(error.details(), json!({ "id": gone }));
    }
    assert_eq!(
        lab.begin_generation(&gone, json!({})).unwrap_err().code(),
        "state-not-found"
    );
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut lab = Lab::new();
    let state = lab.create("x", json!({}));
    let before = lab.info(&state);
    let long = "x".repeat(N_POSITIONS);
    for (code, command) in [
        ("invalid-argument", json!({ "command": "nothing" })),
        (
            "invalid-argument",
            json!({ "command": "info", "id": state, "more": 1 }),
        ),
        (
            "invalid-option",
            json!({ "command": "update", "id": state, "config": { "topk": 1 } }),
        ),
        (
            "invalid-option",
            json!({ "command": "update", "id": state, "config": { "topP": 2 } }),
        ),
        (
            "invalid-argument",
            json!({ "command": "update", "id": state, "name": "" }),
        ),
        (
            "invalid-argument",
            json!({ "command": "update", "id": state, "tags": ["a\nb"] }),
        ),
        (
            "invalid-argument",
            json!({ "command": "update", "id": state, "metadata": { "a": "x".repeat(70_000) } }),
        ),
        (
            "invalid-token",
            json!({ "command": "append", "id": state, "tokens": [512] }),
        ),
        (
            "context-overflow",
            json!({ "command": "append", "id": state, "text": long }),
        ),
        (
            "invalid-argument",
            json!({ "command": "append", "id": state, "text": "a", "tokens": [1] }),
        ),
        (
            "invalid-argument",
            json!({ "command": "fork", "id": state, "count": 0 }),
        ),
        (
            "invalid-argument",
            json!({ "command": "fork", "id": state, "count": 1, "at": { "tokens": 2 } }),
        ),
        (
            "revision-not-found",
            json!({ "command": "fork", "id": state, "count": 1, "at": { "revision": "no" } }),
        ),
        (
            "checkpoint-not-found",
            json!({ "command": "rollback", "id": state, "to": { "checkpoint": "no" } }),
        ),
        (
            "invalid-argument",
            json!({ "command": "rollback", "id": state, "to": { "steps": 1 } }),
        ),
        (
            "invalid-argument",
            json!({ "command": "reseed", "id": state, "seed": -1 }),
        ),
        (
            "invalid-argument",
            json!({ "command": "merge", "states": [state] }),
        ),
    ] {
        assert_eq!(lab.code(command.clone()), code, "{command}");
    }
    let mut after = lab.info(&state);
    after["used"] = before["used"].clone();
    assert_eq!(after, before);
}

#[test]
fn a_fork_expects_what_its_origin_does() {
    let mut lab = Lab::new();
    let state = lab.create("a text", sampled(4));
    let fork = lab.fork(&state, json!({ "tokens": 3 }));
    let again = lab.fork(&state, Value::Null);
    assert_eq!(lab.compare(&state, &again).next_kl, Some(0.0));
    assert!(lab.compare(&state, &fork).next_kl > Some(0.0));
}

#[test]
fn a_fork_of_no_tokens_or_too_many_is_refused() {
    let mut lab = Lab::new();
    let state = lab.create("gone", sampled(4));
    for tokens in [0, 5] {
        let at = json!({ "tokens": tokens });
        let error = lab.run(json!({ "command": "fork", "id": state, "count": 1, "at": at }));
        assert_eq!(error.unwrap_err().code(), "invalid-argument");
    }
}

#[test]
fn floats_come_back_as_they_were() {
    let mut lab = Lab::new();
    let mut store = Store::default();
    let mut numbers = Vec::new();
    let mut bits = 1u64;
    for _ in 0..200 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        numbers.push((bits >> 11) as f64 / (1u64 << 53) as f64 * 1e-3);
    }
    let state = lab.create("x", json!({ "temperature": numbers[0] }));
    lab.ok(json!({ "command": "update", "id": state, "metadata": { "n": numbers } }));
    lab.commit_all(&mut store);
    let mut other = Lab::open(&store);
    assert_eq!(other.info(&state)["metadata"], json!({ "n": numbers }));
    let file = lab.export_json(std::slice::from_ref(&state));
    other.import(&file, 1).unwrap();
}

fn three(lab: &mut Lab) -> [String; 3] {
    let base = lab.create("a-b-c", json!({ "seed": 1, "topK": 5 }));
    let sides = ["A", "B", "C"].map(|_| lab.fork(&base, Value::Null));
    for (index, side) in sides.iter().enumerate() {
        let mut text: Vec<char> = "a-b-c".chars().collect();
        text[2 * index] = ["A", "B", "C"][index].chars().next().unwrap();
        let text: String = text.into_iter().collect();
        replace(lab, side, &text);
    }
    sides
}

/// Puts another text in the place of a state's.
fn replace(lab: &mut Lab, state: &str, text: &str) {
    let change = crate::state::states::Change {
        operation: crate::state::Operation::Truncate,
        tokens: tokenizer().encode(text, false).unwrap().ids,
        attributes: None,
        rng: lab.states.head(state).unwrap().revision.rng,
        duration: 0.0,
    };
    lab.states.advance(state, change, lab.now).unwrap();
}

#[test]
fn many_states_merge_into_one_that_has_all_as_parents() {
    let mut lab = Lab::new();
    let sides = three(&mut lab);
    let ids: Vec<&str> = sides.iter().map(String::as_str).collect();
    let merged = merge(&mut lab, &ids, json!({ "name": "all" })).unwrap();
    assert_eq!(lab.text(&id(&merged)), "A-B-C");
    assert_eq!(merged["name"], "all");
    let history = lab.ok(json!({ "command": "history", "id": merged["id"] }));
    assert_eq!(history[0]["operation"], "merge");
    assert_eq!(history[0]["strategy"], "edit");
    assert_eq!(history[0]["parents"].as_array().unwrap().len(), 3);
    let graph = lab.ok(json!({ "command": "graph", "id": merged["id"] }));
    let edges = graph["edges"].as_array().unwrap();
    assert_eq!(
        edges.iter().filter(|edge| edge["kind"] == "merge").count(),
        3
    );
    assert_eq!(graph["states"].as_array().unwrap().len(), 5);
    for (strategy, text) in [
        ("ours", "A-b-c"),
        ("theirs", "a-b-C"),
        ("longest", "A-b-c"),
        ("best", "a-B-c"),
        ("concat", "A-b-ca-B-ca-b-C"),
    ] {
        let others = json!({ "strategy": strategy, "scores": [null, -1, -2] });
        let merged = merge(&mut lab, &ids, others).unwrap();
        assert_eq!(lab.text(&id(&merged)), text);
        let model = lab
            .generate(&id(&merged), json!({ "maxTokens": 3 }))
            .unwrap();
        assert_eq!(model.tokens.len(), 3);
    }
}

#[test]
fn conflicts_are_data_and_are_resolved_step_by_step() {
    let mut lab = Lab::new();
    let sides = three(&mut lab);
    for (side, text) in sides.iter().zip(["x-b-c", "y-b-c", "z-b-c"]) {
        replace(&mut lab, side, text);
    }
    let ids: Vec<&str> = sides.iter().map(String::as_str).collect();
    let count = lab.states.iter().count();
    let mut resolutions = Vec::new();
    for (step, ours, theirs) in [(0, "x", "y"), (1, "xy", "z")] {
        let error = merge(&mut lab, &ids, json!({ "resolutions": resolutions })).unwrap_err();
        assert_eq!(error.code(), "merge-conflict");
        let details = error.details();
        assert_eq!(details["step"], step);
        let conflict = &details["conflicts"][0];
        assert_eq!(conflict["ours"]["content"], ours);
        assert_eq!(conflict["theirs"]["content"], theirs);
        assert_eq!(conflict["base"]["content"], "a");
        resolutions.push(json!([step, conflict["index"], "both"]));
    }
    assert_eq!(lab.states.iter().count(), count);
    let merged = merge(&mut lab, &ids, json!({ "resolutions": resolutions })).unwrap();
    assert_eq!(lab.text(&id(&merged)), "xyz-b-c");
    resolutions[1] = json!([1, 0, { "text": "é" }]);
    let merged = merge(&mut lab, &ids, json!({ "resolutions": resolutions })).unwrap();
    assert_eq!(lab.text(&id(&merged)), "é-b-c");
}

#[test]
fn config_metadata_and_tags_merge_key_by_key() {
    let mut lab = Lab::new();
    let base = lab.create("text", json!({ "seed": 1, "topK": 5 }));
    let [a, b] = [0, 0].map(|_| lab.fork(&base, Value::Null));
    let update = |lab: &mut Lab, id: &str, change: Value| {
        let mut command = json!({ "command": "update", "id": id });
        for (key, value) in change.as_object().unwrap() {
            command[key] = value.clone();
        }
        lab.ok(command);
    };
    update(
        &mut lab,
        &a,
        json!({ "config": { "topK": 9, "seed": 7 }, "metadata": { "m": 1 }, "tags": ["x"] }),
    );
    update(
        &mut lab,
        &b,
        json!({ "config": { "topP": 0.5 }, "metadata": { "n": 2 }, "tags": ["y"] }),
    );
    let merged = merge(&mut lab, &[&a, &b], json!({})).unwrap();
    assert_eq!(
        merged["config"],
        json!({ "topK": 9, "topP": 0.5, "seed": 7 })
    );
    assert_eq!(merged["metadata"], json!({ "m": 1, "n": 2 }));
    assert_eq!(strings(&merged["tags"]), ["x", "y"]);
    assert_eq!(merged["rng"], json!({ "seed": 7, "position": 0.0 }));
    let theirs = merge(&mut lab, &[&a, &b], json!({ "strategy": "theirs" })).unwrap();
    assert_eq!(theirs["rng"]["seed"], 1);
    update(
        &mut lab,
        &b,
        json!({ "config": { "topK": 3 }, "metadata": { "m": 2 } }),
    );
    let error = merge(&mut lab, &[&a, &b], json!({})).unwrap_err();
    assert_eq!(
        strings(&error.details()["keys"]),
        ["config.topK", "metadata.m"]
    );
    assert_eq!(error.details()["conflicts"], json!([]));
    let merged = merge(&mut lab, &[&a, &b], json!({ "onConflict": "theirs" })).unwrap();
    assert_eq!(
        (&merged["config"]["topK"], &merged["metadata"]["m"]),
        (&json!(3), &json!(2))
    );
    let merged = merge(&mut lab, &[&a, &b], json!({ "strategy": "ours" })).unwrap();
    assert_eq!(merged["config"]["topK"], 9);
}

#[test]
fn a_merge_that_would_be_too_much_is_refused() {
    let mut lab = Lab::new();
    let base = lab.create("t", json!({}));
    let [a, b] = [0, 0].map(|_| lab.fork(&base, Value::Null));
    for (id, letter) in [(&a, "a"), (&b, "b")] {
        lab.append(id, &letter.repeat(100));
        let tags: Vec<String> = (0..40).map(|i| format!("{letter}{i}")).collect();
        lab.ok(json!({ "command": "update", "id": id, "tags": tags }));
    }
    let count = lab.states.iter().count();
    let concat = json!({ "strategy": "concat", "tags": [] });
    assert_eq!(
        merge(&mut lab, &[&a, &b], concat).unwrap_err().code(),
        "context-overflow"
    );
    let error = merge(&mut lab, &[&a, &b], json!({ "strategy": "ours" })).unwrap_err();
    assert_eq!(error.details(), json!({ "name": "tags" }));
    assert_eq!(lab.states.iter().count(), count);
}

#[test]
fn lists_are_searched_sorted_and_cut_into_pages() {
    let mut lab = Lab::new();
    let mut made = Vec::new();
    for (text, name, tags) in [
        ("The red fox", "Charlie", vec!["a", "b"]),
        ("A blue whale", "alpha", vec!["a"]),
        ("red", "Bravo", vec![]),
    ] {
        made.push(id(&lab.ok(json!({
            "command": "create", "text": text, "name": name, "tags": tags, "config": {},
        }))));
    }
    let mut list = |query: Value| {
        let mut command = json!({ "command": "list" });
        for (key, value) in query.as_object().unwrap() {
            command[key] = value.clone();
        }
        let answer = lab.ok(command);
        let items = answer["items"].as_array().unwrap().iter();
        let places = items.map(|item| made.iter().position(|id| *id == item["id"]).unwrap());
        (
            places.collect::<Vec<_>>(),
            answer["total"].as_u64().unwrap(),
        )
    };
    assert_eq!(list(json!({})), (vec![2, 1, 0], 3));
    assert_eq!(list(json!({ "order": "asc" })), (vec![0, 1, 2], 3));
    assert_eq!(
        list(json!({ "search": "RED", "order": "asc" })),
        (vec![0, 2], 2)
    );
    assert_eq!(list(json!({ "search": "ALPH" })), (vec![1], 1));
    assert_eq!(
        list(json!({ "tags": ["a"], "order": "asc" })),
        (vec![0, 1], 2)
    );
    assert_eq!(list(json!({ "tags": ["a", "b"] })), (vec![0], 1));
    assert_eq!(
        list(json!({ "sort": "name", "order": "asc" })),
        (vec![1, 2, 0], 3)
    );
    assert_eq!(list(json!({ "sort": "tokens" })), (vec![1, 0, 2], 3));
    assert_eq!(
        list(json!({ "sort": "created", "offset": 1, "limit": 1 })),
        (vec![1], 3)
    );
    assert_eq!(list(json!({ "offset": 9 })), (vec![], 3));
    assert_eq!(list(json!({ "model": "tiny" })).1, 3);
    assert_eq!(list(json!({ "model": "other" })).1, 0);
    assert_eq!(list(json!({ "pinned": true })).1, 0);
}

#[test]
fn history_and_diff_tell_what_was_done() {
    let mut lab = Lab::new();
    let state = lab.create("One.", sampled(1));
    let other = lab.fork(&state, Value::Null);
    lab.append(&state, " Two.");
    lab.ok(json!({ "command": "checkpoint", "id": state, "name": "two" }));
    lab.ok(json!({ "command": "update", "id": state, "config": { "topK": 3 } }));
    let result = lab.generate(&state, json!({})).unwrap();
    lab.ok(json!({ "command": "rollback", "id": state, "to": { "checkpoint": "two" } }));
    let history = lab.ok(json!({ "command": "history", "id": state }));
    let of = |key: &str| -> Vec<Value> {
        let entries = history.as_array().unwrap().iter();
        entries.map(|entry| entry[key].clone()).collect()
    };
    assert_eq!(
        of("operation"),
        ["rollback", "generate", "update", "append", "create"]
    );
    assert_eq!(
        of("added")[1..],
        [json!(result.text), json!(""), json!(" Two."), json!("One.")]
    );
    assert_eq!(of("tokensRemoved"), [12, 0, 0, 0, 0]);
    assert_eq!(of("tokens"), [9, 21, 9, 9, 4]);
    assert_eq!(history[1]["finishReason"], "length");
    assert_eq!(history[0]["target"], history[3]["revision"]);
    assert_eq!(history[3]["checkpoints"], json!(["two"]));
    assert_eq!(
        history[2]["configChanges"],
        json!([{ "key": "topK", "a": null, "b": 3 }])
    );
    let graph = lab.ok(json!({ "command": "graph" }));
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 5);
    let kinds = graph["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["kind"].clone());
    assert_eq!(kinds.filter(|kind| kind == "rollback").count(), 1);
    let diff = lab.ok(json!({ "command": "diff", "a": other, "b": state }));
    assert_eq!(diff["sharedTokens"], 4);
    assert_eq!(diff["hunks"][1]["b"]["content"], " Two.");
    assert_eq!(diff["ancestor"]["tokens"], 4);
    let tokens = lab.ok(json!({
        "command": "tokens", "id": state, "revision": history[4]["revision"],
    }));
    assert_eq!(tokens["text"], "One.");
}

#[test]
fn kv_bytes_are_told_as_shared_and_own() {
    let mut lab = Lab::new();
    let block = model().new_kv().block_bytes();
    let a = lab.create(&"x".repeat(70), json!({}));
    let b = lab.fork(&a, json!({ "tokens": 64 }));
    lab.append(&b, "yz");
    let kv_bytes = json!({ "command": "kvBytes", "a": a, "b": b });
    assert_eq!(
        lab.ok(kv_bytes.clone()),
        json!({ "shared": 0, "a": 0, "b": 0 })
    );
    lab.read(&a, None);
    lab.read(&b, None);
    let expected = json!({ "shared": 2 * block, "a": block, "b": block });
    assert_eq!(lab.ok(kv_bytes), expected);
}

#[test]
fn what_is_too_much_or_too_old_is_cleaned_up_and_pinned_states_stay() {
    let mut lab = Lab::new();
    let mut store = Store::default();
    let block = model().new_kv().block_bytes();
    let states = ["p", "q", "r", "s"].map(|letter| {
        let state = lab.create(&letter.repeat(64), json!({}));
        lab.read(&state, None);
        state
    });
    // The last shares its blocks with the first.
    let fork = lab.fork(&states[0], Value::Null);
    lab.commit_all(&mut store);
    assert_eq!(store.blocks.len(), 8);
    let mut doomed = |policy: Value| {
        let doomed = lab.ok(json!({ "command": "toCleanUp", "policy": policy }));
        let of = |id: String| {
            let place = states.iter().position(|state| *state == id);
            place.unwrap_or(states.len())
        };
        strings(&doomed).into_iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(doomed(json!({})), [0; 0]);
    assert_eq!(doomed(json!({ "maxStates": 3 })), [0, 1]);
    assert_eq!(doomed(json!({ "maxBytes": 8 * block })), [0; 0]);
    // The first frees nothing while its fork is there.
    assert_eq!(doomed(json!({ "maxBytes": 6 * block })), [0, 1]);
    assert_eq!(doomed(json!({ "maxBytes": 0 })), [0, 1, 2, 3, 4]);
    assert_eq!(doomed(json!({ "maxAgeMs": 1_000_000 })), [0; 0]);
    lab.ok(json!({ "command": "pin", "id": states[0], "pinned": true }));
    lab.now += 500;
    lab.info(&states[1]);
    let mut doomed =
        |policy: Value| strings(&lab.ok(json!({ "command": "toCleanUp", "policy": policy })));
    assert_eq!(
        doomed(json!({ "maxAgeMs": 400 })),
        [&states[2], &states[3], &fork].map(String::clone)
    );
    assert_eq!(doomed(json!({ "maxStates": 0 })).len(), 4);
    let pinned = states[0].clone();
    assert!(!doomed(json!({ "maxBytes": 0 })).contains(&pinned));
}
