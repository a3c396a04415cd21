//! Our verdict is that of two other checkers, on random changes of right histories.

use crate::mutation::mutate;
use crate::objects::Object;
use crate::simulate::{Shape, simulate};
use crate::{brute, peer};
use jepsen::checker::wgl::{Budget, Linearizability, check};
use jepsen::model::{AppendList, Counter, Directory, Mutex, Register, Tree};
use proptest::prelude::{ProptestConfig, Strategy, TestCaseError};
use proptest::test_runner::TestRunner;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::cell::Cell;
use std::fmt;

/// How often each verdict came.
#[derive(Default)]
struct Tally {
    right: Cell<u32>,
    wrong: Cell<u32>,
}

impl Tally {
    fn count(&self, right: bool) {
        let cell = if right { &self.right } else { &self.wrong };
        cell.set(cell.get() + 1);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} right, {} wrong", self.right.get(), self.wrong.get())
    }
}

fn verdict<T: Object>(history: &[jepsen::model::OperationOf<T>]) -> Result<bool, TestCaseError> {
    match check(&T::model(), history, Budget::default()) {
        Linearizability::Ok => Ok(true),
        Linearizability::Violation(example) => {
            let again = check(&T::model(), &example.operations, Budget::default());
            let is_smaller = example.operations.len() <= history.len() && example.is_minimal;
            if again.is_violation() && is_smaller {
                return Ok(false);
            }
            Err(TestCaseError::fail(format!(
                "the example shows nothing: {example}"
            )))
        }
        unknown @ Linearizability::Unknown { .. } => Err(TestCaseError::fail(unknown.to_string())),
    }
}

fn changed<T: Object>(seed: u64, shape: Shape, changes: u32) -> Vec<jepsen::model::OperationOf<T>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut history = simulate::<T>(&mut rng, shape);
    for _ in 0..changes {
        mutate::<T>(&mut history, &mut rng);
    }
    history
}

fn shapes(operations: std::ops::Range<usize>) -> impl Strategy<Value = (u64, Shape, u32)> {
    let numbers = (operations, 1..6_usize, 0..30_u32, 0..10_u32);
    let shape =
        numbers.prop_map(
            |(operations, processes, unknown_percent, failed_percent)| Shape {
                operations,
                processes,
                keys: 1,
                unknown_percent,
                failed_percent,
            },
        );
    (0..u64::MAX, shape, 1..4_u32)
}

/// Runs a closure for many histories, and says how often each verdict came.
fn many(
    name: &str,
    cases: u32,
    operations: std::ops::Range<usize>,
    one: impl Fn(u64, Shape, u32) -> Result<bool, TestCaseError>,
) {
    let tally = Tally::default();
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_global_rejects: cases / 20,
        ..ProptestConfig::default()
    };
    let ended = TestRunner::new(config).run(&shapes(operations), |(seed, shape, changes)| {
        tally.count(one(seed, shape, changes)?);
        Ok(())
    });
    if let Err(error) = ended {
        panic!("{name}: {error}");
    }
    println!("{name}: {tally}");
    let fewer = tally.right.get().min(tally.wrong.get());
    assert!(
        fewer >= cases / 20,
        "{name}: the histories are all alike: {tally}"
    );
}

fn agrees_with_peer<T: Object>(
    seed: u64,
    shape: Shape,
    changes: u32,
) -> Result<bool, TestCaseError> {
    let history = changed::<T>(seed, shape, changes);
    let ours = verdict::<T>(&history)?;
    match peer::has_order::<T>(&history) {
        Some(theirs) if ours != theirs => Err(TestCaseError::fail(format!(
            "ours {ours}, theirs {theirs}: {history:#?}"
        ))),
        Some(_) => Ok(ours),
        // Another history is taken instead, and too many such ones fail the test.
        None => Err(TestCaseError::reject("the other checker came to no end")),
    }
}

fn agrees_with_all_orders<T: Object>(
    seed: u64,
    shape: Shape,
    changes: u32,
) -> Result<bool, TestCaseError> {
    let history = changed::<T>(seed, shape, changes);
    let ours = agrees_with_peer::<T>(seed, shape, changes)?;
    if ours == brute::has_order::<T>(&history) {
        Ok(ours)
    } else {
        Err(TestCaseError::fail(format!(
            "ours {ours} is not right: {history:#?}"
        )))
    }
}

macro_rules! for_objects {
    ($($module:ident: $object:ty,)*) => {
        $(mod $module {
            use super::*;

            #[test]
            fn the_other_checker_says_the_same() {
                many(stringify!($module), 400, 4..24, agrees_with_peer::<$object>);
            }

            #[test]
            fn trying_all_orders_says_the_same() {
                let name = concat!(stringify!($module), ", tiny");
                many(name, 1_000, 2..7, agrees_with_all_orders::<$object>);
            }
        })*
    };
}

for_objects! {
    register: Register,
    directory: Directory,
    mutex: Mutex,
    append: AppendList,
    counter: Counter,
    tree: Tree,
}
