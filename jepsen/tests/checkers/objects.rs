//! Plain objects, written apart from the models that are tested.

use jepsen::history::Codec;
use jepsen::model::{
    AppendInput, AppendList, AppendOutput, Counter, CounterInput, Directory, DirectoryInput,
    DirectoryOutput, Model, Mutex, MutexInput, MutexOutput, Register, RegisterInput,
    RegisterOutput, Tree, TreeInput, TreeOutput,
};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

/// An object that can be used, and whose answers can be spoilt.
pub(crate) trait Object:
    Model<
        Input: Codec<Output = Self::Output> + PartialEq + Send + Sync + 'static,
        Output: PartialEq + Send + Sync + 'static,
    > + 'static
{
    type Real: Clone + Eq + Hash + Debug + Send + Sync;

    fn model() -> Self;
    fn start() -> Self::Real;
    fn act(real: &mut Self::Real, input: &Self::Input) -> Self::Output;
    fn input(rng: &mut StdRng, serial: u64) -> Self::Input;
    fn spoil(output: &Self::Output, input: &Self::Input, rng: &mut StdRng) -> Self::Output;

    /// Whether two answers say the same; listings have no order.
    fn same(one: &Self::Output, two: &Self::Output) -> bool {
        one == two
    }
}

impl Object for Register {
    type Real = Option<u64>;

    fn model() -> Self {
        Self::default()
    }

    fn start() -> Self::Real {
        None
    }

    fn act(real: &mut Self::Real, input: &RegisterInput) -> RegisterOutput {
        match *input {
            RegisterInput::Read => RegisterOutput::Value(*real),
            RegisterInput::Write(value) => {
                *real = Some(value);
                RegisterOutput::Done
            }
            RegisterInput::CompareAndSet { from, .. } if *real != Some(from) => {
                RegisterOutput::Refused
            }
            RegisterInput::CompareAndSet { to, .. } => {
                *real = Some(to);
                RegisterOutput::Done
            }
        }
    }

    // Few values, so that many orders look alike.
    fn input(rng: &mut StdRng, _serial: u64) -> RegisterInput {
        match rng.random_range(0..5) {
            0 | 1 => RegisterInput::Read,
            2 | 3 => RegisterInput::Write(rng.random_range(1..6)),
            _ => RegisterInput::CompareAndSet {
                from: rng.random_range(1..6),
                to: rng.random_range(1..6),
            },
        }
    }

    fn spoil(output: &RegisterOutput, _: &RegisterInput, rng: &mut StdRng) -> RegisterOutput {
        match output {
            RegisterOutput::Value(None) => RegisterOutput::Value(Some(rng.random_range(1..6))),
            RegisterOutput::Value(Some(value)) => {
                let other = (value + rng.random_range(1..5)) % 6;
                RegisterOutput::Value((other != 0).then_some(other))
            }
            RegisterOutput::Done => RegisterOutput::Refused,
            RegisterOutput::Refused => RegisterOutput::Done,
        }
    }
}

impl Object for Counter {
    type Real = i64;

    // Not where a counter begins by itself.
    fn model() -> Self {
        Self { initial: 1 }
    }

    fn start() -> i64 {
        1
    }

    fn act(real: &mut i64, input: &CounterInput) -> i64 {
        if let CounterInput::Add(by) = input {
            *real += by;
        }
        *real
    }

    fn input(rng: &mut StdRng, _serial: u64) -> CounterInput {
        match rng.random_range(0..3) {
            0 => CounterInput::Read,
            1 => CounterInput::Add(1),
            _ => CounterInput::Add(-1),
        }
    }

    fn spoil(output: &i64, _: &CounterInput, rng: &mut StdRng) -> i64 {
        output + rng.random_range(1..4)
    }
}

impl Object for Directory {
    type Real = Vec<String>;

    fn model() -> Self {
        Self
    }

    fn start() -> Vec<String> {
        Vec::new()
    }

