//! What a check found: how many cases it ran, which failed, and what it
//! measured on the way.

use serde::Serialize;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Cases run.
    pub cases: usize,
    /// One line a failure; empty is success.
    pub failures: Vec<String>,
    /// Figures worth printing: largest differences, for instance.
    pub measured: Vec<String>,
}

impl Report {
    /// Counts a case, and notes it where it fails.
    pub fn case(&mut self, name: &str, outcome: Result<(), String>) {
        self.cases += 1;
        if let Err(why) = outcome {
            self.failures.push(format!("{name}: {why}"));
        }
    }

    /// Panics where a case failed or, worse, none was run.
    #[track_caller]
    pub fn assert(&self) {
        println!("{} cases; {}", self.cases, self.measured.join("; "));
        assert!(self.cases > 0, "the check ran no case");
        assert!(
            self.failures.is_empty(),
            "{} of {} cases failed:\n{}",
            self.failures.len(),
            self.cases,
            self.failures[..self.failures.len().min(20)].join("\n")
        );
    }
}

/// Errors where a number differs in any bit; `what` they are.
pub fn same_bits(what: &str, expected: &[f32], found: &[f32]) -> Result<(), String> {
    if expected.len() != found.len() {
        let (found, expected) = (found.len(), expected.len());
        return Err(format!("{what}: {found} numbers, not {expected}"));
    }
    let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
    match expected.iter().zip(found).position(differs) {
        None => Ok(()),
        Some(at) => Err(format!(
            "{what}: number {at} is {} and not {}",
            found[at], expected[at]
        )),
    }
}
