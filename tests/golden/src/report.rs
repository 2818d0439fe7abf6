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