    fn act(real: &mut Vec<String>, input: &DirectoryInput) -> DirectoryOutput {
        match input {
            DirectoryInput::Create(name) if real.contains(name) => DirectoryOutput::Exists,
            DirectoryInput::Create(name) => {
                real.push(name.clone());
                real.sort();
                DirectoryOutput::Done
            }
            DirectoryInput::Unlink(name) if !real.contains(name) => DirectoryOutput::Absent,
            DirectoryInput::Unlink(name) => {
                real.retain(|other| other != name);
                DirectoryOutput::Done
            }
            DirectoryInput::Lookup(name) if real.contains(name) => DirectoryOutput::Present,
            DirectoryInput::Lookup(_) => DirectoryOutput::Absent,
            DirectoryInput::List => DirectoryOutput::Names(real.clone()),
        }
    }

    fn input(rng: &mut StdRng, _serial: u64) -> DirectoryInput {
        let name = format!("n{}", rng.random_range(0..4));
        match rng.random_range(0..6) {
            0 | 1 => DirectoryInput::Create(name),
            2 | 3 => DirectoryInput::Unlink(name),
            4 => DirectoryInput::Lookup(name),
            _ => DirectoryInput::List,
        }
    }

    fn same(one: &DirectoryOutput, two: &DirectoryOutput) -> bool {
        match (one, two) {
            (DirectoryOutput::Names(one), DirectoryOutput::Names(two)) => {
                let (mut one, mut two) = (one.clone(), two.clone());
                one.sort();
                two.sort();
                one == two
            }
            _ => one == two,
        }
    }

    fn spoil(
        output: &DirectoryOutput,
        input: &DirectoryInput,
        rng: &mut StdRng,
    ) -> DirectoryOutput {
        use DirectoryOutput::{Absent, Done, Exists, Names, Present};
        match (output, input) {
            (Done, DirectoryInput::Create(_)) => Exists,
            (Exists, _) => Done,
            (Done, _) => Absent,
            (Absent, DirectoryInput::Unlink(_)) => Done,
            (Absent, _) => Present,
            (Present, _) => Absent,
            (Names(names), _) => {
                let mut names = names.clone();
                let name = format!("n{}", rng.random_range(0..4));
                match names.iter().position(|other| *other == name) {
                    Some(place) => drop(names.remove(place)),
                    None => names.push(name),
                }
                Names(names)
            }
        }
    }
}

impl Object for Mutex {
    type Real = Option<u64>;

    fn model() -> Self {
        Self
    }

    fn start() -> Option<u64> {
        None
    }

    fn act(real: &mut Option<u64>, input: &MutexInput) -> MutexOutput {
        match *input {
            MutexInput::Acquire(holder) if real.is_none() => {
                *real = Some(holder);
                MutexOutput::Done
            }
            MutexInput::Release(holder) if *real == Some(holder) => {
                *real = None;
                MutexOutput::Done
            }
            MutexInput::Acquire(_) | MutexInput::Release(_) => MutexOutput::Refused,
            MutexInput::Look => MutexOutput::Holder(*real),
        }
    }

    fn input(rng: &mut StdRng, _serial: u64) -> MutexInput {
        let holder = rng.random_range(1..4);
        match rng.random_range(0..5) {
            0 | 1 => MutexInput::Acquire(holder),
            2 | 3 => MutexInput::Release(holder),
            _ => MutexInput::Look,
        }
    }

    fn spoil(output: &MutexOutput, _: &MutexInput, rng: &mut StdRng) -> MutexOutput {
        match output {
            MutexOutput::Done => MutexOutput::Refused,
            MutexOutput::Refused => MutexOutput::Done,
            MutexOutput::Holder(holder) => {
                let other = (holder.unwrap_or(0) + rng.random_range(1..4)) % 4;
                MutexOutput::Holder((other != 0).then_some(other))
            }
        }
    }
}

impl Object for AppendList {
    type Real = Vec<u64>;

