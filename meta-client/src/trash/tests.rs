//! Trees that are removed and put back, in an engine in memory, with accidents on the way.

use super::*;
use crate::remove_tree::tests::{Fake, Rows, name, user};
use meta_core::attr::FileKind;
use meta_core::check;
use meta_core::command::{CommandBody, NewNode, RenameMode};
use meta_core::limits::LEVEL_MAX;
use meta_core::outcome::Outcome;
use meta_core::quota::{Limit, Subject};
use parking_lot::Mutex;

/// What a restore looks for.
const RESTORED: Which = Which {
    by: None,
    since: None,
    own_first: true,
};

/// A volume with a trash.
fn rows() -> Rows {
    let mut rows = Rows::new();
    rows.run(CommandBody::RaiseLevel { level: LEVEL_MAX });
    rows
}

fn names(path: &str) -> Vec<Name> {
    path.split('/').map(name).collect()
}

impl Rows {
    /// Removes a tree, the deepest first.
    fn remove_all(&mut self, parent: Ino, text: &str) {
        let lookup = QueryBody::Lookup {
            parent,
            name: name(text),
        };
        let Ok(Answer::Attr(attr)) = self.ask(Caller::root(), lookup) else {
            panic!("no {text}");
        };
        if attr.kind == FileKind::Directory {
            for inner in self.names(attr.ino) {
                self.remove_all(attr.ino, &inner);
            }
        }
        let remove = Operation::RemoveEntries {
            parent,
            names: vec![name(text)],
            skip_trash: false,
        };
        self.execute(Caller::root(), remove).expect("removed");
    }

    /// Every path below a directory.
    fn paths(&self, ino: Ino, before: &str, found: &mut Vec<String>) {
        for text in self.names(ino) {
            let lookup = QueryBody::Lookup {
                parent: ino,
                name: name(&text),
            };
            let Ok(Answer::Attr(attr)) = self.ask(Caller::root(), lookup) else {
                panic!("no {text}");
            };
            let path = format!("{before}/{text}");
            if attr.kind == FileKind::Directory {
                self.paths(attr.ino, &path, found);
            }
            found.push(path);
        }
    }

    fn all(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.paths(Ino::ROOT, "", &mut found);
        found.sort();
        found
    }

    fn trashed(&self) -> u64 {
        match self.ask(Caller::root(), QueryBody::StatVolume) {
            Ok(Answer::Stat(stat)) => stat.trash.expect("a trash").inodes,
            other => panic!("{other:?}"),
        }
    }
}

type Accident = fn(&mut Rows, &Operation) -> Option<ClientError>;

fn trash(rows: Rows, caller: &Caller, accident: Accident) -> Trash<Fake> {
    Trash {
        engine: Arc::new(Fake {
            rows: Mutex::new(rows),
            accident: Box::new(accident),
        }),
        caller: caller.clone(),
    }
}

fn calm(_rows: &mut Rows, _operation: &Operation) -> Option<ClientError> {
    None
}

/// Puts a path back as the command does. Gives what was told.
async fn restore(trash: &Trash<Fake>, path: &str) -> Result<Vec<TrashEvent>, ClientError> {
    let names = names(path);
    let found = trash.find(&names, RESTORED).await?;
    let found = found.ok_or(Refusal::NotFound)?;
    let parent = trash.restore_above(&names, &found).await?;
    let last = names.last().expect("a name").clone();
    let ends = trash
        .put_back(parent, vec![(found.entry.attr.ino, last)])
        .await?;
    if let Some(refusal) = ends.into_iter().next().flatten() {
        return Err(refusal.into());
    }
    below(trash, found.entry.attr.ino).await
}

async fn below(trash: &Trash<Fake>, ino: Ino) -> Result<Vec<TrashEvent>, ClientError> {
    let mut told = Vec::new();
    let walk = tree::Walk::restore(trash.clone(), None);
    let mut tell = |event| told.push(event);
    walk.run(ino, Vec::new(), 7, &mut tell).await.map(|()| told)
}

fn stays(told: &[TrashEvent]) -> Vec<(Vec<Name>, Refusal)> {
    let stays = told.iter().filter_map(|event| match event {
        TrashEvent::Stays { path, why } => Some((path.clone(), *why)),
        _ => None,
    });
    stays.collect()
}

