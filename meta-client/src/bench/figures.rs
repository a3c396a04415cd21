//! Figures of a benchmark: the JSON that scripts read, and a table for people.

use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// The whole object.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Operations in flight at once.
    pub threads: usize,
    /// What was measured.
    pub operations: Vec<OperationReport>,
    /// What the machine does without Curlew, in the same run.
    pub floors: Vec<Floor>,
}

/// One kind of operation.
#[derive(Clone, Debug, Serialize)]
pub struct OperationReport {
    /// Its name.
    pub op: &'static str,
    /// How many.
    pub count: usize,
    /// Of all threads together.
    pub ops_per_s: f64,
    /// Half of them took at most so long, in microseconds.
    pub p50_us: f64,
    /// All but one of a hundred took at most so long, in microseconds.
    pub p99_us: f64,
    /// Processor seconds of all processes that were looked at, for 1000 operations.
    pub cpu_s_per_1000: f64,
}

/// What the machine does without Curlew.
#[derive(Clone, Debug, Serialize)]
pub struct Floor {
    /// Its name.
    pub floor: &'static str,
    /// How many.
    pub count: usize,
    /// Of all threads together.
    pub ops_per_s: f64,
    /// As [`OperationReport::p50_us`].
    pub p50_us: f64,
    /// As [`OperationReport::p99_us`].
    pub p99_us: f64,
}

/// What a percentile and a rate are made of.
#[derive(Debug)]
pub struct Sample {
    /// From the first beginning to the last end.
    pub took: Duration,
    /// How long each took.
    pub each: Vec<Duration>,
}

impl Sample {
    /// Operations in a second.
    pub fn rate(&self) -> f64 {
        self.each.len() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// The given part of the operations took at most this many microseconds.
    pub fn percentile_us(&mut self, part: f64) -> f64 {
        self.each.sort_unstable();
        let last = self.each.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = (last as f64 * part).round() as usize;
        let took = self.each.get(index);
        took.map_or(0.0, |took| took.as_secs_f64() * 1e6)
    }

    /// The report of an operation that took so much processor time in all.
    pub fn operation(mut self, op: &'static str, cpu_seconds: f64) -> OperationReport {
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

    /// The report of a floor.
    pub fn floor(mut self, floor: &'static str) -> Floor {
        Floor {
            floor,
            count: self.each.len(),
            ops_per_s: self.rate(),
            p50_us: self.percentile_us(0.5),
            p99_us: self.percentile_us(0.99),
        }
    }
}

impl Figures {
    /// Of each operation and floor the one with the median rate; all must tell of the same. `None` if
    /// there are none.
    pub fn median(rounds: Vec<Self>) -> Option<Self> {
        let (mut operations, mut floors, mut threads) = (Vec::new(), Vec::new(), None);
        for round in rounds {
            threads = Some(round.threads);
            operations.push(round.operations);
            floors.push(round.floors);
        }
        Some(Self {
            threads: threads?,
            operations: medians(operations, |op| op.ops_per_s),
            floors: medians(floors, |floor| floor.ops_per_s),
        })
    }

    /// A table, with each rate as a share of each floor's.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _infallible = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        write!(
            text,
            "{:12} {:>9} {:>10} {:>10} {:>10} {:>12}",
            "", "count", "per s", "p50 us", "p99 us", "cpu s/1000"
        )?;
        for floor in self.floors.iter().filter(|_| !self.operations.is_empty()) {
            write!(text, " {:>15}", format!("x {}", floor.floor))?;
        }
        writeln!(text)?;
        for op in &self.operations {
            write!(
                text,
                "{:12} {:>9} {:>10.0} {:>10.0} {:>10.0} {:>12.4}",
                op.op, op.count, op.ops_per_s, op.p50_us, op.p99_us, op.cpu_s_per_1000
            )?;
            for floor in &self.floors {
                write!(text, " {:>15.2}", op.ops_per_s / floor.ops_per_s)?;
            }
            writeln!(text)?;
        }
        for floor in &self.floors {
            writeln!(
                text,
                "{:14} {:>7} {:>10.0} {:>10.0} {:>10.0}   (floor)",
                floor.floor, floor.count, floor.ops_per_s, floor.p50_us, floor.p99_us
            )?;
        }
        Ok(())
    }
}

/// Of the things at each place the one with the median rate.
fn medians<T>(rounds: Vec<Vec<T>>, rate: impl Fn(&T) -> f64) -> Vec<T> {
    let mut rounds: Vec<_> = rounds.into_iter().map(Vec::into_iter).collect();
    let mut medians = Vec::new();
    loop {
        let mut same: Vec<T> = rounds.iter_mut().filter_map(Iterator::next).collect();
        if same.is_empty() {
            return medians;
        }
        same.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
        medians.push(same.swap_remove(same.len() / 2));
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
    fn of_some_rounds_the_median_is_told() {
        let round = |create: u64, stat: u64, synced: u64| {
            let sample = |count: u64| Sample {
                took: Duration::from_secs(1),
                each: vec![Duration::ZERO; count as usize],
            };
            Figures {
                threads: 2,
                operations: vec![
                    sample(create).operation("create", 1.0),
                    sample(stat).operation("stat", 1.0),
                ],
                floors: vec![sample(synced).floor("fdatasync")],
            }
        };
        let rounds = vec![round(5, 30, 7), round(1, 10, 9), round(3, 20, 8)];
        let median = Figures::median(rounds).expect("there are rounds");
        let counts: Vec<_> = median
            .operations
            .iter()
            .map(|op| (op.op, op.count))
            .collect();
        assert_eq!(counts, [("create", 3), ("stat", 20)]);
        assert_eq!(median.floors[0].count, 8);
        assert!(Figures::median(Vec::new()).is_none());
    }

    #[test]
    fn the_shape_of_the_json_is_frozen() {
        let sample = || Sample {
            took: Duration::from_secs(1),
            each: vec![Duration::ZERO; 4],
        };
        let figures = Figures {
            threads: 2,
            operations: vec![sample().operation("create", 2.0)],
            floors: vec![sample().floor("fdatasync")],
        };
        assert_eq!(
            serde_json::to_string(&figures).expect("JSON"),
            "{\"threads\":2,\"operations\":[{\"op\":\"create\",\"count\":4,\"ops_per_s\":4.0,\
             \"p50_us\":0.0,\"p99_us\":0.0,\"cpu_s_per_1000\":500.0}],\"floors\":[{\"floor\":\
             \"fdatasync\",\"count\":4,\"ops_per_s\":4.0,\"p50_us\":0.0,\"p99_us\":0.0}]}"
        );
        let table = figures.render();
        assert!(
            table.contains("x fdatasync") && table.contains("1.00"),
            "{table}"
        );
    }
}