    fn model() -> Self {
        Self::default()
    }

    fn start() -> Vec<u64> {
        Vec::new()
    }

    fn act(real: &mut Vec<u64>, input: &AppendInput) -> AppendOutput {
        match input {
            AppendInput::Append(record) => {
                real.push(*record);
                AppendOutput::Done
            }
            AppendInput::Read => AppendOutput::Records(real.clone()),
        }
    }

    fn input(rng: &mut StdRng, serial: u64) -> AppendInput {
        match rng.random_range(0..2) {
            0 => AppendInput::Append(serial),
            _ => AppendInput::Read,
        }
    }

    fn spoil(output: &AppendOutput, _: &AppendInput, rng: &mut StdRng) -> AppendOutput {
        let AppendOutput::Records(records) = output else {
            return AppendOutput::Records(Vec::new());
        };
        let mut records = records.clone();
        let place = rng.random_range(0..=records.len());
        match rng.random_range(0..4) {
            0 if place < records.len() => drop(records.remove(place)),
            1 if place + 1 < records.len() => records.swap(place, place + 1),
            2 if place < records.len() => records.insert(place, records[place]),
            _ => records.insert(place, rng.random_range(0..30)),
        }
        AppendOutput::Records(records)
    }
}

impl Object for Tree {
    type Real = BTreeMap<u64, u64>;

    fn model() -> Self {
        Self {
            initial: Self::start(),
        }
    }

    fn start() -> BTreeMap<u64, u64> {
        BTreeMap::from([(1, 1), (2, 2), (3, 3)])
    }

    fn act(real: &mut BTreeMap<u64, u64>, input: &TreeInput) -> TreeOutput {
        match *input {
            TreeInput::Move { id, from, .. } if real[&id] != from => TreeOutput::Absent,
            TreeInput::Move { id, to, .. } => {
                real.insert(id, to);
                TreeOutput::Done
            }
            TreeInput::Exchange { one, two } => {
                let (of_one, of_two) = (real[&one], real[&two]);
                real.extend([(one, of_two), (two, of_one)]);
                TreeOutput::Done
            }
            TreeInput::Snapshot => {
                let mut directories: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
                for (id, directory) in real {
                    directories.entry(*directory).or_default().push(*id);
                }
                TreeOutput::Directories(directories.into_iter().collect())
            }
        }
    }

    fn input(rng: &mut StdRng, _serial: u64) -> TreeInput {
        let mut number = || rng.random_range(1..4);
        match number() + number() {
            2 => TreeInput::Exchange { one: 1, two: 2 },
            3 | 4 => TreeInput::Snapshot,
            _ => TreeInput::Move {
                id: number(),
                from: number(),
                to: number(),
            },
        }
    }

    fn same(one: &TreeOutput, two: &TreeOutput) -> bool {
        let pairs = |output: &TreeOutput| match output {
            TreeOutput::Directories(directories) => {
                let each = directories.iter();
                let mut pairs: Vec<(u64, u64)> = each
                    .flat_map(|(directory, ids)| ids.iter().map(|id| (*id, *directory)))
                    .collect();
                pairs.sort_unstable();
                Some(pairs)
            }
            TreeOutput::Done | TreeOutput::Absent => None,
        };
        match (pairs(one), pairs(two)) {
            (None, None) => one == two,
            (one, two) => one == two,
        }
    }

    fn spoil(output: &TreeOutput, _: &TreeInput, rng: &mut StdRng) -> TreeOutput {
        match output {
            TreeOutput::Done => TreeOutput::Absent,
            TreeOutput::Absent => TreeOutput::Done,
            TreeOutput::Directories(directories) => {
                let mut directories = directories.clone();
                let place = rng.random_range(0..directories.len());
                if rng.random_bool(0.5) {
                    directories[place].1.pop();
                } else {
                    directories[place].1.push(rng.random_range(1..4));
                }
                TreeOutput::Directories(directories)
            }
        }
    }
}
