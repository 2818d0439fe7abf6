//! The promises of `engine`: near the reference, and the same bits however a
//! text is run.

use super::*;
use crate::model::sink::{FloatSink, Sink};
use crate::model::{Ablation, Dtype, KvCache, Layers, LogitRows, Reference, Replacement, names};
use std::sync::Arc;

/// A model whose widths are no multiples of anything.
fn config() -> Config {
    Config::from_json(
        br#"{"model_type":"gpt2","n_layer":3,"n_head":3,"n_embd":42,"n_inner":70,"vocab_size":101,"n_positions":150}"#,
    )
    .unwrap()
}

/// Fills `sink` with the same made-up weights each time.
fn fill(sink: &mut dyn Sink) {
    let config = config();
    for (index, name) in names::all(&config).into_iter().enumerate() {
        let count: usize = names::shape(&config, &name).unwrap().iter().product();
        let (centre, spread) = match name.rsplit_once("ln_") {
            Some((_, rest)) if rest.ends_with("weight") => (1.0, 0.3),
            _ => (0.0, 0.25),
        };
        let mut state = index as u32 * 7919 + 1;
        let numbers: Vec<f32> = (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                centre + spread * (f64::from(state) / f64::from(1u32 << 31) - 1.0) as f32
            })
            .collect();
        sink.begin(&name, false).unwrap();
        for piece in numbers.chunks(97) {
            sink.push(piece);
        }
    }
}

pub(crate) fn engine(dtype: Dtype) -> Engine {
    let mut packed = Packed::zeroed(&config(), dtype).unwrap();
    fill(&mut packed);
    Engine::new(packed).unwrap()
}

fn text(len: usize, seed: usize) -> Vec<u32> {
    (0..len)
        .map(|i| ((i * i * 31 + i * 7 + seed * 13) % 101) as u32)
        .collect()
}

/// Logits of every position, the text cut into pieces of these lengths.
fn logits(model: &dyn Model, text: &[u32], pieces: &[usize]) -> Vec<f32> {
    let mut kv = model.new_kv();
    let mut all = Vec::new();
    let mut rest = text;
    for &piece in pieces.iter().cycle() {
        let (tokens, after) = rest.split_at(piece.min(rest.len()));
        let logits = LogitRows::All;
        let rows = Rows {
            kv: &mut kv,
            tokens,
            logits,
        };
        all.extend(
            model
                .forward(&mut [rows], Taps::default())
                .unwrap()
                .remove(0)
                .logits,
        );
        rest = after;
        if rest.is_empty() {
            return all;
        }
    }
    all
}

/// Bits, so that NaN and the sign of zero count too.
fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn it_stays_near_the_reference() {
    let mut sink = FloatSink::new(config());
    fill(&mut sink);
    let reference = Reference::new(config(), sink.finish().unwrap()).unwrap();
    let text = text(90, 1);
    let exact = logits(&reference, &text, &[90]);
    let spread = exact.iter().map(|x| x * x).sum::<f32>() / exact.len() as f32;
    for (dtype, allowed) in [(Dtype::Q8, 0.001), (Dtype::Q5, 0.03), (Dtype::Q4, 0.1)] {
        let found = logits(&engine(dtype), &text, &[90]);
        let squares = exact.iter().zip(&found).map(|(a, b)| (a - b).powi(2));
        let error = squares.sum::<f32>() / exact.len() as f32 / spread;
        assert!(error < allowed, "{dtype:?}: {error}");
        assert!(error > 0.0);
    }
}

#[test]
fn a_text_gives_the_same_bits_however_it_is_cut_into_passes() {
    for dtype in [Dtype::Q8, Dtype::Q5, Dtype::Q4] {
        let engine = engine(dtype);
        let text = text(100, 2);
        let whole = bits(&logits(&engine, &text, &[100]));
        for pieces in [&[1][..], &[2, 3], &[5, 1], &[31, 33], &[64, 7]] {
            assert_eq!(whole, bits(&logits(&engine, &text, pieces)), "{pieces:?}");
        }
    }
}

