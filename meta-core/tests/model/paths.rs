//! Paths walked in one go, beside plain lookups and beside a model that knows nothing of either.

use crate::acl::{self, Entry, entries};
use crate::engine::Engine;
use crate::operation::callers;
use meta_core::attr::{Attr, Caller, FileKind};
use meta_core::command::{Create, Existing, NewNode, Operation, SetAttr, XattrMode};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Refusal, Success};
use meta_core::path::{Access, Links, PathEnd, Resolve, Resolved};
use meta_core::query::{Answer, QueryBody};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What is made, in a directory that was made before.
#[derive(Clone, Debug)]
enum Made {
    Dir(u32),
    /// A directory with an access ACL.
    Guarded(Vec<Entry>),
    File(u32),
    Link(String),
}

type Making = (prop::sample::Index, usize, Made, usize);

const NAMES: [&str; 4] = ["a", "b", "c", "..."];

fn path() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        12 => prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned),
        2 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just(String::new()),
        1 => Just("n".repeat(256)),
    ];
    let components = prop::collection::vec(component, 1..9);
    (components, prop::sample::select(vec!["", "", "", "/"]))
        .prop_map(|(components, end)| components.join("/") + end)
}

fn making() -> impl Strategy<Value = Vec<Making>> {
    let mode = || prop::sample::select(vec![0o755, 0o777, 0o750, 0o711, 0o700, 0o644]);
    let target = prop_oneof![9 => path(), 1 => path().prop_map(|path| format!("/{path}"))];
    // Most lead to a name; these to a directory that the symlink is in.
    let here = prop::sample::select(vec![".", "./", "./.", ".."]);
    let link = prop_oneof![
        4 => target.prop_map(|target| target + "a"),
        1 => here.prop_map(str::to_owned),
    ];
    let made = prop_oneof![
        6 => mode().prop_map(Made::Dir),
        3 => entries().prop_map(Made::Guarded),
        1 => mode().prop_map(Made::File),
        3 => link.prop_map(Made::Link),
    ];
    let one = (
        any::<prop::sample::Index>(),
        0..NAMES.len(),
        made,
        0..callers().len(),
    );
    prop::collection::vec(one, 5..60)
}

struct World {
    engine: Engine,
    dirs: Vec<Ino>,
}

impl World {
    fn new(making: &[Making]) -> Self {
        let mut world = Self {
            engine: Engine::new(),
            dirs: vec![Ino::ROOT],
        };
        for (dir, name, made, owner) in making {
            // The newest ones, so that the tree gets deep.
            let newest = world.dirs.len().saturating_sub(3);
            let parent = *dir.get(&world.dirs[newest..]);
            world.make(parent, NAMES[*name], made, &callers()[*owner]);
        }
        world
    }

    fn make(&mut self, parent: Ino, name: &str, made: &Made, owner: &Caller) {
        let (node, mode) = match made {
            Made::Dir(mode) => (NewNode::Directory, *mode),
            Made::Guarded(_) => (NewNode::Directory, 0o750),
            Made::File(mode) => (NewNode::Regular, *mode),
            Made::Link(target) => {
                let target = target.clone().into_bytes();
                (NewNode::Symlink { target }, 0o777)
            }
        };
        let create = Operation::Create(Create {
            parent,
            name: Name::new(name).expect("a name"),
            mode,
            node,
            masked: 0,
            existing: Existing::Refuse,
        });
        let (_, outcome) = self.engine.request(&Caller::root(), create);
        // Some are there already.
        let Outcome::Done(Success::Entry { attr, .. }) = outcome else {
            return;
        };
        if attr.kind == FileKind::Directory {
            self.dirs.push(attr.ino);
        }
        if let Made::Guarded(entries) = made {
            let set = Operation::SetXattr {
                ino: attr.ino,
                name: acl::ACCESS.to_vec(),
                value: acl::written(entries),
                mode: XattrMode::Set,
            };
            // Some make no sense, and are refused.
            self.engine.request(&Caller::root(), set);
        }
        let give = Operation::SetAttr(SetAttr {
            ino: attr.ino,
            uid: Some(owner.uid),
            gid: Some(owner.gid),
            ..SetAttr::default()
        });
        let (_, outcome) = self.engine.request(&Caller::root(), give);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }

    fn resolve(&self, caller: &Caller, asked: Resolve) -> Result<Resolved, Refusal> {
        match self.engine.ask(caller, QueryBody::Resolve(asked))? {
            Answer::Resolved(found) => Ok(found),
            other => panic!("{other:?}"),
        }
    }

    fn lookup(&self, caller: &Caller, parent: Ino, name: &str) -> Result<Attr, Refusal> {
        let name = match Name::new(name) {
            Ok(name) => name,
            // Whoever may not search a directory is not told more.
            Err(refusal) => {
                self.search(caller, parent)?;
                return Err(refusal);
            }
        };
        let asked = QueryBody::Lookup { parent, name };
        match self.engine.ask(caller, asked)? {
            Answer::Attr(attr) => Ok(attr),
            other => panic!("{other:?}"),
        }
    }

