//! Whether all threads run a pass, or one alone.
//!
//! One thread nearly fills the memory's bandwidth while it writes token by
//! token, so more help little there, and on a core that something else keeps
//! busy they only hold the others up. What is faster is a matter of the device
//! and the moment: both ways are timed now and then, and the faster one is
//! taken. They give the same bits, so the choice shows in nothing but time.

/// Passes between two tries of the slower way.
const PROBE_EVERY: u32 = 24;
/// At first both ways take turns: until a browser has compiled the code for
/// good, times say little.
const WARM_UP: u32 = 16;
/// How much of a new time goes into a way's mean.
const WEIGHT: f64 = 0.3;

/// Chooses, pass by pass; see the module.
#[derive(Debug, Default)]
pub struct Governor {
    /// By number of rows: one, few, many.
    kinds: [Kind; 3],
}

#[derive(Debug, Default)]
struct Kind {
    /// Mean milliseconds a row, alone and together; 0 while unknown.
    means: [f64; 2],
    passes: u32,
}

impl Governor {
    fn kind(&mut self, rows: usize) -> &mut Kind {
        &mut self.kinds[match rows {
            1 => 0,
            2..=8 => 1,
            _ => 2,
        }]
    }

    /// True where all threads are to run the next pass of `rows` rows.
    pub fn together(&mut self, rows: usize) -> bool {
        let kind = self.kind(rows);
        kind.passes += 1;
        // Two in a row, as the first one's threads may have been asleep.
        let turn = kind.passes / 2;
        if kind.passes <= WARM_UP {
            return turn.is_multiple_of(2);
        }
        let [alone, together] = kind.means;
        let better = together < alone;
        if turn.is_multiple_of(PROBE_EVERY / 2) {
            !better
        } else {
            better
        }
    }

    /// Learns what a pass took, in milliseconds.
    pub fn learn(&mut self, rows: usize, together: bool, ms: f64) {
        let mean = &mut self.kind(rows).means[usize::from(together)];
        let ms = ms / rows as f64;
        *mean = if *mean == 0.0 {
            ms
        } else {
            // One pass that was held up says little about the next.
            *mean + WEIGHT * (ms.min(*mean * 2.0) - *mean)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs passes of one row that take so long alone and together; how many
    /// ran together.
    fn run(governor: &mut Governor, passes: usize, alone: f64, together: f64) -> usize {
        (0..passes)
            .filter(|_| {
                let choice = governor.together(1);
                governor.learn(1, choice, if choice { together } else { alone });
                choice
            })
            .count()
    }

    #[test]
    fn the_faster_way_is_taken_and_the_other_tried_again() {
        let mut governor = Governor::default();
        let together = run(&mut governor, 1000, 5.0, 3.0);
        assert!((880..950).contains(&together), "{together}");
        // A core gets busy, and is free again later.
        let together = run(&mut governor, 1000, 5.0, 9.0);
        assert!((60..140).contains(&together), "{together}");
        let together = run(&mut governor, 1000, 5.0, 3.0);
        assert!(together > 800, "{together}");
    }

    #[test]
    fn slow_first_passes_are_forgotten() {
        let mut governor = Governor::default();
        // Code that is not compiled for good yet: four times as slow.
        for pass in 0..6 {
            let choice = governor.together(32);
            let slow = if pass < 4 { 4.0 } else { 1.0 };
            governor.learn(32, choice, slow * if choice { 20.0 } else { 40.0 });
        }
        let together = (0..200)
            .filter(|_| {
                let choice = governor.together(32);
                governor.learn(32, choice, if choice { 20.0 } else { 40.0 });
                choice
            })
            .count();
        assert!(together > 170, "{together}");
    }

    #[test]
    fn kinds_of_passes_are_judged_apart() {
        let mut governor = Governor::default();
        run(&mut governor, 100, 4.0, 5.0);
        for _ in 0..100 {
            let choice = governor.together(32);
            governor.learn(32, choice, if choice { 20.0 } else { 40.0 });
        }
        assert!(!governor.together(1));
        assert!(governor.together(32));
    }
}
