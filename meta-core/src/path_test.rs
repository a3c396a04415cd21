use super::*;
use crate::attr::Timestamp;
use std::collections::BTreeMap;

/// A plain tree: names of directories, and targets of symlinks, by inode.
#[derive(Default)]
struct Tree {
    attrs: BTreeMap<Ino, Attr>,
    names: BTreeMap<(Ino, Vec<u8>), Ino>,
    targets: BTreeMap<Ino, Vec<u8>>,
    /// How often it was asked.
    asked: usize,
}

impl Tree {
    fn new() -> Self {
        let mut tree = Self::default();
        tree.put(Ino::ROOT, Ino::ROOT, FileKind::Directory, 0o755);
        tree
    }

    fn put(&mut self, ino: Ino, parent: Ino, kind: FileKind, mode: u32) {
        let attr = Attr {
            ino,
            kind,
            mode,
            uid: 5,
            gid: 5,
            rdev: 0,
            nlink: 1,
            length: 0,
            atime: Timestamp::default(),
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            parent,
            btime: None,
            access_acl: false,
            default_acl: false,
        };
        self.attrs.insert(ino, attr);
    }

    fn make(&mut self, parent: Ino, name: &str, kind: FileKind, mode: u32) -> Ino {
        let ino = Ino(self.attrs.len() as u64 + 1);
        self.put(ino, parent, kind, mode);
        self.names.insert((parent, name.into()), ino);
        ino
    }

    fn dir(&mut self, parent: Ino, name: &str) -> Ino {
        self.make(parent, name, FileKind::Directory, 0o755)
    }

    fn file(&mut self, parent: Ino, name: &str) -> Ino {
        self.make(parent, name, FileKind::Regular, 0o640)
    }

    fn link(&mut self, parent: Ino, name: &str, target: &str) -> Ino {
        let ino = self.make(parent, name, FileKind::Symlink, 0o777);
        self.targets.insert(ino, target.into());
        ino
    }

    fn answer(&mut self, question: &QueryBody) -> Result<Answer, Refusal> {
        self.asked += 1;
        let attr = |ino| {
            let attr = self.attrs.get(ino).cloned();
            attr.map(Answer::Attr).ok_or(Refusal::Stale)
        };
        match question {
            QueryBody::Lookup { parent, name } => {
                let found = self.names.get(&(*parent, name.as_bytes().to_vec()));
                attr(found.ok_or(Refusal::NotFound)?)
            }
            QueryBody::GetAttr { ino } => attr(ino),
            QueryBody::ReadLink { ino } => Ok(Answer::Bytes(self.targets[ino].clone())),
            other => panic!("{other:?}"),
        }
    }

    fn walk(&mut self, caller: &Caller, asked: &Resolve) -> Resolved {
        let directory = self.attrs[&asked.from].clone();
        let mut walk = Walk::new(caller, directory, asked);
        while let Some(question) = walk.question() {
            let answer = self.answer(&question);
            walk.answer(answer).expect("an answer to the question");
        }
        walk.found()
    }

    fn by_root(&mut self, path: &str, links: Links) -> Resolved {
        self.walk(&Caller::root(), &asked(path, links))
    }
}

fn asked(path: &str, links: Links) -> Resolve {
    Resolve {
        from: Ino::ROOT,
        path: path.into(),
        links,
        open: None,
    }
}

fn stranger() -> Caller {
    Caller {
        uid: 6,
        gid: 6,
        groups: vec![],
    }
}

fn refused(refusal: Refusal, rest: &str) -> PathEnd {
    PathEnd::Refused {
        refusal,
        rest: rest.into(),
    }
}

