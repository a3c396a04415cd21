//! The JSON and the table of a benchmark.

use serde::Serialize;
use std::time::Duration;

/// The whole object.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Operations in flight at once.
    pub(crate) threads: usize,
    pub(crate) operations: Vec<OperationReport>,
    pub(crate) floors: Vec<Floor>,
}

/// One kind of operation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OperationReport {
    pub(crate) op: &'static str,
    pub(crate) count: usize,
    pub(crate) ops_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Processor seconds of all nodes and of the client for 1000 operations.
    pub(crate) cpu_s_per_1000: f64,
}

/// What the machine does without Curlew.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Floor {
    pub(crate) floor: &'static str,
    pub(crate) count: usize,
    pub(crate) ops_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// What a percentile and a rate are made of.
pub(crate) struct Sample {
    pub(crate) took: Duration,
    pub(crate) each: Vec<Duration>,
}

impl Sample {
    pub(crate) fn rate(&self) -> f64 {
        self.each.len() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// The given part of the operations took at most this many microseconds.
    pub(crate) fn percentile_us(&mut self, part: f64) -> f64 {
        self.each.sort_unstable();
        let last = self.each.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = (last as f64 * part).round() as usize;
        self.each
            .get(index)
            .map_or(0.0, |took| took.as_secs_f64() * 1e6)
    }

    pub(crate) fn operation(mut self, op: &'static str, cpu_seconds: f64) -> OperationReport {
        let count = self.each.len();
        OperationReport {
            op,
            count,
            ops_per_s: self.rate(),
            p50_us: self.percentile_us(0.5),
            p99_us: self.percentile_us(0.99),
            cpu_s_per_1000: cpu_seconds * 1000.0 / count.max(1) as f64,
        }
    }

    pub(crate) fn floor(mut self, floor: &'static str) -> Floor {
        Floor {
            floor,
            count: self.each.len(),
            ops_per_s: self.rate(),
            p50_us: self.percentile_us(0.5),
            p99_us: self.percentile_us(0.99),
        }
    }
}

impl Report {
    /// A table for people, with each rate as a share of the first floor's.
    pub(crate) fn print(&self) {
        println!(
            "{:12} {:>9} {:>10} {:>10} {:>10} {:>12} {:>9}",
            "", "count", "per s", "p50 us", "p99 us", "cpu s/1000", "x floor"
        );
        let floor = self
            .floors
            .first()
            .map_or(f64::NAN, |floor| floor.ops_per_s);
        for op in &self.operations {
            println!(
                "{:12} {:>9} {:>10.0} {:>10.0} {:>10.0} {:>12.4} {:>9.2}",
                op.op,
                op.count,
                op.ops_per_s,
                op.p50_us,
                op.p99_us,
                op.cpu_s_per_1000,
                op.ops_per_s / floor
            );
        }
        for floor in &self.floors {
            println!(
                "{:12} {:>9} {:>10.0} {:>10.0} {:>10.0}   (floor)",
                floor.floor, floor.count, floor.ops_per_s, floor.p50_us, floor.p99_us
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_rates_come_from_the_sample() {
        let each: Vec<Duration> = (1..=101).rev().map(Duration::from_micros).collect();
        let mut sample = Sample {
            took: Duration::from_secs(2),
            each,
        };
        assert!((sample.rate() - 50.5).abs() < 1e-9);
        assert!((sample.percentile_us(0.5) - 51.0).abs() < 1e-6);
        assert!((sample.percentile_us(0.99) - 100.0).abs() < 1e-6);
    }

    #[test]
    fn the_shape_of_the_json_is_frozen() {
        let sample = || Sample {
            took: Duration::from_secs(1),
            each: vec![Duration::ZERO; 4],
        };
        let report = Report {
            threads: 2,
            operations: vec![sample().operation("create", 2.0)],
            floors: vec![sample().floor("fdatasync")],
        };
        assert_eq!(
            serde_json::to_string(&report).expect("JSON"),
            "{\"threads\":2,\"operations\":[{\"op\":\"create\",\"count\":4,\"ops_per_s\":4.0,\
             \"p50_us\":0.0,\"p99_us\":0.0,\"cpu_s_per_1000\":500.0}],\"floors\":[{\"floor\":\
             \"fdatasync\",\"count\":4,\"ops_per_s\":4.0,\"p50_us\":0.0,\"p99_us\":0.0}]}"
        );
    }
}