fn sound(trash: &Trash<Fake>) {
    let rows = trash.engine.rows.lock();
    let broken = check::check(&rows.kv, rows.volume).expect("sound rows");
    assert_eq!(broken, Vec::<String>::new());
}

#[tokio::test]
async fn a_tree_comes_back_as_it_was() {
    let mut rows = rows();
    rows.make_tree(Ino::ROOT, "top", 3, 9);
    rows.make(Ino::ROOT, "other", NewNode::Regular);
    let before = rows.all();
    rows.remove_all(Ino::ROOT, "top");
    assert_eq!(rows.all(), ["/other"]);
    let trash = trash(rows, &Caller::root(), calm);
    let told = restore(&trash, "top").await.expect("restored");
    let count = told.iter().fold((0, 0), |sum, event| match event {
        TrashEvent::Restored { files, directories } => (sum.0 + files, sum.1 + directories),
        other => panic!("{other:?}"),
    });
    assert_eq!(count, (40 * 10, 39));
    assert_eq!(trash.engine.rows.lock().all(), before);
    assert_eq!(trash.engine.rows.lock().trashed(), 0);
    sound(&trash);
}

#[tokio::test]
async fn a_file_brings_the_directories_back_that_it_was_in() {
    let mut rows = rows();
    rows.make_tree(Ino::ROOT, "top", 2, 2);
    rows.remove_all(Ino::ROOT, "top");
    let trash = trash(rows, &Caller::root(), calm);
    restore(&trash, "top/d1/d0/f1").await.expect("restored");
    let expected = ["/top", "/top/d1", "/top/d1/d0", "/top/d1/d0/f1"];
    assert_eq!(trash.engine.rows.lock().all(), expected);
    // What is left comes into the directories that are there.
    let found = trash.lookup(Ino::ROOT, &name("top")).await.expect("asked");
    below(&trash, found.expect("it is there").ino)
        .await
        .expect("restored");
    assert_eq!(trash.engine.rows.lock().all().len(), 13 + 13 * 3);
    assert_eq!(trash.engine.rows.lock().trashed(), 0);
    sound(&trash);
}

#[tokio::test]
async fn a_directory_made_anew_takes_what_was_in_the_one_before() {
    let mut rows = rows();
    let old = rows.make(Ino::ROOT, "dir", NewNode::Directory);
    rows.make(old, "file", NewNode::Regular);
    rows.remove_all(Ino::ROOT, "dir");
    let new = rows.make(Ino::ROOT, "dir", NewNode::Directory);
    let trash = trash(rows, &Caller::root(), calm);
    restore(&trash, "dir/file").await.expect("restored");
    assert_eq!(trash.engine.rows.lock().names(new), ["file"]);
    // The name of the old one is taken.
    let refused = restore(&trash, "dir").await.expect_err("it is taken");
    assert_eq!(refused, ClientError::Refused(Refusal::Exists));
    sound(&trash);
}

#[tokio::test]
async fn the_latest_of_a_name_comes_back_or_the_one_that_was_there_by_a_time() {
    let mut rows = rows();
    let mut inos = Vec::new();
    for _version in 0..3 {
        inos.push(rows.make(Ino::ROOT, "file", NewNode::Regular));
        rows.remove_all(Ino::ROOT, "file");
    }
    let trash = trash(rows, &Caller::root(), calm);
    let find = async |by| {
        let which = Which {
            by,
            own_first: true,
            ..Which::default()
        };
        trash.find(&names("file"), which).await.expect("asked")
    };
    let latest = find(None).await.expect("the latest").entry;
    assert_eq!(latest.attr.ino, inos[2]);
    let middle = trash.file(inos[1]).await.expect("it is there");
    let by = find(Some(middle.removed)).await.expect("one before");
    assert_eq!(by.entry, middle);
    assert_eq!(find(Some(Timestamp::default())).await, None);
    assert_eq!(trash.find(&names("none"), Which::default()).await, Ok(None));
}

async fn found(trash: &Trash<Fake>, path: &str) -> Result<Option<Found>, ClientError> {
    trash.find(&names(path), RESTORED).await
}