fn names(found: &Resolved) -> String {
    let names = found.steps.iter().map(|step| match &step.name {
        Some(name) => name.to_string(),
        None => "..".to_owned(),
    });
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_component_is_told_with_its_directory() {
    let mut tree = Tree::new();
    let a = tree.dir(Ino::ROOT, "a");
    let b = tree.dir(a, "b");
    let f = tree.file(b, "f");
    for path in ["a/b/f", "/a//b///f", "./a/./b/f", "a/b/../b/f"] {
        let found = tree.by_root(path, Links::Stop);
        assert_eq!(found.end, PathEnd::Reached, "{path}");
        assert_eq!(found.last().ino, f, "{path}");
        assert_eq!(found.steps.last().map(|step| step.parent), Some(b));
    }
    let found = tree.by_root("a/b/../b", Links::Stop);
    assert_eq!(names(&found), "a b .. b");
    assert_eq!(found.place(), b);
    for path in ["", "/", ".", "a/..", "a/b/../../"] {
        let found = tree.by_root(path, Links::Stop);
        assert_eq!(found.end, PathEnd::Reached, "{path}");
        assert_eq!(found.last().ino, Ino::ROOT, "{path}");
    }
    let above = PathEnd::Above {
        rest: b"../a".to_vec(),
    };
    assert_eq!(tree.by_root("a/../../a", Links::Stop).end, above);
}

#[test]
fn a_refusal_says_at_which_component() {
    let mut tree = Tree::new();
    let a = tree.dir(Ino::ROOT, "a");
    tree.file(a, "f");
    let closed = tree.make(a, "closed", FileKind::Directory, 0o700);
    tree.file(closed, "in");
    let long = "n".repeat(256);
    let cases = [
        ("a/x/y/", Refusal::NotFound, "x/y/", "a"),
        ("a/f/y", Refusal::NotDirectory, "y", "a f"),
        ("a/f/", Refusal::NotDirectory, "", "a f"),
        ("a/f/.", Refusal::NotDirectory, ".", "a f"),
        ("a/f/..", Refusal::NotDirectory, "..", "a f"),
        ("a/closed/in", Refusal::AccessDenied, "in", "a closed"),
        ("a/closed/..", Refusal::AccessDenied, "..", "a closed"),
        ("x/a\0", Refusal::NotFound, "x/a\0", ""),
        ("a/b\0/c", Refusal::InvalidArgument, "b\0/c", "a"),
        (&long, Refusal::NameTooLong, &long, ""),
    ];
    for (path, refusal, rest, passed) in cases {
        let found = tree.walk(&stranger(), &asked(path, Links::All));
        assert_eq!(found.end, refused(refusal, rest), "{path:?}");
        assert_eq!(names(&found), passed, "{path:?}");
    }
    assert_eq!(
        tree.by_root("a/closed/in", Links::All).end,
        PathEnd::Reached
    );
    let path = "a/".repeat(PATH_BYTES_MAX / 2 + 1);
    let found = tree.by_root(&path, Links::All);
    assert_eq!(found.end, refused(Refusal::NameTooLong, &path));
}

#[test]
fn symlinks_are_followed_as_far_as_was_asked() {
    let mut tree = Tree::new();
    let a = tree.dir(Ino::ROOT, "a");
    let f = tree.file(a, "f");
    let up = tree.link(a, "up", "../a/");
    let last = tree.link(a, "last", "up/f");
    let out = tree.link(a, "out", "/etc");
    let symlink = |target: &str, rest: &str| PathEnd::Symlink {
        target: target.into(),
        rest: rest.into(),
    };
    let end = |tree: &mut Tree, path: &str, links| {
        let found = tree.by_root(path, links);
        (found.last().ino, found.place(), found.end)
    };
    // Where it was asked to stop, it says what is left.
    let stopped = end(&mut tree, "a/up/f", Links::Stop);
    assert_eq!(stopped, (up, a, symlink("../a/", "/f")));
    assert_eq!(
        end(&mut tree, "a/up/", Links::Stop).2,
        symlink("../a/", "/")
    );
    for links in [Links::Stop, Links::Above] {
        assert_eq!(end(&mut tree, "a/last", links), (last, a, PathEnd::Reached));
    }
    for links in [Links::Above, Links::All] {
        assert_eq!(end(&mut tree, "a/up/f", links).0, f);
        // A machine's root is not the volume's.
        let stopped = end(&mut tree, "a/up/out/hosts", links);
        assert_eq!(stopped, (out, a, symlink("/etc", "/hosts")));
        // With a slash behind it, it is in the way.
        assert_eq!(end(&mut tree, "a/up/", links), (a, a, PathEnd::Reached));
        let file = end(&mut tree, "a/last/", links).2;
        assert_eq!(file, refused(Refusal::NotDirectory, ""));
    }
    let found = tree.by_root("a/last", Links::All);
    assert_eq!((found.last().ino, &found.end), (f, &PathEnd::Reached));
    assert_eq!(names(&found), "a last up .. a f");
    assert_eq!(end(&mut tree, "a/out", Links::All).2, symlink("/etc", ""));
}

#[test]
fn a_symlink_to_where_it_is_leads_to_its_directory() {
    for target in [".", "./", "./.", ".//."] {
        let mut tree = Tree::new();
        let a = tree.make(Ino::ROOT, "a", FileKind::Directory, 0o755);
        let here = tree.link(a, "here", target);
        let over = tree.link(a, "over", "here");
        for (path, links, through) in [
            ("a/here", Links::All, "a here .."),
            ("a/here/", Links::All, "a here .."),
            ("a/here/", Links::Above, "a here .."),
            ("a/here/.", Links::Above, "a here .."),
            ("a/over/", Links::Above, "a over here .."),
            ("a/here/over", Links::All, "a here over here .."),
        ] {
            let found = tree.by_root(path, links);
            assert_eq!(found.end, PathEnd::Reached, "{path} by {target}");
            assert_eq!(found.last(), &tree.attrs[&a], "{path} by {target}");
            assert_eq!(found.place(), a);
            // A step without a name.
            assert_eq!(names(&found), through, "{path} by {target}");
            assert_eq!(found.steps.last().map(|step| step.parent), Some(a));
        }
        let unfollowed = tree.by_root("a/here", Links::Above);
        assert_eq!(unfollowed.last().ino, here);
        let inside = tree.by_root("a/here/over", Links::Above);
        assert_eq!(
            (inside.last().ino, names(&inside)),
            (over, "a here over".to_owned())
        );
        let missing = tree.by_root("a/here/x/y", Links::All);
        assert_eq!(missing.end, refused(Refusal::NotFound, "x/y"));
        assert_eq!((missing.place(), names(&missing)), (a, "a here".to_owned()));
        // The directory is opened, and not the symlink, which everybody may write to.
        let open = |read, write| Resolve {
            open: Some(Access { read, write }),
            ..asked("a/here", Links::All)
        };
        let end = |tree: &mut Tree, asked| tree.walk(&stranger(), &asked).end;
        assert_eq!(end(&mut tree, open(true, false)), PathEnd::Reached);
        let written = end(&mut tree, open(false, true));
        assert_eq!(written, refused(Refusal::AccessDenied, ""));
    }
}

#[test]
fn symlinks_that_go_nowhere_are_refused() {
    let mut tree = Tree::new();
    tree.link(Ino::ROOT, "self", "self");
    let long = format!("long{}", "/".repeat(4000));
    tree.link(Ino::ROOT, "long", &long);
    tree.link(Ino::ROOT, "missing", "not/there");
    tree.link(Ino::ROOT, "high", "../x");
    for at in 0..41 {
        tree.link(Ino::ROOT, &format!("l{at}"), &format!("l{}", at + 1));
    }
    tree.file(Ino::ROOT, "l41");
    let end = |tree: &mut Tree, path: &str| tree.by_root(path, Links::All).end;
    assert_eq!(end(&mut tree, "l1"), PathEnd::Reached, "40 of them");
    assert_eq!(end(&mut tree, "l0"), refused(Refusal::Loop, "l40"));
    assert_eq!(end(&mut tree, "self/x"), refused(Refusal::Loop, "self/x"));
    let path = format!("long/{}", "x/".repeat(60));
    let too_long = end(&mut tree, &path);
    assert_eq!(too_long, refused(Refusal::NameTooLong, &path));
    let missing = tree.by_root("missing/x", Links::All);
    assert_eq!(missing.end, refused(Refusal::NotFound, "not/there/x"));
    assert_eq!(missing.place(), Ino::ROOT);
    let above = PathEnd::Above {
        rest: b"../x/y".to_vec(),
    };
    assert_eq!(end(&mut tree, "high/y"), above);
}

#[test]
fn the_steps_of_a_walk_are_bounded() {
    let mut tree = Tree::new();
    let d = tree.dir(Ino::ROOT, "d");
    let on = "../d/".repeat(800);
    for at in 0..10 {
        let link = tree.link(d, &format!("l{at}"), &format!("{on}l{}", at + 1));
        assert!(tree.targets[&link].len() <= PATH_BYTES_MAX);
    }
    let found = tree.by_root("d/l0", Links::All);
    assert_eq!(found.steps.len(), PATH_STEPS_MAX);
    let PathEnd::Refused { refusal, .. } = found.end else {
        panic!("{:?}", found.end);
    };
    assert_eq!(refusal, Refusal::NameTooLong);
    assert!(tree.asked <= PATH_STEPS_MAX + 10);
    // So is the one that arrives where the last symlink is.
    for (last, steps, end) in [
        ("here", PATH_STEPS_MAX, PathEnd::Reached),
        ("over", PATH_STEPS_MAX, refused(Refusal::NameTooLong, "")),
    ] {
        let mut tree = Tree::new();
        let d = tree.dir(Ino::ROOT, "d");
        tree.link(d, "here", ".");
        tree.link(d, "over", "here");
        // The symlink and two for each `..` and `d`: with `d` and `here`, 4,095.
        for (name, times, next) in [("l0", 700, "l1"), ("l1", 700, "l2"), ("l2", 645, last)] {
            tree.link(d, name, &format!("{}{next}", "../d/".repeat(times)));
        }
        let found = tree.by_root("d/l0", Links::All);
        assert_eq!((found.steps.len(), found.end), (steps, end), "{last}");
    }
}

#[test]
fn what_a_path_leads_to_is_opened_as_by_itself() {
    let mut tree = Tree::new();
    tree.file(Ino::ROOT, "f");
    tree.dir(Ino::ROOT, "d");
    let mut open = |caller: &Caller, path: &str, (read, write)| {
        let asked = Resolve {
            open: Some(Access { read, write }),
            ..asked(path, Links::All)
        };
        tree.walk(caller, &asked).end
    };
    let (reads, writes) = ((true, false), (false, true));
    let denied = refused(Refusal::AccessDenied, "");
    assert_eq!(open(&Caller::root(), "f", writes), PathEnd::Reached);
    assert_eq!(open(&stranger(), "f", reads), denied);
    assert_eq!(open(&stranger(), "d", reads), PathEnd::Reached);
    let directory = refused(Refusal::IsDirectory, "");
    assert_eq!(open(&Caller::root(), "d", writes), directory);
}

#[test]
fn an_answer_to_another_question_is_told() {
    let tree = Tree::new();
    let root = Caller::root();
    let asked = asked("a", Links::Stop);
    let mut walk = Walk::new(&root, tree.attrs[&Ino::ROOT].clone(), &asked);
    assert!(walk.question().is_some());
    let wrong = walk.answer(Ok(Answer::Bytes(Vec::new())));
    assert_eq!(wrong, Err(OtherAnswer));
}

#[test]
fn a_directory_that_lost_its_acl_with_its_name_lets_nobody_pass() {
    let tree = Tree::new();
    let caller = stranger();
    let asked = asked("f", Links::All);
    for nlink in [0, 2] {
        let directory = Attr {
            access_acl: true,
            nlink,
            ..tree.attrs[&Ino::ROOT].clone()
        };
        let mut walk = Walk::new(&caller, directory, &asked);
        let question = walk.question();
        assert!(matches!(question, Some(QueryBody::GetXattr { .. })));
        walk.answer(Err(Refusal::NoAttribute)).expect("an answer");
        let next = walk.question();
        if nlink == 0 {
            assert_eq!(next, None);
            assert_eq!(walk.found().end, refused(Refusal::AccessDenied, "f"));
        } else {
            assert!(matches!(next, Some(QueryBody::Lookup { .. })), "{next:?}");
        }
    }
}