#[test]
fn a_sequence_gives_the_same_bits_alone_and_in_a_batch() {
    let engine = engine(Dtype::Q8);
    let texts: Vec<Vec<u32>> = [1, 33, 4, 70, 2].iter().map(|&n| text(n, n)).collect();
    let mut caches: Vec<KvCache> = texts.iter().map(|_| engine.new_kv()).collect();
    let mut batch: Vec<Rows> = caches
        .iter_mut()
        .zip(&texts)
        .map(|(kv, tokens)| Rows {
            kv,
            tokens,
            logits: LogitRows::All,
        })
        .collect();
    let together = engine.forward(&mut batch, Taps::default()).unwrap();
    for (text, output) in texts.iter().zip(together) {
        assert_eq!(
            bits(&logits(&engine, text, &[text.len()])),
            bits(&output.logits)
        );
    }
}

#[test]
fn a_sequence_may_ask_for_nothing_after_the_only_one_that_asks() {
    let engine = engine(Dtype::Q8);
    let text = text(10, 3);
    let alone = logits(&engine, &text, &[10]);
    let mut caches = [engine.new_kv(), engine.new_kv()];
    let asks = [LogitRows::Last, LogitRows::None];
    let mut batch: Vec<Rows> = caches
        .iter_mut()
        .zip(asks)
        .map(|(kv, logits)| Rows {
            kv,
            tokens: &text,
            logits,
        })
        .collect();
    let outputs = engine.forward(&mut batch, Taps::default()).unwrap();
    assert_eq!(bits(&outputs[0].logits), bits(&alone[9 * 101..]));
    assert!(outputs[1].logits.is_empty());
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let text = text(80, 3);
    let alone = bits(&logits(&engine(Dtype::Q8), &text, &[37, 1]));
    for threads in [2, 3, 5] {
        let pool: &'static Pool = Box::leak(Box::new(Pool::new()));
        pool.set_size(threads);
        std::thread::scope(|scope| {
            for index in 1..threads {
                scope.spawn(move || pool.work(index));
            }
            let engine = engine(Dtype::Q8).on_pool(pool);
            assert_eq!(alone, bits(&logits(&engine, &text, &[37, 1])));
            pool.close();
        });
    }
}

#[test]
fn a_fork_and_a_rollback_continue_as_if_nothing_had_been() {
    let engine = engine(Dtype::Q8);
    let text = text(70, 4);
    let run = |kv: &mut KvCache, tokens: &[u32]| {
        let rows = Rows {
            kv,
            tokens,
            logits: LogitRows::Last,
        };
        bits(&engine.forward(&mut [rows], Taps::default()).unwrap()[0].logits)
    };
    let mut kv = engine.new_kv();
    run(&mut kv, &text[..50]);
    let mut fork = kv.clone();
    let expected = run(&mut kv, &text[50..]);
    run(&mut fork, &[9, 8, 7]);
    fork.truncate(50);
    assert_eq!(expected, run(&mut fork, &text[50..]));
}

