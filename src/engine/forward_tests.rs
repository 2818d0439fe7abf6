//! The promises of `engine`: near the reference, and the same bits however a
//! text is run.

use super::*;
use crate::model::sink::{FloatSink, Sink};
use crate::model::{Dtype, KvCache, LogitRows, Reference, names};

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
        attentions: true,
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
