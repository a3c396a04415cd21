//! Trees in an engine in memory, with accidents on the way.

use super::*;
use meta_core::attr::Timestamp;
use meta_core::check;
use meta_core::command::{
    Command, CommandBody, Create, CreateVolume, Existing, NewNode, Request, SetAttr,
};
use meta_core::ids::{DentryNumber, Level, SessionId, SlotIndex, Uuid, VolumeId};
use meta_core::kv::{MemKv, Overlay};
use meta_core::outcome::{Outcome, Stop};
use meta_core::query::Query;
use meta_core::{machine, read};
use parking_lot::Mutex;
use proto::ProstCodec;
use std::sync::atomic::{AtomicU64, Ordering};

/// What happens before a request is done.
pub(crate) type Accident = dyn Fn(&mut Rows, &Operation) -> Option<ClientError> + Send + Sync;

/// An engine in memory with one session, which does what comes at once.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) kv: MemKv,
    pub(crate) volume: VolumeId,
    sequence: u64,
    clock: i64,
    requests: u64,
}

pub(crate) struct Fake {
    pub(crate) rows: Mutex<Rows>,
    pub(crate) accident: Box<Accident>,
}

impl Rows {
    pub(crate) fn new() -> Self {
        let mut rows = Self::default();
        let cluster = Uuid([1; 16]);
        rows.run(CommandBody::InitCluster { cluster });
        let create = CreateVolume {
            name: "vol".to_owned(),
            uuid: Uuid([2; 16]),
            block_bytes: 4 << 20,
            storage: Vec::new(),
        };
        let Outcome::Done(Success::Volume(volume)) = rows.run(CommandBody::CreateVolume(create))
        else {
            panic!("no volume");
        };
        rows.volume = volume;
        rows.run(CommandBody::OpenSession {
            nonce: 1,
            slots: 1,
            info: Vec::new(),
        });
        rows
    }

    pub(crate) fn run(&mut self, body: CommandBody) -> Outcome {
        self.clock += 1;
        let command = Command {
            volume: self.volume,
            stamp: Timestamp {
                seconds: self.clock,
                nanos: 0,
            },
            read_level: Level(0),
            body,
        };
        let mut pending = Overlay::new(&self.kv);
        let reply = machine::apply(&mut pending, &ProstCodec, &command).expect("sound rows");
        let writes = pending.into_writes();
        self.kv.write(writes);
        reply.outcome
    }

    pub(crate) fn execute(
        &mut self,
        caller: Caller,
        operation: Operation,
    ) -> Result<Success, ClientError> {
        self.sequence += 1;
        let request = Request {
            session: SessionId(1),
            slot: SlotIndex(0),
            sequence: self.sequence,
            caller,
            operation,
        };
        match self.run(CommandBody::Request(request)) {
            Outcome::Done(success) => Ok(success),
            Outcome::Refused(refusal) => Err(refusal.into()),
            Outcome::NotExecuted(why) => panic!("{why:?}"),
        }
    }

    pub(crate) fn make(&mut self, parent: Ino, text: &str, node: NewNode) -> Ino {
        self.make_by(&Caller::root(), parent, text, node)
    }

    pub(crate) fn make_by(
        &mut self,
        caller: &Caller,
        parent: Ino,
        text: &str,
        node: NewNode,
    ) -> Ino {
        let create = Create {
            parent,
            name: name(text),
            mode: 0o755,
            node,
            masked: 0,
            existing: Existing::Refuse,
        };
        match self.execute(caller.clone(), Operation::Create(create)) {
            Ok(Success::Entry { attr, .. }) => attr.ino,
            other => panic!("{text}: {other:?}"),
        }
    }

    pub(crate) fn set_mode(&mut self, ino: Ino, mode: u32, uid: u32) {
        let set = SetAttr {
            ino,
            mode: Some(mode),
            uid: Some(uid),
            ..SetAttr::default()
        };
        let set = self.execute(Caller::root(), Operation::SetAttr(set));
        set.expect("set");
    }