#[tokio::test]
async fn a_directory_that_may_not_be_searched_does_not_hide_what_was_in_others() {
    let mut rows = rows();
    let owner = user(1000);
    let old = rows.make_by(&owner, Ino::ROOT, "dir", NewNode::Directory);
    let file = rows.make_by(&owner, old, "file", NewNode::Regular);
    rows.remove_all(Ino::ROOT, "dir");
    let new = rows.make(Ino::ROOT, "dir", NewNode::Directory);
    rows.set_mode(new, 0o700, 0);
    let trash = trash(rows, &owner, calm);
    let there = found(&trash, "dir/file").await.expect("searched");
    let there = there.expect("it is in the trash");
    assert_eq!(there.entry.attr.ino, file);
    let (ino, is_removed) = (old, true);
    assert_eq!(there.above, [Way { ino, is_removed }]);
    for path in ["dir/none", "dir/none/file"] {
        let denied = ClientError::Refused(Refusal::AccessDenied);
        assert_eq!(found(&trash, path).await, Err(denied));
    }
}

#[tokio::test]
async fn what_others_removed_later_does_not_hide_the_caller_s() {
    let mut rows = rows();
    let owner = user(1000);
    let mine = rows.make_by(&owner, Ino::ROOT, "file", NewNode::Regular);
    rows.remove_all(Ino::ROOT, "file");
    let mut other = Ino::ROOT;
    for _version in 0..2 {
        other = rows.make(Ino::ROOT, "file", NewNode::Regular);
        rows.remove_all(Ino::ROOT, "file");
    }
    let trash = trash(rows, &owner, calm);
    // Who has none there is told whose it is.
    for (caller, ino) in [(owner, mine), (Caller::root(), other), (user(1001), other)] {
        let trash = Trash {
            caller,
            ..trash.clone()
        };
        let latest = found(&trash, "file").await.expect("searched");
        assert_eq!(latest.expect("one").entry.attr.ino, ino);
    }
    restore(&trash, "file").await.expect("restored");
    let refused = restore(&trash, "file").await.expect_err("another's");
    assert_eq!(refused, ClientError::Refused(Refusal::NotPermitted));
    sound(&trash);
}

#[tokio::test]
async fn the_caller_s_own_of_each_name_comes_back_wherever_the_pages_end() {
    let mut rows = rows();
    let owner = user(1000);
    let dir = rows.make_by(&owner, Ino::ROOT, "dir", NewNode::Directory);
    let mut make = |caller: &Caller, text: &str| {
        let ino = rows.make_by(caller, dir, text, NewNode::Regular);
        rows.remove_all(dir, text);
        ino
    };
    make(&owner, "a");
    let latest = make(&owner, "a");
    let mine = make(&owner, "m");
    // More than a page.
    for _version in 0..300 {
        make(&Caller::root(), "m");
    }
    make(&Caller::root(), "z");
    make(&Caller::root(), "z");
    let trash = trash(rows, &owner, calm);
    let told = below(&trash, dir).await.expect("restored");
    assert_eq!(stays(&told), [(names("z"), Refusal::NotPermitted)]);
    assert_eq!(trash.engine.rows.lock().names(dir), ["a", "m"]);
    for (text, ino) in [("a", latest), ("m", mine)] {
        let there = trash.lookup(dir, &name(text)).await.expect("asked");
        assert_eq!(there.expect("it is there").ino, ino);
    }
    sound(&trash);
}

#[tokio::test]
async fn what_a_page_leaves_open_comes_with_a_full_one() {
    let mut rows = rows();
    let owner = user(1000);
    let dir = rows.make_by(&owner, Ino::ROOT, "dir", NewNode::Directory);
    for number in 0..2 * PAGE {
        let text = format!("f{number:03}");
        // The last of the first page is another's.
        if number + 1 == PAGE {
            rows.make(dir, &text, NewNode::Regular);
        } else {
            rows.make_by(&owner, dir, &text, NewNode::Regular);
        }
        rows.remove_all(dir, &text);
    }
    let trash = trash(rows, &owner, calm);
    let told = below(&trash, dir).await.expect("restored");
    assert_eq!(stays(&told), [(names("f255"), Refusal::NotPermitted)]);
    assert_eq!(trash.engine.rows.lock().names(dir).len(), 511);
    sound(&trash);
}