    /// Whether a caller may search a directory: by a lookup of a name that nothing has.
    fn search(&self, caller: &Caller, dir: Ino) -> Result<(), Refusal> {
        match self.lookup(caller, dir, "nothing-has-this-name") {
            Err(Refusal::NotFound) => Ok(()),
            Err(refusal) => Err(refusal),
            Ok(other) => panic!("{other:?}"),
        }
    }

    fn target(&self, ino: Ino) -> String {
        match self
            .engine
            .ask(&Caller::root(), QueryBody::ReadLink { ino })
        {
            Ok(Answer::Bytes(bytes)) => String::from_utf8(bytes).expect("text"),
            other => panic!("{other:?}"),
        }
    }

    /// Walks by lookups, written from what path_resolution(7) says, one link inside the other. Gives
    /// the file, or why there is none.
    fn by_hand(&self, walk: &mut ByHand<'_>, from: Ino, path: &str) -> Result<Attr, End> {
        let mut at = self.engine.attr(from)?;
        let mut rest = path;
        while !rest.trim_start_matches('/').is_empty() {
            rest = rest.trim_start_matches('/');
            let (component, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            rest = after;
            let next = match component {
                "." | ".." => {
                    self.search(walk.caller, at.ino)?;
                    if component == "." {
                        at.clone()
                    } else if at.ino == Ino::ROOT {
                        return Err(End::Above);
                    } else {
                        self.engine.attr(at.parent)?
                    }
                }
                name => self.lookup(walk.caller, at.ino, name)?,
            };
            let follow = !rest.is_empty() || walk.inner || walk.links == Links::All;
            if next.kind == FileKind::Symlink && follow {
                at = self.follow(walk, at.ino, &next, rest.is_empty())?;
            } else {
                at = next;
            }
        }
        if path.ends_with('/') && at.kind != FileKind::Directory {
            return Err(Refusal::NotDirectory.into());
        }
        Ok(at)
    }

    fn follow(
        &self,
        walk: &mut ByHand<'_>,
        dir: Ino,
        link: &Attr,
        last: bool,
    ) -> Result<Attr, End> {
        let target = self.target(link.ino);
        if walk.links == Links::Stop || target.starts_with('/') {
            return Err(End::Symlink(link.ino));
        }
        walk.followed += 1;
        if walk.followed > 40 {
            return Err(Refusal::Loop.into());
        }
        let outer = walk.inner;
        // What a symlink in the way leads to is followed to its end.
        walk.inner = !last || outer || walk.links == Links::All;
        let found = self.by_hand(walk, dir, &target);
        walk.inner = outer;
        found
    }
}

struct ByHand<'c> {
    caller: &'c Caller,
    links: Links,
    followed: u32,
    /// Within a symlink that is in the way.
    inner: bool,
}

/// Why a path leads nowhere.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    Refused(Refusal),
    Symlink(Ino),
    Above,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn end(found: &Resolved) -> Result<Attr, End> {
    match &found.end {
        PathEnd::Reached => Ok(found.last().clone()),
        PathEnd::Symlink { .. } => Err(End::Symlink(found.last().ino)),
        PathEnd::Above { .. } => Err(End::Above),
        PathEnd::Refused { refusal, .. } => Err(End::Refused(*refusal)),
    }
}

/// Whether symlinks have made the path too long.
fn is_long(found: &Resolved) -> bool {
    let refusal = Refusal::NameTooLong;
    matches!(&found.end, PathEnd::Refused { refusal: why, rest } if *why == refusal && rest.len() > 3000)
}

