//! Listings of a directory that changes under them.

use crate::engine::Engine;
use meta_core::attr::Caller;
use meta_core::command::{Create, Existing, NewNode, Operation, RenameMode};
use meta_core::ids::{DentryNumber, Ino};
use meta_core::kv::MemKv;
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Success};
use meta_core::query::{Answer, QueryBody};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Unlink(u8),
    Rename(u8, u8),
    /// Reads one more page of so many names.
    Page(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0..24_u8;
    let step = prop_oneof![
        3 => name().prop_map(Step::Create),
        2 => name().prop_map(Step::Unlink),
        3 => (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        4 => (1..5_u32).prop_map(Step::Page),
    ];
    prop::collection::vec(step, 1..60)
}

fn name(number: u8) -> Name {
    Name::new(format!("n{number}")).expect("a valid name")
}

struct Listing {
    engine: Engine,
    after: DentryNumber,
    ended: bool,
    /// Names and files as they were met.
    met: Vec<(Name, Ino)>,
    /// Files that took the place of another.
    replacing: BTreeSet<Ino>,
}

impl Listing {
    fn step(&mut self, step: &Step) {
        let root = Caller::root();
        let (parent, new_parent) = (Ino::ROOT, Ino::ROOT);
        let operation = match step {
            Step::Create(number) => Operation::Create(Create {
                parent,
                name: name(*number),
                mode: 0o644,
                node: NewNode::Regular,
                masked: 0,
                existing: Existing::Refuse,
            }),
            Step::Unlink(number) => Operation::Unlink {
                parent,
                name: name(*number),
            },
            Step::Rename(from, to) => Operation::Rename {
                parent,
                name: name(*from),
                new_parent,
                new_name: name(*to),
                mode: RenameMode::Replace,
            },
            Step::Page(count) => return self.page(*count),
        };
        // Some are refused: that name is there, or is not.
        let (_, outcome) = self.engine.request(&root, operation);
        if let Outcome::Done(Success::Renamed {
            ino,
            replaced: Some(_),
        }) = outcome
        {
            self.replacing.insert(ino);
        }
    }

    fn page(&mut self, entries_max: u32) {
        let body = QueryBody::ReadDir {
            ino: Ino::ROOT,
            after: self.after,
            entries_max,
            with_attrs: false,
        };
        let Ok(Answer::Entries { entries, end, .. }) = self.engine.ask(&Caller::root(), body)
        else {
            panic!("no listing");
        };
        for entry in entries {
            assert!(entry.number > self.after);
            self.after = entry.number;
            self.met.push((entry.name, entry.ino));
        }
        self.ended = end;
    }

    fn over(kv: MemKv) -> Self {
        let mut engine = Engine::new();
        engine.kv = kv;
        Self {
            engine,
            after: DentryNumber(0),
            ended: false,
            met: Vec::new(),
            replacing: BTreeSet::new(),
        }
    }

    fn there(&self) -> BTreeSet<(Name, Ino)> {
        let mut all = Self::over(self.engine.kv.clone());
        while !all.ended {
            all.page(100);
        }
        all.met.into_iter().collect()
    }

    fn times(&self, is: impl Fn(&Name, Ino) -> bool) -> usize {
        self.met.iter().filter(|(name, ino)| is(name, *ino)).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_listing_meets_what_stays_exactly_once(steps in steps()) {
        let mut listing = Listing::over(Engine::new().kv);
        (0..12).for_each(|number| listing.step(&Step::Create(number)));
        let there = listing.there();
        let mut names: BTreeSet<Name> = there.iter().map(|(name, _)| name.clone()).collect();
        let mut files: BTreeSet<Ino> = there.iter().map(|(_, ino)| *ino).collect();
        for step in &steps {
            listing.step(step);
            let there = listing.there();
            names.retain(|name| there.iter().any(|(found, _)| found == name));
            files.retain(|file| there.iter().any(|(_, found)| found == file));
        }
        while !listing.ended {
            listing.page(3);
        }
        for name in names {
            prop_assert_eq!(listing.times(|found, _| *found == name), 1, "{}", name);
        }
        // A file may be renamed under the listing; only one that takes another's place leaves its
        // own.
        for file in files.difference(&listing.replacing) {
            prop_assert_eq!(listing.times(|_, found| found == *file), 1, "file {}", file);
        }
    }
}