#[tokio::test]
async fn of_all_directories_that_had_the_path_the_latest_removal_counts() {
    let mut rows = rows();
    let live = rows.make(Ino::ROOT, "dir", NewNode::Directory);
    let first = rows.make(live, "file", NewNode::Regular);
    rows.remove_all(live, "file");
    let rename = |rows: &mut Rows, from: &str, to: &str| {
        let rename = Operation::Rename {
            parent: Ino::ROOT,
            name: name(from),
            new_parent: Ino::ROOT,
            new_name: name(to),
            mode: RenameMode::Replace,
        };
        rows.execute(Caller::root(), rename).expect("renamed");
    };
    rename(&mut rows, "dir", "aside");
    let mut gone = Vec::new();
    for _version in 0..2 {
        let dir = rows.make(Ino::ROOT, "dir", NewNode::Directory);
        gone.push((dir, rows.make(dir, "file", NewNode::Regular)));
        rows.remove_all(Ino::ROOT, "dir");
    }
    rename(&mut rows, "aside", "dir");
    let trash = trash(rows, &Caller::root(), calm);
    let mut by = None;
    for (ino, file, is_removed) in [
        (gone[1].0, gone[1].1, true),
        (gone[0].0, gone[0].1, true),
        (live, first, false),
    ] {
        let which = Which {
            by,
            own_first: true,
            ..Which::default()
        };
        let next = trash.find(&names("dir/file"), which).await;
        let next = next.expect("searched").expect("one before");
        assert_eq!(next.entry.attr.ino, file);
        assert_eq!(next.above, [Way { ino, is_removed }]);
        let removed = next.entry.removed;
        by = Some(Timestamp {
            seconds: removed.seconds - 1,
            ..removed
        });
    }
    // It comes into the one that is there.
    restore(&trash, "dir/file").await.expect("restored");
    let there = trash.lookup(live, &name("file")).await.expect("asked");
    assert_eq!(there.expect("it is there").ino, gone[1].1);
    sound(&trash);
}

#[tokio::test]
async fn answers_that_are_lost_do_not_matter() {
    let mut rows = rows();
    rows.make_tree(Ino::ROOT, "top", 2, 5);
    let before = rows.all();
    rows.remove_all(Ino::ROOT, "top");
    // Every second answer is lost after the command was done.
    let lossy: Accident = |rows, operation| {
        static SENT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let sent = SENT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        sent.is_multiple_of(2).then(|| {
            let _lost = rows.execute(Caller::root(), operation.clone());
            ClientError::Unknown("lost".to_owned())
        })
    };
    let trash = trash(rows, &Caller::root(), lossy);
    for event in restore(&trash, "top").await.expect("restored") {
        assert!(matches!(event, TrashEvent::Restored { .. }), "{event:?}");
    }
    assert_eq!(trash.engine.rows.lock().all(), before);
    sound(&trash);
}

#[tokio::test]
async fn what_is_another_s_stays_and_the_rest_comes() {
    let mut rows = rows();
    let owner = user(1000);
    let dir = rows.make_by(&owner, Ino::ROOT, "dir", NewNode::Directory);
    rows.make_by(&owner, dir, "mine", NewNode::Regular);
    rows.make(dir, "root's", NewNode::Regular);
    rows.remove_all(Ino::ROOT, "dir");
    let trash = trash(rows, &owner, calm);
    let told = restore(&trash, "dir").await.expect("restored");
    assert_eq!(stays(&told), [(names("root's"), Refusal::NotPermitted)]);
    assert_eq!(trash.engine.rows.lock().names(dir), ["mine"]);
}