    /// A directory with directories in it, `levels` of them below each other, and files in each.
    pub(crate) fn make_tree(&mut self, parent: Ino, text: &str, levels: u32, files: u32) -> Ino {
        let dir = self.make(parent, text, NewNode::Directory);
        for number in 0..files {
            self.make(dir, &format!("f{number}"), NewNode::Regular);
        }
        let target = b"..".to_vec();
        self.make(dir, "link", NewNode::Symlink { target });
        for number in 0..if levels > 0 { 3 } else { 0 } {
            self.make_tree(dir, &format!("d{number}"), levels - 1, files);
        }
        dir
    }

    pub(crate) fn ask(&self, caller: Caller, body: QueryBody) -> Result<Answer, ClientError> {
        let volume = self.volume;
        let query = Query {
            volume,
            caller,
            body,
        };
        match read::answer(&self.kv, &query) {
            Ok((_, answer)) => Ok(answer),
            Err(Stop::Refused(refusal)) => Err(refusal.into()),
            Err(Stop::Fatal(fatal)) => panic!("{fatal}"),
        }
    }

    pub(crate) fn names(&self, ino: Ino) -> Vec<String> {
        let body = QueryBody::ReadDir {
            ino,
            after: DentryNumber(0),
            entries_max: u32::MAX,
            with_attrs: false,
        };
        let Ok(Answer::Entries { entries, .. }) = self.ask(Caller::root(), body) else {
            panic!("no listing");
        };
        entries.iter().map(|entry| entry.name.to_string()).collect()
    }
}

impl Engine for Fake {
    async fn execute(&self, caller: Caller, operation: Operation) -> Result<Success, ClientError> {
        // Others have their turn, as on a network.
        tokio::task::yield_now().await;
        let rows = &mut *self.rows.lock();
        rows.requests += 1;
        match (self.accident)(rows, &operation) {
            Some(error) => Err(error),
            None => rows.execute(caller, operation),
        }
    }

    async fn query(&self, caller: Caller, body: QueryBody) -> Result<Answer, ClientError> {
        tokio::task::yield_now().await;
        self.rows.lock().ask(caller, body)
    }
}

