//! The register check against known histories, and against a plain search on random ones.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

type Call = Entry<RegisterCall, u64>;

fn write(value: u64, from: u64, until: u64) -> Call {
    let end = End::Ok {
        at: until,
        result: value,
    };
    Entry {
        process: 0,
        call: RegisterCall::Write { register: 1, value },
        invoked: from,
        end,
    }
}

fn read(value: u64, from: u64, until: u64) -> Call {
    let end = End::Ok {
        at: until,
        result: value,
    };
    Entry {
        process: 0,
        call: RegisterCall::Read { register: 1 },
        invoked: from,
        end,
    }
}

fn lost(value: u64, from: u64) -> Call {
    Entry {
        end: End::Unknown { at: from + 1 },
        ..write(value, from, 0)
    }
}

#[test]
fn right_registers_pass() {
    for history in [
        vec![read(0, 1, 2)],
        vec![
            write(1, 1, 10),
            read(0, 2, 3),
            read(1, 4, 5),
            read(1, 20, 21),
        ],
        vec![write(1, 1, 10), write(2, 2, 9), read(1, 11, 12)],
        vec![lost(1, 1), read(0, 5, 6), read(1, 90, 91)],
        vec![lost(1, 1), write(2, 5, 6), read(2, 7, 8)],
        vec![lost(1, 1), write(2, 5, 6), read(2, 7, 8), read(1, 9, 10)],
    ] {
        assert_eq!(
            check_register(&history),
            Vec::<String>::new(),
            "{history:?}"
        );
    }
}

#[test]
fn wrong_registers_are_found() {
    for history in [
        vec![read(7, 1, 2)],
        vec![write(1, 1, 2), read(0, 3, 4)],
        vec![write(1, 5, 6), read(1, 2, 3)],
        vec![write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)],
        vec![write(1, 1, 10), read(1, 2, 3), read(0, 4, 5)],
        vec![lost(1, 1), write(2, 5, 6), read(1, 7, 8), read(2, 9, 10)],
        vec![
            write(1, 1, 20),
            write(2, 2, 19),
            read(1, 3, 4),
            read(2, 5, 6),
            read(1, 7, 8),
        ],
    ] {
        assert!(!check_register(&history).is_empty(), "{history:?}");
    }
}

/// Tries every order that the times allow.
fn search(left: &[Call], value: u64) -> bool {
    if left
        .iter()
        .all(|call| matches!(call.end, End::Unknown { .. }))
    {
        return true;
    }
    let first_end = left.iter().map(Entry::latest).min().unwrap_or(u64::MAX);
    (0..left.len())
        .filter(|index| left[*index].invoked <= first_end)
        .any(|index| {
            let mut rest = left.to_vec();
            let call = rest.remove(index);
            match (&call.call, &call.end) {
                (RegisterCall::Write { value, .. }, _) => search(&rest, *value),
                (RegisterCall::Read { .. }, End::Ok { result, .. }) => {
                    *result == value && search(&rest, value)
                }
                (RegisterCall::Read { .. }, _) => search(&rest, value),
            }
        })
}

/// A history of up to 7 calls. The ends are all different, as times of real events are.
fn random(rng: &mut StdRng) -> Vec<Call> {
    let count = rng.random_range(2..=7);
    let mut times: Vec<u64> = (1..=2 * count).collect();
    let mut written = 0;
    (0..count)
        .map(|_| {
            let mut pick = || times.remove(rng.random_range(0..times.len()));
            let (one, other) = (pick(), pick());
            let (from, until) = (one.min(other), one.max(other));
            match rng.random_range(0..10) {
                0 => {
                    written += 1;
                    lost(written, from)
                }
                1..5 => {
                    written += 1;
                    write(written, from, until)
                }
                _ => read(rng.random_range(0..=written.max(1)), from, until),
            }
        })
        .collect()
}

#[test]
fn the_check_agrees_with_a_search_of_all_orders() {
    let mut rng = StdRng::seed_from_u64(20);
    let (mut right, mut wrong) = (0, 0);
    for _ in 0..20_000 {
        let history = random(&mut rng);
        let found = search(&history, 0);
        let problems = check_register(&history);
        assert_eq!(problems.is_empty(), found, "{history:?}: {problems:?}");
        *(if found { &mut right } else { &mut wrong }) += 1;
    }
    assert!(
        right > 1_000 && wrong > 1_000,
        "both kinds came up: {right} and {wrong}"
    );
}
