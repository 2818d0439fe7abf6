//! The fast engine's promises, in whichever build this runs: the same bits
//! from every arithmetic, however a text is cut into passes, in every batch,
//! and in every build; and results near transformers'.

use crate::fixtures::{Array, Fixtures};
use crate::forward::load;
use crate::report::{Report, same_bits};
use cacher_wasm::engine::Engine;
use cacher_wasm::engine::kernels::linear::{Arithmetic, RelaxedDot, relaxed_dot};
use cacher_wasm::model::{Dtype, KvCache, LoadedWeights, LogitRows, Model, Rows, Taps};
use serde::Deserialize;

pub use crate::forward::FILES;

/// What the logits' bits hash to, computed natively: by model and dtype.
const DIGESTS: &[(&str, Dtype, u64)] = &[
    ("mini-a", Dtype::Q8, 0x1631_56b7_abef_92f3),
    ("mini-a", Dtype::Q5, 0xf0c7_7519_f667_1efb),
    ("mini-a", Dtype::Q4, 0x34fb_2116_df52_6227),
    ("mini-b", Dtype::Q8, 0x78c9_1a87_c993_50ef),
    ("mini-b", Dtype::Q5, 0x7b23_5eca_5ee4_0670),
    ("mini-b", Dtype::Q4, 0x0aa0_3b12_ac66_5726),
    ("mini-c", Dtype::Q8, 0x060f_6efd_61f8_4b47),
    ("mini-c", Dtype::Q5, 0x5138_3536_f151_e701),
    ("mini-c", Dtype::Q4, 0x8afc_29f9_740c_e5e3),
];

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    input_ids: Vec<u32>,
    logits: Option<Array>,
}

/// Every arithmetic of this build.
fn arithmetics() -> Vec<Option<Arithmetic>> {
    let mut all = vec![None, Some(Arithmetic::Scalar)];
    if cfg!(target_feature = "simd128") {
        all.push(Some(Arithmetic::Simd128));
    }
    all
}

fn engine(fixtures: &Fixtures, name: &str, dtype: Dtype) -> Engine {
    match load(fixtures, name, dtype).weights {
        LoadedWeights::Packed(packed) => Engine::new(*packed).unwrap(),
        LoadedWeights::Tensors(_) => panic!("{dtype:?} gave tensors"),
    }
}

pub fn check(fixtures: &Fixtures) -> Report {
    let mut report = Report::default();
    let mut worst = 0f32;
    for &(name, dtype, digest) in DIGESTS {
        let goldens: Goldens = fixtures.json(&format!("{name}/forward.json"));
        let longest = goldens.cases.iter().max_by_key(|case| case.input_ids.len());
        let text = &longest.expect("there are cases").input_ids;
        let engine = engine(fixtures, name, dtype);
        let whole = logits(&engine, text, &[text.len()]);
        let label = |what: &str| format!("{name} {dtype:?}: {what}");

        let found = hash(&whole);
        report.case(&label("the same bits as natively"), equal(&found, &digest));
        for pieces in [&[1][..], &[2, 5], &[31, 1], &[8, 3, 33]] {
            let cut = logits(&engine, text, pieces);
            report.case(
                &label(&format!("cut into {pieces:?}")),
                same_bits("logits", &whole, &cut),
            );
        }
        report.case(&label("in a batch"), batch(&engine, text));
        let mut engine = engine;
        for arithmetic in arithmetics() {
            engine.set_arithmetic(arithmetic);
            let other = logits(&engine, text, &[text.len()]);
            report.case(
                &label(&format!("{arithmetic:?}")),
                same_bits("logits", &whole, &other),
            );
            let one = logits(&engine, &text[..text.len().min(12)], &[1]);
            report.case(
                &label(&format!("{arithmetic:?}, row by row")),
                same_bits("logits", &whole[..one.len()], &one),
            );
        }
        engine.set_arithmetic(None);
        if dtype == Dtype::Q8 {
            for case in &goldens.cases {
                if let Some(expected) = &case.logits {
                    let found = logits(&engine, &case.input_ids, &[case.input_ids.len()]);
                    let error = relative_error(&found, &expected.values);
                    worst = worst.max(error);
                    // Eight bits lose 0.5 % in each factor of each product.
                    let outcome = if error < 0.04 {
                        Ok(())
                    } else {
                        Err(format!("relative error {error}"))
                    };
                    report.case(&format!("{name} {} near transformers", case.name), outcome);
                }
            }
        }
    }
    report.measured.push(format!(
        "relaxed dot {:?}; largest relative error of q8 logits {worst:.1e}",
        relaxed_dot()
    ));
    if cfg!(target_feature = "relaxed-simd") {
        report.case(
            "this build has the relaxed dot",
            match relaxed_dot() {
                RelaxedDot::Absent => Err("it is absent".into()),
                _ => Ok(()),
            },
        );
    }
    report
}

/// Logits of all positions, the text cut into pieces of these lengths.
fn logits(engine: &Engine, text: &[u32], pieces: &[usize]) -> Vec<f32> {
    let mut kv = engine.new_kv();
    let mut all = Vec::new();
    let mut rest = text;
    for &piece in pieces.iter().cycle() {
        let (tokens, after) = rest.split_at(piece.min(rest.len()));
        let rows = Rows {
            kv: &mut kv,
            tokens,
            logits: LogitRows::All,
        };
        all.extend(
            engine
                .forward(&mut [rows], Taps::default())
                .unwrap()
                .remove(0)
                .logits,
        );
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    all
}

/// Five sequences at once, of different lengths, against each alone.
fn batch(engine: &Engine, text: &[u32]) -> Result<(), String> {
    let lengths = [1, 2, 7, text.len() / 2, text.len()];
    let mut caches: Vec<KvCache> = lengths.iter().map(|_| engine.new_kv()).collect();
    let mut batch: Vec<Rows> = caches
        .iter_mut()
        .zip(lengths)
        .map(|(kv, len)| Rows {
            kv,
            tokens: &text[..len.max(1)],
            logits: LogitRows::All,
        })
        .collect();
    let together = engine.forward(&mut batch, Taps::default()).unwrap();
    for (len, output) in lengths.into_iter().zip(together) {
        same_bits(
            "logits",
            &logits(engine, &text[..len.max(1)], &[64]),
            &output.logits,
        )?;
    }
    Ok(())
}

fn equal<T: PartialEq + std::fmt::LowerHex>(found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{found:#018x} and not {expected:#018x}"))
    }
}

/// FNV-1a over the numbers' bits.
fn hash(numbers: &[f32]) -> u64 {
    numbers
        .iter()
        .flat_map(|x| x.to_bits().to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    let squares = found.iter().zip(expected).map(|(a, b)| (a - b) * (a - b));
    let norm: f32 = expected.iter().map(|x| x * x).sum();
    (squares.sum::<f32>() / norm).sqrt()
}