#[tokio::test]
async fn what_has_room_under_a_limit_comes_and_the_rest_stays() {
    let mut rows = rows();
    let dir = rows.make(Ino::ROOT, "dir", NewNode::Directory);
    for text in ["a", "b", "c"] {
        rows.make(dir, text, NewNode::Regular);
        rows.remove_all(dir, text);
    }
    rows.run(CommandBody::SetQuota {
        caller: Caller::root(),
        subject: Subject::Directory(dir),
        limit: Limit {
            bytes: None,
            inodes: Some(2),
        },
    });
    let trash = trash(rows, &Caller::root(), calm);
    let told = below(&trash, dir).await.expect("walked");
    assert_eq!(stays(&told).len(), 1, "{told:?}");
    assert!(
        stays(&told)
            .iter()
            .all(|(_, why)| *why == Refusal::OverQuota)
    );
    assert_eq!(trash.engine.rows.lock().names(dir).len(), 2);
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_to_does_not_hide_those_in_it() {
    let mut rows = rows();
    let owner = user(1000);
    let top = rows.make(Ino::ROOT, "top", NewNode::Directory);
    let inner = rows.make_by(&Caller::root(), top, "inner", NewNode::Directory);
    rows.set_mode(inner, 0o755, 1000);
    rows.make(top, "file", NewNode::Regular);
    rows.make_by(&owner, inner, "mine", NewNode::Regular);
    rows.remove_all(top, "file");
    rows.remove_all(inner, "mine");
    let trash = trash(rows, &owner, calm);
    let told = below(&trash, top).await.expect("walked");
    let denied = |event: &TrashEvent| matches!(event, TrashEvent::Stays { why, .. } if *why == Refusal::AccessDenied);
    assert_eq!(told.iter().filter(|event| denied(event)).count(), 1);
    assert_eq!(trash.engine.rows.lock().names(inner), ["mine"]);
    assert_eq!(trash.engine.rows.lock().names(top), ["inner"]);
}

#[tokio::test]
async fn the_trash_is_listed_and_emptied_below_a_directory() {
    let mut rows = rows();
    let top = rows.make_tree(Ino::ROOT, "top", 1, 2);
    rows.make(Ino::ROOT, "other", NewNode::Regular);
    rows.remove_all(top, "d1");
    rows.remove_all(top, "f0");
    rows.remove_all(Ino::ROOT, "other");
    let trash = trash(rows, &Caller::root(), calm);
    let list = async || {
        let mut listed = Vec::new();
        let mut tell = |event| match event {
            TrashEvent::Entry { path, entry } => {
                let names = path.iter().chain([&entry.name]);
                listed.push(names.map(|name| format!("/{name}")).collect::<String>());
            }
            other => panic!("{other:?}"),
        };
        let walk = tree::Walk::list(trash.clone(), None);
        walk.run(Ino::ROOT, Vec::new(), 1, &mut tell)
            .await
            .expect("listed");
        listed.sort();
        listed
    };
    let d1 = ["/top/d1", "/top/d1/f0", "/top/d1/f1", "/top/d1/link"];
    assert_eq!(list().await, [&["/other"], &d1[..], &["/top/f0"]].concat());
    let mut emptied = 0;
    let mut tell = |event| match event {
        TrashEvent::Emptied(count) => emptied += count,
        other => panic!("{other:?}"),
    };
    let walk = tree::Walk::empty(trash.clone(), None);
    walk.run(top, names("top"), 1, &mut tell)
        .await
        .expect("emptied");
    assert_eq!(emptied, 5);
    assert_eq!(list().await, ["/other"]);
    let refused = Trash {
        caller: user(1000),
        ..trash.clone()
    };
    let refused = refused.empty(vec![Ino(9)]).await;
    assert_eq!(refused, Err(Refusal::NotPermitted.into()));
    sound(&trash);
}

#[test]
fn a_volume_is_told_how_long_it_keeps_what_is_removed() {
    let mut rows = rows();
    let set = |caller| CommandBody::SetOptions {
        caller,
        trash_seconds: 0,
    };
    let user = Caller {
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
    };
    let refused = Outcome::Refused(Refusal::NotPermitted);
    assert_eq!(rows.run(set(user)), refused);
    assert_eq!(rows.run(set(Caller::root())), Outcome::Done(Success::Done));
    rows.make(Ino::ROOT, "file", NewNode::Regular);
    rows.remove_all(Ino::ROOT, "file");
    assert_eq!(rows.trashed(), 0);
}