/// What came of a removal.
#[derive(Default, Debug)]
struct Told {
    files: u64,
    directories: u64,
    stays: Vec<(String, Stays)>,
    one_by_one: usize,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(crate) fn user(uid: u32) -> Caller {
    Caller {
        uid,
        gid: uid,
        groups: Vec::new(),
    }
}

/// Removes `top` in the root.
async fn remove(
    rows: Rows,
    caller: &Caller,
    in_flight: usize,
    accident: impl Fn(&mut Rows, &Operation) -> Option<ClientError> + Send + Sync + 'static,
) -> (Rows, Told, Result<(), ClientError>) {
    let fake = Arc::new(Fake {
        rows: Mutex::new(rows),
        accident: Box::new(accident),
    });
    let doomed = Doomed {
        parent: Ino::ROOT,
        name: name("top"),
        skip_trash: false,
    };
    let mut told = Told::default();
    let mut tell = |event| match event {
        TreeEvent::Removed { files, directories } => {
            told.files += files;
            told.directories += directories;
        }
        TreeEvent::Stays { path, why } => {
            let path: Vec<String> = path.iter().map(Name::to_string).collect();
            told.stays.push((path.join("/"), why));
        }
        TreeEvent::OneByOne { .. } => told.one_by_one += 1,
    };
    let ended = remove_tree(&fake, caller, doomed, in_flight, &mut tell).await;
    told.stays.sort_by(|one, other| one.0.cmp(&other.0));
    let rows = std::mem::take(&mut *fake.rows.lock());
    let broken = check::check(&rows.kv, rows.volume).expect("readable");
    assert_eq!(broken, Vec::<String>::new());
    (rows, told, ended)
}

fn nothing(_: &mut Rows, _: &Operation) -> Option<ClientError> {
    None
}

#[tokio::test]
async fn a_tree_goes_with_all_below_it_and_nothing_else() {
    for in_flight in [1, 3, 50] {
        let mut rows = Rows::new();
        rows.make_tree(Ino::ROOT, "top", 3, 300);
        rows.make_tree(Ino::ROOT, "other", 0, 2);
        let (rows, told, ended) = remove(rows, &Caller::root(), in_flight, nothing).await;
        ended.expect("removed");
        let directories = 1 + 3 + 9 + 27;
        assert_eq!(
            (told.files, told.directories),
            (directories * 301, directories)
        );
        assert_eq!(told.stays, []);
        assert_eq!(rows.names(Ino::ROOT), ["other"]);
        // Files of a directory in two commands, and directories of one directory in one.
        assert!(rows.requests <= directories * 3, "{}", rows.requests);
    }
}

#[tokio::test]
async fn a_file_and_a_symlink_go_alone() {
    let mut rows = Rows::new();
    let kept = rows.make_tree(Ino::ROOT, "kept", 0, 2);
    let target = b"kept".to_vec();
    rows.make(Ino::ROOT, "top", NewNode::Symlink { target });
    let (mut rows, told, ended) = remove(rows, &Caller::root(), 4, nothing).await;
    ended.expect("removed");
    assert_eq!((told.files, told.directories), (1, 0));
    assert_eq!(rows.names(kept).len(), 3, "a link is not followed");
    rows.make(Ino::ROOT, "top", NewNode::Regular);
    let (rows, told, ended) = remove(rows, &Caller::root(), 4, nothing).await;
    ended.expect("removed");
    assert_eq!((told.files, told.directories), (1, 0));
    assert_eq!(rows.names(Ino::ROOT), ["kept"]);
    let (_, told, ended) = remove(rows, &Caller::root(), 4, nothing).await;
    assert_eq!(ended, Err(Refusal::NotFound.into()));
    assert_eq!(told.files, 0);
}

#[tokio::test]
async fn a_deep_tree_goes_without_a_deep_stack() {
    let mut rows = Rows::new();
    let mut at = rows.make(Ino::ROOT, "top", NewNode::Directory);
    for _ in 0..10_000 {
        at = rows.make(at, "d", NewNode::Directory);
    }
    let (rows, told, ended) = remove(rows, &Caller::root(), 50, nothing).await;
    ended.expect("removed");
    assert_eq!(told.directories, 10_001);
    assert_eq!(rows.names(Ino::ROOT), [""; 0]);
}

#[tokio::test]
async fn what_may_not_be_removed_stays_and_the_rest_goes() {
    let mut rows = Rows::new();
    let top = rows.make(Ino::ROOT, "top", NewNode::Directory);
    rows.set_mode(top, 0o755, 1);
    let places = ["closed", "empty", "sticky", "foreign", "unsearched"];
    let [closed, empty, sticky, foreign, unsearched] =
        places.map(|text| rows.make_by(&user(1), top, text, NewNode::Directory));
    for dir in [closed, sticky, foreign, unsearched] {
        rows.make(dir, "theirs", NewNode::Regular);
    }
    rows.make_by(&user(1), sticky, "mine", NewNode::Regular);
    rows.make_by(&user(1), top, "file", NewNode::Regular);
    rows.set_mode(closed, 0o300, 1);
    rows.set_mode(empty, 0o000, 1);
    rows.set_mode(sticky, 0o1777, 0);
    rows.set_mode(foreign, 0o755, 0);
    rows.set_mode(unsearched, 0o600, 1);
    let (rows, told, ended) = remove(rows, &user(1), 8, nothing).await;
    ended.expect("the rest went");
    let denied = Refusal::AccessDenied;
    let stays = [
        ("top/closed", Stays::NotListed(denied)),
        ("top/foreign/theirs", Stays::Refused(denied)),
        ("top/sticky/theirs", Stays::Refused(Refusal::NotPermitted)),
        ("top/unsearched", Stays::Refused(denied)),
    ];
    let stays = stays.map(|(path, why)| (path.to_owned(), why));
    assert_eq!(told.stays, stays);
    // The empty one needs no listing.
    assert_eq!((told.files, told.directories), (2, 1));
    let mut left = rows.names(top);
    left.sort();
    assert_eq!(left, ["closed", "foreign", "sticky", "unsearched"]);
    assert_eq!(rows.names(sticky), ["theirs"]);
}

#[tokio::test]
async fn names_that_vanish_on_the_way_are_no_error() {
    let mut rows = Rows::new();
    rows.make_tree(Ino::ROOT, "top", 2, 20);
    let vanish = |rows: &mut Rows, operation: &Operation| {
        // Somebody else does the same a moment earlier, of every other command.
        if rows.requests.is_multiple_of(2) {
            let _gone = rows.execute(Caller::root(), operation.clone());
        }
        None
    };
    let (rows, told, ended) = remove(rows, &Caller::root(), 5, vanish).await;
    ended.expect("removed");
    assert_eq!(told.stays, []);
    assert!(told.files < 13 * 21, "some were the other's: {told:?}");
    assert_eq!(rows.names(Ino::ROOT), [""; 0]);
}

#[tokio::test]
async fn names_that_appear_are_met_so_often_and_no_oftener() {
    for (times, stays) in [(3, false), (u64::MAX, true)] {
        let mut rows = Rows::new();
        let top = rows.make_tree(Ino::ROOT, "top", 1, 3);
        let appeared = AtomicU64::new(0);
        let appear = move |rows: &mut Rows, operation: &Operation| {
            let Operation::RemoveEntries { parent, .. } = operation else {
                panic!("{operation:?}");
            };
            if *parent == Ino::ROOT && appeared.load(Ordering::Relaxed) < times {
                let number = appeared.fetch_add(1, Ordering::Relaxed);
                let dir = rows.make(top, &format!("new{number}"), NewNode::Directory);
                rows.make(dir, "x", NewNode::Regular);
            }
            None
        };
        let (rows, told, ended) = remove(rows, &Caller::root(), 2, appear).await;
        ended.expect("an answer");
        let not_empty = ("top".to_owned(), Stays::Refused(Refusal::NotEmpty));
        if stays {
            assert_eq!(told.stays, [not_empty]);
            assert_eq!(rows.names(top).len(), 1, "what came last");
        } else {
            assert_eq!(told.stays, []);
            assert_eq!(rows.names(Ino::ROOT), [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_cluster_that_does_not_remove_many_at_once_is_asked_for_one_at_a_time() {
    let mut rows = Rows::new();
    rows.make_tree(Ino::ROOT, "top", 2, 20);
    let older = |_: &mut Rows, operation: &Operation| {
        let together = matches!(operation, Operation::RemoveEntries { .. });
        together.then(|| Failure::BadRequest("node 3 runs an older version".into()).into())
    };
    let (rows, told, ended) = remove(rows, &Caller::root(), 5, older).await;
    ended.expect("removed");
    assert_eq!((told.files, told.directories), (13 * 21, 13));
    assert_eq!(told.one_by_one, 1, "told once");
    assert_eq!(rows.names(Ino::ROOT), [""; 0]);
}

#[tokio::test]
async fn a_removal_whose_answer_is_lost_is_sent_again() {
    let lose = |times: u64| {
        move |rows: &mut Rows, operation: &Operation| {
            if rows.requests % 7 >= times {
                return None;
            }
            let _done = rows.execute(Caller::root(), operation.clone());
            Some(ClientError::Unknown("the leader died".to_owned()))
        }
    };
    let mut rows = Rows::new();
    rows.make_tree(Ino::ROOT, "top", 2, 20);
    let (rows, told, ended) = remove(rows, &Caller::root(), 5, lose(3)).await;
    ended.expect("removed");
    assert_eq!(told.stays, []);
    assert_eq!(rows.names(Ino::ROOT), [""; 0]);

    let mut rows = Rows::new();
    rows.make_tree(Ino::ROOT, "top", 0, 3);
    let (_, _, ended) = remove(rows, &Caller::root(), 5, lose(7)).await;
    assert!(matches!(ended, Err(ClientError::Unknown(_))), "{ended:?}");
}
