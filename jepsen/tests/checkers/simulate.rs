//! Histories of a right object that several clients use at once.

use crate::objects::Object;
use jepsen::history::{At, End, Operation};
use jepsen::model::OperationOf;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;

/// How a history is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) operations: usize,
    pub(crate) processes: usize,
    pub(crate) keys: u64,
    /// How many of a hundred operations end unknown.
    pub(crate) unknown_percent: u32,
    /// How many of a hundred certainly fail.
    pub(crate) failed_percent: u32,
}

/// An operation on its way.
struct Open<T: Object> {
    place: usize,
    /// The answer, once it took effect.
    output: Option<T::Output>,
}

struct World<'a, T: Object> {
    rng: &'a mut StdRng,
    shape: Shape,
    real: BTreeMap<String, T::Real>,
    history: Vec<OperationOf<T>>,
    open: Vec<Option<Open<T>>>,
    process_numbers: Vec<u64>,
    /// Unknown ends that may still take effect.
    stray: Vec<usize>,
    next_index: u64,
    next_process: u64,
}

pub(crate) fn simulate<T: Object>(rng: &mut StdRng, shape: Shape) -> Vec<OperationOf<T>> {
    let processes = shape.processes as u64;
    let mut world = World::<T> {
        rng,
        shape,
        real: BTreeMap::new(),
        history: Vec::new(),
        open: (0..shape.processes).map(|_| None).collect(),
        process_numbers: (0..processes).collect(),
        stray: Vec::new(),
        next_index: 0,
        next_process: processes,
    };
    while world.history.len() < shape.operations || world.open.iter().any(Option::is_some) {
        world.step();
    }
    world.history
}

impl<T: Object> World<'_, T> {
    fn step(&mut self) {
        if !self.stray.is_empty() && self.rng.random_bool(0.05) {
            let chosen = self.rng.random_range(0..self.stray.len());
            let place = self.stray.swap_remove(chosen);
            self.act(place);
        }
        let process = self.rng.random_range(0..self.open.len());
        match self.open[process].take() {
            None if self.history.len() < self.shape.operations => self.begin(process),
            None => {}
            Some(open) => self.go_on(process, open),
        }
    }

    fn begin(&mut self, process: usize) {
        let place = self.history.len();
        let invoked = self.now();
        self.history.push(Operation {
            process: self.process_numbers[process],
            key: format!("k{}", self.rng.random_range(0..self.shape.keys)),
            input: T::input(self.rng, place as u64),
            invoked,
            end: End::Info,
        });
        self.open[process] = Some(Open {
            place,
            output: None,
        });
    }

    fn go_on(&mut self, process: usize, open: Open<T>) {
        let Open { place, output } = open;
        let chance = self.rng.random_range(0..100);
        let is_unknown = chance < self.shape.unknown_percent;
        let is_failed = chance >= 100 - self.shape.failed_percent;
        match output {
            _ if is_unknown => {
                self.now();
                if output.is_none() {
                    self.stray.push(place);
                }
                self.process_numbers[process] = self.next_process;
                self.next_process += 1;
            }
            None if is_failed => self.history[place].end = End::Fail { at: self.now() },
            None => {
                let output = Some(self.act(place));
                self.open[process] = Some(Open { place, output });
            }
            Some(output) => {
                let at = self.now();
                self.history[place].end = End::Ok { at, output };
            }
        }
    }

    fn act(&mut self, place: usize) -> T::Output {
        let Operation { key, input, .. } = &self.history[place];
        let real = self.real.entry(key.clone()).or_insert_with(T::start);
        T::act(real, input)
    }

    fn now(&mut self) -> At {
        self.next_index += 1;
        at(self.next_index)
    }
}

pub(crate) fn at(index: u64) -> At {
    At {
        index,
        time_ns: index * 1_000,
    }
}