/// What each step tells is what a lookup of it alone does, and what is left leads to the same end.
fn check_steps(world: &World, caller: &Caller, asked: &Resolve, found: &Resolved) {
    assert_eq!(world.engine.attr(asked.from), Ok(found.directory.clone()));
    for (at, step) in found.steps.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &found.steps[before]);
        let alone = match &step.name {
            Some(name) => world.lookup(caller, step.parent, &name.to_string()),
            // The last symlink led to where it is.
            None if step.attr.ino == step.parent => {
                let link = before.expect("the symlink");
                assert_eq!(link.attr.kind, FileKind::Symlink);
                assert_eq!((link.parent, at + 1), (step.parent, found.steps.len()));
                world.engine.attr(step.parent)
            }
            None => world
                .engine
                .attr(world.engine.attr(step.parent).expect("there").parent),
        };
        assert_eq!(alone, Ok(step.attr.clone()));
    }
    let left = match &found.end {
        PathEnd::Reached => return,
        PathEnd::Symlink { target, rest } => [target.clone(), rest.clone()].concat(),
        PathEnd::Above { rest } | PathEnd::Refused { rest, .. } => rest.clone(),
    };
    let again = |links| {
        let from = found.place();
        let path = left.clone();
        world.resolve(
            caller,
            Resolve {
                from,
                path,
                links,
                open: None,
            },
        )
    };
    match &found.end {
        PathEnd::Refused { refusal, rest } if !rest.is_empty() && *refusal != Refusal::Loop => {
            let refused = again(asked.links).expect("the place is there");
            assert_eq!(refused.end, found.end);
            assert!(refused.steps.is_empty());
        }
        PathEnd::Symlink { target, .. } if !target.starts_with(b"/") => {
            let whole = Resolve {
                links: Links::Above,
                ..asked.clone()
            };
            let whole = world
                .resolve(caller, whole)
                .expect("the beginning is there");
            if end(&whole) != Err(End::Refused(Refusal::Loop)) {
                assert_eq!(end(&again(Links::Above).expect("there")), end(&whole));
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_path_walked_in_one_go_leads_where_lookups_lead(
        making in making(),
        paths in prop::collection::vec((any::<prop::sample::Index>(), path()), 1..30),
    ) {
        let world = World::new(&making);
        for (from, path) in paths {
            for caller in callers() {
                for links in [Links::Stop, Links::Above, Links::All] {
                    let (from, path) = (*from.get(&world.dirs), path.clone());
                    let asked = Resolve { from, path: path.clone().into(), links, open: None };
                    let found = world.resolve(&caller, asked.clone()).expect("it begins somewhere");
                    let mut walk = ByHand { caller: &caller, links, followed: 0, inner: false };
                    let expected = world.by_hand(&mut walk, from, &path);
                    if is_long(&found) {
                        // The model bounds the symlinks alone, and not how long they make a path.
                        prop_assert_eq!(expected, Err(End::Refused(Refusal::Loop)));
                    } else {
                        prop_assert_eq!(end(&found), expected, "{} {:?}", path, links);
                    }
                    check_steps(&world, &caller, &asked, &found);
                }
            }
        }
    }

    #[test]
    fn attributes_of_many_files_are_those_of_each(making in making(), ghosts in 1..4_u64) {
        let world = World::new(&making);
        let mut inos = world.dirs.clone();
        inos.extend((0..ghosts).map(|ghost| Ino(1 << 40 | ghost)));
        inos.extend_from_within(..1);
        let each = inos.iter().map(|ino| world.engine.attr(*ino)).collect();
        let asked = QueryBody::GetAttrs { inos: inos.clone() };
        prop_assert_eq!(world.engine.ask(&callers()[3], asked), Ok(Answer::Attrs(each)));
    }

    #[test]
    fn a_path_is_opened_as_what_it_leads_to(
        making in making(),
        path in path(),
        (read, write) in any::<(bool, bool)>(),
    ) {
        let world = World::new(&making);
        for caller in callers() {
            let asked = Resolve {
                from: Ino::ROOT,
                path: path.clone().into(),
                links: Links::All,
                open: None,
            };
            let found = world.resolve(&caller, asked.clone()).expect("the root is there");
            let open = Some(Access { read, write });
            let opened = world.resolve(&caller, Resolve { open, ..asked }).expect("there");
            prop_assert_eq!(&opened.steps, &found.steps);
            if found.end == PathEnd::Reached {
                let ino = found.last().ino;
                let alone = world.engine.ask(&caller, QueryBody::Open { ino, read, write });
                let alone = alone.map(drop).map_err(End::from);
                prop_assert_eq!(end(&opened).map(drop), alone);
            } else {
                prop_assert_eq!(opened.end, found.end);
            }
        }
    }
}

/// Agreement says little about what never happened.
#[test]
fn random_paths_end_in_every_way() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _run in 0..200 {
        let world = World::new(&making().new_tree(&mut runner).expect("a tree").current());
        for _path in 0..40 {
            let path = path().new_tree(&mut runner).expect("a path").current();
            for (caller, links) in callers()
                .iter()
                .zip([Links::All, Links::Above, Links::Stop])
            {
                let asked = Resolve {
                    from: Ino::ROOT,
                    path: path.clone().into(),
                    links,
                    open: None,
                };
                let found = world.resolve(caller, asked).expect("the root is there");
                let deep = found.steps.len() > 4;
                seen.insert(match end(&found) {
                    Ok(_) => format!("{links:?} reached, deep: {deep}"),
                    Err(End::Refused(refusal)) => format!("{refusal:?}"),
                    Err(End::Symlink(_)) => format!("{links:?} symlink"),
                    Err(End::Above) => "above".to_owned(),
                });
            }
        }
    }
    let expected = [
        "All reached, deep: true",
        "Above reached, deep: true",
        "Stop reached, deep: true",
        "All symlink",
        "Above symlink",
        "Stop symlink",
        "above",
        "NotFound",
        "NotDirectory",
        "AccessDenied",
        "NameTooLong",
        "Loop",
    ];
    for end in expected {
        assert!(seen.contains(end), "no path ended with {end}: {seen:?}");
    }
}
