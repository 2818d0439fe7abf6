//! Prints what `docs/semantic.md` says: `cargo run --release -p cacher-semantic`.

use cacher_semantic::{
    Guards, POOLINGS, Pair, Pairs, Pooled, Tally, cosine, means, pooled, scheduler,
};
use cacher_wasm::cache::semantic::DEFAULT_THRESHOLD;
use cacher_wasm::generate::embedding::LAYER;
use std::collections::BTreeMap;

/// Index of the pooling in use, of [`POOLINGS`].
const POOLING: usize = 1;

const GUARDS: [Guards; 3] = [Guards::Off, Guards::NotWords, Guards::All];

/// A half with the vectors of its prompts.
struct Half<'a> {
    pairs: &'a [Pair],
    vectors: Vec<[Pooled; 2]>,
    /// Which pairs each of [`GUARDS`] accepts.
    accepted: [Vec<bool>; 3],
}

/// How near a layer and a pooling put prompts.
struct View<'a> {
    half: &'a Half<'a>,
    layer: usize,
    pooling: usize,
    centre: &'a [f64],
    /// Of every pair.
    scores: Vec<f64>,
}

impl<'a> View<'a> {
    fn new(half: &'a Half, layer: usize, pooling: usize, centre: &'a [f64]) -> Self {
        let mut view = Self {
            half,
            layer,
            pooling,
            centre,
            scores: Vec::new(),
        };
        let pairs = half.vectors.iter();
        view.scores = pairs.map(|[a, b]| view.score(a, b)).collect();
        view
    }

    fn score(&self, a: &Pooled, b: &Pooled) -> f64 {
        let [a, b] = [a, b].map(|text| &text[self.layer][self.pooling]);
        cosine(a, b, self.centre)
    }

    /// Of prompts of different pairs, ascending.
    fn unrelated(&self) -> Vec<f64> {
        let mut scores = Vec::new();
        for (i, pair) in self.half.vectors.iter().enumerate() {
            for other in &self.half.vectors[i + 1..] {
                for (a, b) in pair.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
                    scores.push(self.score(a, b));
                }
            }
        }
        scores.sort_by(f64::total_cmp);
        scores
    }

    /// `guards` is an index of [`GUARDS`].
    fn tally(&self, threshold: f64, guards: usize) -> Tally {
        let mut tally = Tally::default();
        let accepted = &self.half.accepted[guards];
        for ((pair, score), accepted) in self.half.pairs.iter().zip(&self.scores).zip(accepted) {
            tally.count(pair.same, *score >= threshold && *accepted);
        }
        tally
    }

    /// The highest recall at 99 % precision or more.
    fn best_recall(&self, guards: usize) -> f64 {
        let tallies = self.scores.iter().map(|&t| self.tally(t, guards));
        let precise = tallies.filter(|tally| tally.precision() >= 0.99);
        precise.map(|tally| tally.recall()).fold(0.0, f64::max)
    }
}

fn main() {
    let pairs = Pairs::read();
    let scheduler = scheduler();
    let means = means(&scheduler);
    let [choose, report] = [&pairs.choose, &pairs.report].map(|pairs| Half {
        pairs,
        vectors: vectors(&scheduler, pairs),
        accepted: GUARDS.map(|guards| {
            let accept = |pair: &Pair| guards.accept(&pair.a, &pair.b);
            pairs.iter().map(accept).collect()
        }),
    });

    println!("By layer and pooling, on the half to choose by:");
    println!(
        "layer pooling centred | median and 99.9 % of unrelated, of same | recall at 99 % precision: no guards, not words, all"
    );
    for (layer, mean) in means.iter().enumerate() {
        for (pooling, mean) in mean.iter().enumerate() {
            for (centred, centre) in [(false, &vec![0.0; mean.len()]), (true, mean)] {
                let view = View::new(&choose, layer, pooling, centre);
                let unrelated = view.unrelated();
                let pairs = choose.pairs.iter().zip(&view.scores);
                let same = pairs.filter(|(pair, _)| pair.same);
                let mut same: Vec<f64> = same.map(|(_, score)| *score).collect();
                same.sort_by(f64::total_cmp);
                println!(
                    "{layer:5} {:7} {centred:7} | {:.3} {:.3}, {:.3} | {:.2} {:.2} {:.2}",
                    format!("{:?}", POOLINGS[pooling]),
                    unrelated[unrelated.len() / 2],
                    unrelated[unrelated.len() * 999 / 1000],
                    same[same.len() / 2],
                    view.best_recall(0),
                    view.best_recall(1),
                    view.best_recall(2),
                );
            }
        }
    }

    println!("\nBy threshold, precision and recall; unrelated prompts as near:");
    for (name, half) in [("choose", &choose), ("report", &report)] {
        let view = View::new(half, LAYER, POOLING, &means[LAYER][POOLING]);
        let unrelated = view.unrelated();
        let mut thresholds: Vec<f64> = (0..20).map(|i| f64::from(i) * 0.05).collect();
        thresholds.push(-1.0);
        for threshold in thresholds {
            let near = unrelated.len() - unrelated.partition_point(|&score| score < threshold);
            print!("{name} {threshold:5.2} |");
            for guards in 0..GUARDS.len() {
                let tally = view.tally(threshold, guards);
                print!(" {:.3} {:.3} |", tally.precision(), tally.recall());
            }
            println!(" {:.5}", near as f64 / unrelated.len() as f64);
        }
    }

    println!("\nBy kind, with the default threshold, on the half to report:");
    let view = View::new(&report, LAYER, POOLING, &means[LAYER][POOLING]);
    let mut kinds: BTreeMap<(bool, &str), [usize; 4]> = BTreeMap::new();
    for (pair, score) in report.pairs.iter().zip(&view.scores) {
        let counts = kinds.entry((pair.same, &pair.kind)).or_default();
        let near = *score >= f64::from(DEFAULT_THRESHOLD);
        let accepted = Guards::All.accept(&pair.a, &pair.b);
        for (count, is) in counts
            .iter_mut()
            .zip([true, near, accepted, near && accepted])
        {
            *count += usize::from(is);
        }
    }
    for ((same, kind), [all, near, accepted, matched]) in kinds {
        println!(
            "{same:5} {kind:14} | {all} pairs, {near} near, {accepted} accepted, {matched} matched"
        );
    }

    let prompts: Vec<(usize, &str)> = [&pairs.choose, &pairs.report]
        .into_iter()
        .flatten()
        .enumerate()
        .flat_map(|(index, pair)| [(index, &*pair.a), (index, &*pair.b)])
        .collect();
    let mut compared = 0;
    for (at, (index, a)) in prompts.iter().enumerate() {
        for (other, b) in &prompts[at + 1..] {
            compared += usize::from(index != other);
            if index != other && Guards::All.accept(a, b) {
                println!("accepted: {a} | {b}");
            }
        }
    }
    println!("\n{compared} pairs of unrelated prompts were shown to the guards alone");
}

fn vectors(scheduler: &cacher_wasm::generate::Scheduler, pairs: &[Pair]) -> Vec<[Pooled; 2]> {
    let pairs = pairs.iter();
    pairs
        .map(|pair| [&pair.a, &pair.b].map(|text| pooled(scheduler, text)))
        .collect()
}