#[test]
fn taps_show_what_the_reference_shows() {
    let mut sink = FloatSink::new(config());
    fill(&mut sink);
    let reference = Reference::new(config(), sink.finish().unwrap()).unwrap();
    let engine = engine(Dtype::Q8);
    let text = text(40, 5);
    let taps = Taps {
        hidden_states: true,
        attentions: Layers::ALL,
        ..Taps::default()
    };
    let run = |model: &dyn Model| {
        let mut kv = model.new_kv();
        let rows = Rows {
            kv: &mut kv,
            tokens: &text,
            logits: LogitRows::None,
        };
        model.forward(&mut [rows], taps).unwrap().remove(0)
    };
    let (exact, found) = (run(&reference), run(&engine));
    for (exact, found) in [
        (&exact.hidden_states, &found.hidden_states),
        (&exact.attentions, &found.attentions),
    ] {
        assert_eq!(exact.len(), found.len());
        for (exact, found) in exact.iter().zip(found) {
            assert_eq!(exact.len(), found.len());
            for (exact, found) in exact.iter().zip(found) {
                assert!((exact - found).abs() < 0.12, "{exact} {found}");
            }
        }
    }
    for row in found.attentions[1].chunks_exact(40) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

pub(crate) fn reference() -> Reference {
    let mut sink = FloatSink::new(config());
    fill(&mut sink);
    Reference::new(config(), sink.finish().unwrap()).unwrap()
}

/// All that can be asked for.
const EVERYTHING: Taps = Taps {
    hidden_states: true,
    attentions: Layers::ALL,
    contexts: Layers::ALL,
    additions: Layers::ALL,
};

/// Runs the text in pieces of these lengths after taking out `heads`; what the
/// last pass gave.
fn tapped(
    model: &dyn Model,
    text: &[u32],
    pieces: &[usize],
    taps: Taps,
    heads: Vec<(usize, usize, Replacement)>,
) -> Output {
    let mut kv = model.new_kv();
    let ablation = Ablation::new(model.config(), heads).unwrap();
    kv.ablate(ablation.map(Arc::new));
    let mut last = Output::default();
    for &count in pieces {
        let rows = Rows {
            tokens: &text[kv.len()..kv.len() + count],
            kv: &mut kv,
            logits: LogitRows::All,
        };
        last = model.forward(&mut [rows], taps).unwrap().remove(0);
    }
    assert_eq!(kv.len(), text.len());
    last
}

fn assert_near(exact: &[f32], found: &[f32], allowed: f32) {
    assert_eq!(exact.len(), found.len());
    for (exact, found) in exact.iter().zip(found) {
        assert!((exact - found).abs() < allowed, "{exact} {found}");
    }
}

#[test]
fn layers_that_are_chosen_show_what_they_show_among_all() {
    let text = text(40, 6);
    let engine = engine(Dtype::Q8);
    let reference = reference();
    let models: [&dyn Model; 2] = [&engine, &reference];
    for model in models {
        let all = tapped(model, &text, &[40], EVERYTHING, vec![]);
        let taps = Taps {
            hidden_states: false,
            attentions: Layers::one(1),
            contexts: Layers::from_iter([0, 2]),
            additions: Layers::one(2),
        };
        let chosen = tapped(model, &text, &[40], taps, vec![]);
        assert_eq!(chosen.logits, all.logits);
        assert!(chosen.hidden_states.is_empty());
        assert_eq!(chosen.attentions, all.attentions[1..2]);
        assert_eq!(
            chosen.contexts,
            [all.contexts[0].clone(), all.contexts[2].clone()]
        );
        assert_eq!(chosen.attention_additions, all.attention_additions[2..]);
        assert_eq!(chosen.mlp_additions, all.mlp_additions[2..]);
    }
}

#[test]
fn what_is_captured_in_a_decode_is_what_a_prefill_captures() {
    let text = text(70, 7);
    let engine = engine(Dtype::Q8);
    let prefill = tapped(&engine, &text, &[70], EVERYTHING, vec![]);
    let mut decode = [40, 1, 1].to_vec();
    decode.extend([1; 28]);
    let decode = tapped(&engine, &text, &decode, EVERYTHING, vec![]);
    let last = |rows: &[f32], width: usize| bits(&rows[rows.len() - width..]);
    for layer in 0..3 {
        // A head's last row; a decode has one row only.
        let rows = prefill.attentions[layer].chunks_exact(70 * 70);
        let prefill_rows: Vec<u32> = rows.flat_map(|head| last(head, 70)).collect();
        assert_eq!(prefill_rows, bits(&decode.attentions[layer]));
        for (prefill, decode) in [
            (&prefill.contexts, &decode.contexts),
            (&prefill.attention_additions, &decode.attention_additions),
            (&prefill.mlp_additions, &decode.mlp_additions),
            (&prefill.hidden_states, &decode.hidden_states),
        ] {
            assert_eq!(last(&prefill[layer], 42), bits(&decode[layer]));
        }
    }
}

#[test]
fn what_layers_add_leads_from_the_embeddings_to_the_last_hidden_state() {
    let text = text(20, 8);
    let (engine, reference) = (engine(Dtype::Q8), reference());
    let models: [&dyn Model; 2] = [&engine, &reference];
    for model in models {
        let output = tapped(model, &text, &[20], EVERYTHING, vec![]);
        for layer in 0..3 {
            let added: Vec<f32> = output.hidden_states[layer]
                .iter()
                .zip(&output.attention_additions[layer])
                .zip(&output.mlp_additions[layer])
                .map(|((before, attention), mlp)| before + attention + mlp)
                .collect();
            assert_eq!(added, output.hidden_states[layer + 1]);
        }
    }
}

#[test]
fn taking_out_no_head_changes_nothing() {
    let text = text(40, 9);
    let engine = engine(Dtype::Q8);
    let plain = logits(&engine, &text, &[40]);
    let none = tapped(&engine, &text, &[40], Taps::default(), vec![]);
    assert_eq!(bits(&plain), bits(&none.logits));
}

#[test]
fn heads_are_taken_out_as_the_reference_takes_them_out() {
    let text = text(40, 10);
    let heads = || {
        let mean = (0..14).map(|i| i as f32 / 10.0 - 0.7).collect();
        vec![
            (0, 2, Replacement::Zero),
            (1, 0, Replacement::Mean(mean)),
            (1, 1, Replacement::Zero),
        ]
    };
    let (engine, reference) = (engine(Dtype::Q8), reference());
    let plain = tapped(&engine, &text, &[40], EVERYTHING, vec![]);
    let found = tapped(&engine, &text, &[40], EVERYTHING, heads());
    let exact = tapped(&reference, &text, &[40], EVERYTHING, heads());
    assert_ne!(plain.logits, found.logits);
    assert_near(&exact.logits, &found.logits, 0.3);
    for (exact, found) in exact.contexts.iter().zip(&found.contexts) {
        assert_near(exact, found, 0.1);
    }
    for row in found.contexts[0].chunks_exact(42) {
        assert_eq!(row[28..], [0.0; 14]);
    }
    for row in found.contexts[1].chunks_exact(42) {
        assert_eq!((row[0], row[13], row[14]), (-0.7, 13.0 / 10.0 - 0.7, 0.0));
    }
    // What a head looks at is shown, whether or not it is heard.
    assert_eq!(plain.attentions[0], found.attentions[0]);
    let cut = tapped(&engine, &text, &[33, 1, 6], Taps::default(), heads());
    assert_eq!(bits(&cut.logits), bits(&found.logits[34 * 101..]));
}

#[test]
fn a_sequence_without_heads_and_one_with_all_do_not_mix_in_a_batch() {
    let engine = engine(Dtype::Q8);
    let text = text(10, 11);
    let heads = || vec![(0, 0, Replacement::Zero), (2, 1, Replacement::Zero)];
    let mut caches = [engine.new_kv(), engine.new_kv()];
    let ablation = Ablation::new(&config(), heads()).unwrap();
    caches[1].ablate(ablation.map(Arc::new));
    let mut batch: Vec<Rows> = caches
        .iter_mut()
        .map(|kv| Rows {
            kv,
            tokens: &text,
            logits: LogitRows::All,
        })
        .collect();
    let together = engine.forward(&mut batch, Taps::default()).unwrap();
    let plain = logits(&engine, &text, &[10]);
    let without = tapped(&engine, &text, &[10], Taps::default(), heads());
    assert_eq!(bits(&together[0].logits), bits(&plain));
    assert_eq!(bits(&together[1].logits), bits(&without.logits));
    assert_ne!(plain, without.logits);
}

#[test]
fn a_last_hidden_state_unembeds_to_the_logits() {
    let text = text(9, 12);
    let engine = engine(Dtype::Q8);
    for pieces in [&[9][..], &[8, 1]] {
        let output = tapped(&engine, &text, pieces, EVERYTHING, vec![]);
        let logits = engine.unembed(&output.hidden_states[3]).unwrap();
        assert_eq!(bits(&logits), bits(&output.logits));
    }
    let reference = reference();
    let output = tapped(&reference, &text, &[9], EVERYTHING, vec![]);
    let logits = reference.unembed(&output.hidden_states[3]).unwrap();
    assert_eq!(logits, output.logits);
    assert_eq!(
        engine.unembed(&[0.0; 43]).unwrap_err().code(),
        "invalid-argument"
    );
}

#[test]
fn weights_are_shown_row_by_row_as_both_compute_with_them() {
    let (engine, reference) = (engine(Dtype::Q8), reference());
    for name in names::all(&config()) {
        let shape = names::shape(&config(), &name).unwrap();
        let rows = if shape.len() == 2 { shape[0] } else { 1 };
        let exact = reference.weight_rows(&name, 0..rows).unwrap();
        let found = engine.weight_rows(&name, 0..rows).unwrap();
        assert_eq!(exact.len(), shape.iter().product::<usize>());
        assert_near(&exact, &found, 0.002);
        let width = exact.len() / rows;
        let last = engine.weight_rows(&name, rows - 1..rows).unwrap();
        assert_eq!(last, found[(rows - 1) * width..]);
        for model in [&engine as &dyn Model, &reference] {
            let error = model.weight_rows(&name, rows..rows + 1).unwrap_err();
            assert_eq!(error.code(), "invalid-argument");
        }
    }
    assert!(engine.weight_rows("h.3.ln_1.weight", 0..1).is_err());
}
