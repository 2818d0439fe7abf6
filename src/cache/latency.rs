//! How long something took, each time: count, mean, percentiles.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longer ones count as this, in microseconds: an hour.
const MAX_MICROSECONDS: u64 = 3_600_000_000;
/// Percentiles are right to this many digits.
const DIGITS: u8 = 2;

/// In milliseconds: `Latency` in TypeScript. All 0 where there was none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
    /// Of all, exact.
    #[serde(skip)]
    pub sum: f64,
}

/// Percentiles come from a histogram of microseconds, whose size does not grow
/// with the count; the rest is exact.
#[derive(Debug, Default)]
pub struct Latencies {
    /// There from the first on.
    histogram: Option<Histogram<u32>>,
    count: u64,
    sum: f64,
    max: f64,
}

impl Latencies {
    /// A time in milliseconds; what is none is passed over.
    pub fn record(&mut self, ms: f64) {
        if !ms.is_finite() || ms < 0.0 {
            return;
        }
        self.count += 1;
        self.sum += ms;
        self.max = self.max.max(ms);
        if self.histogram.is_none() {
            self.histogram = Histogram::new_with_max(MAX_MICROSECONDS, DIGITS).ok();
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record((ms * 1_000.0).round() as u64);
        }
    }

    pub fn latency(&self) -> Latency {
        let percentile = |share| match &self.histogram {
            // The top of the value's bucket; nothing took longer than the longest.
            Some(histogram) => {
                let ms = histogram.value_at_quantile(share) as f64 / 1_000.0;
                ms.min(self.max)
            }
            None => 0.0,
        };
        Latency {
            count: self.count,
            mean: self.sum / self.count.max(1) as f64,
            p50: percentile(0.5),
            p90: percentile(0.9),
            p99: percentile(0.99),
            max: self.max,
            sum: self.sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_any_all_is_zero_and_nonsense_is_no_time() {
        let mut latencies = Latencies::default();
        for wrong in [f64::NAN, f64::INFINITY, -1.0] {
            latencies.record(wrong);
        }
        let nothing = r#"{"count":0,"mean":0.0,"p50":0.0,"p90":0.0,"p99":0.0,"max":0.0}"#;
        assert_eq!(
            serde_json::to_string(&latencies.latency()).unwrap(),
            nothing
        );
    }

    #[test]
    fn more_than_an_hour_is_counted() {
        let mut latencies = Latencies::default();
        latencies.record(1e9);
        let latency = latencies.latency();
        assert_eq!((latency.count, latency.max), (1, 1e9));
        assert!((latency.p50 / 3_600_000.0 - 1.0).abs() < 0.01);
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_sorted_times_within_a_hundredth(
            mut times in prop::collection::vec(0.001..100_000.0f64, 1..200),
        ) {
            let mut latencies = Latencies::default();
            times.iter().for_each(|ms| latencies.record(*ms));
            times.sort_by(f64::total_cmp);
            let latency = latencies.latency();
            prop_assert_eq!(latency.count, times.len() as u64);
            prop_assert_eq!(latency.max, times[times.len() - 1]);
            let sum: f64 = times.iter().sum();
            prop_assert!((latency.mean * times.len() as f64 / sum - 1.0).abs() < 1e-9);
            for (share, got) in [(0.5, latency.p50), (0.9, latency.p90), (0.99, latency.p99)] {
                let rank = (share * times.len() as f64).ceil() as usize;
                let exact = times[rank - 1];
                // A microsecond for rounding.
                prop_assert!((got - exact).abs() <= exact * 0.01 + 0.001, "{} {}", got, exact);
            }
        }
    }
}
