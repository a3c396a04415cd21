//! Bytes as version 1 writes them, kept in `frozen_v1.txt`. They lie in logs, slots and changelogs
//! for ever: a test that fails here means that the encoding must get a new version byte. Only ever
//! add here and there.

use meta_core::attr::{Attr, Caller, FileKind, Timestamp};
use meta_core::changelog::{Record, RecordKind, RowChange, SealedRecord};
use meta_core::codec::Codec;
use meta_core::command::{
    Append, AppendSlice, CloneTree, Command, CommandBody, Commit, CopyRange, Create, CreateMirror,
    CreateVolume, Existing, Fallocate, FallocateMode, LoadRows, MirrorStep, NewNode, NewSlice,
    Operation, RenameMode, Request, SetAttr, SetTime, XattrMode,
};
use meta_core::compaction::Compact;
use meta_core::ids::{
    ChunkIndex, Epoch, Ino, Level, Seq, SessionId, SliceId, SliceOrder, SlotIndex, Uuid, VolumeId,
};
use meta_core::lock::{
    LockKind, LockMode, LockRange, LockRequest, LockState, UnlockRequest, Woken,
};
use meta_core::name::Name;
use meta_core::outcome::{
    MirrorState, NotExecuted, Outcome, Refusal, Removal, Reply, StopReason, Success, Token,
};
use meta_core::quota::{Limit, Subject};
use meta_core::task::{Claim, NewBackup, Task};
use proto::ProstCodec;
use std::fmt::Write as _;

const STAMP: Timestamp = Timestamp {
    seconds: 1_700_000_000,
    nanos: 123_456_789,
};
const EARLY: Timestamp = Timestamp {
    seconds: -1,
    nanos: 999_999_999,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}

/// The hex kept under a name: lines are `kind what: hex`.
fn frozen(kind: &str, what: &str) -> &'static str {
    let prefix = format!("{kind} {what}: ");
    let mut lines = include_str!("frozen_v1.txt").lines();
    let found = lines.find_map(|line| line.strip_prefix(&prefix));
    found.unwrap_or_else(|| panic!("no line {prefix}"))
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn check_command(what: &str, body: CommandBody) {
    let command = Command {
        volume: VolumeId(3),
        stamp: STAMP,
        read_level: Level(0),
        body,
    };
    let bytes = ProstCodec.encode_command(&command);
    assert_eq!(hex(&bytes), frozen("command", what), "{what}");
    assert_eq!(
        ProstCodec.decode_command(&bytes).expect("decodes"),
        command,
        "{what}"
    );
}

fn check_operation(what: &str, operation: Operation) {
    let request = Request {
        session: SessionId(5),
        slot: SlotIndex(6),
        sequence: 7,
        caller: Caller {
            uid: 1000,
            gid: 1001,
            groups: vec![10, 2000],
        },
        operation,
    };
    check_command(what, CommandBody::Request(request));
}

fn check_reply(what: &str, outcome: Outcome) {
    let token = Token {
        epoch: Epoch(2),
        seq: Seq(300),
    };
    let reply = Reply {
        token,
        stamp: STAMP,
        outcome,
    };
    let bytes = ProstCodec.encode_reply(&reply);
    assert_eq!(hex(&bytes), frozen("reply", what), "{what}");
    assert_eq!(
        ProstCodec.decode_reply(&bytes).expect("decodes"),
        reply,
        "{what}"
    );
}

fn attr() -> Attr {
    Attr {
        ino: Ino(0x0001_0200_0000_0003),
        kind: FileKind::CharDevice,
        mode: 0o6755,
        uid: 1000,
        gid: 1001,
        rdev: 0x0801,
        nlink: 2,
        length: 1 << 40,
        atime: EARLY,
        mtime: STAMP,
        ctime: STAMP,
        parent: Ino(1),
        btime: None,
        access_acl: false,
        default_acl: false,
    }
}

#[test]
fn commands_of_clusters_and_sessions_are_frozen() {
    let cluster = Uuid([0xc1; 16]);
    check_command("init", CommandBody::InitCluster { cluster });
    let create = CreateVolume {
        name: "vol".into(),
        uuid: Uuid([0xd2; 16]),
        block_bytes: 4 << 20,
        storage: b"{}".to_vec(),
    };
    check_command("create volume", CommandBody::CreateVolume(create));
    let nonce = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;
    let open = CommandBody::OpenSession {
        nonce,
        slots: 256,
        info: b"{}".to_vec(),
    };
    check_command("open session", open);
    check_command(
        "close session",
        CommandBody::CloseSession {
            session: SessionId(5),
        },
    );
    let sessions = vec![SessionId(5), SessionId(600)];
    check_command("expire", CommandBody::ExpireSessions { sessions });
    check_command(
        "reap",
        CommandBody::Reap {
            ino: Ino(9),
            rows_max: 100,
        },
    );
    check_command(
        "reap files",
        CommandBody::ReapFiles {
            inos: vec![Ino(9), Ino(300)],
            rows_max: 100,
        },
    );
    check_command(
        "trim",
        CommandBody::Trim {
            ino: Ino(9),
            rows_max: 100,
        },
    );
    check_command(
        "trim log",
        CommandBody::TrimChangelog { keep_from: Seq(77) },
    );
    check_command("raise level", CommandBody::RaiseLevel { level: Level(2) });
}

#[test]
fn operations_on_names_are_frozen() {
    let create = |node, existing| {
        Operation::Create(Create {
            parent: Ino(1),
            name: name("n"),
            mode: 0o644,
            node,
            masked: 0,
            existing,
        })
    };
    let open = Existing::Open {
        read: true,
        write: true,
    };
    check_operation("regular", create(NewNode::Regular, open));
    check_operation("directory", create(NewNode::Directory, Existing::Refuse));
    let symlink = NewNode::Symlink {
        target: b"../t".to_vec(),
    };
    check_operation("symlink", create(symlink, Existing::Refuse));
    let special = NewNode::Special {
        kind: FileKind::BlockDevice,
        rdev: 0x0801,
    };
    check_operation("special", create(special, Existing::Refuse));
    let link = Operation::Link {
        ino: Ino(9),
        parent: Ino(1),
        name: name("n"),
    };
    check_operation("link", link);
    check_operation(
        "unlink",
        Operation::Unlink {
            parent: Ino(1),
            name: name("n"),
        },
    );
    check_operation(
        "rmdir",
        Operation::Rmdir {
            parent: Ino(1),
            name: name("n"),
        },
    );
    check_operation(
        "remove entries",
        Operation::RemoveEntries {
            parent: Ino(300),
            names: vec![name("a"), name("bc")],
            skip_trash: false,
        },
    );
}

#[test]
fn renames_are_frozen() {
    for (what, mode) in [
        ("rename replace", RenameMode::Replace),
        ("rename no replace", RenameMode::NoReplace),
        ("rename exchange", RenameMode::Exchange),
    ] {
        let (parent, new_parent) = (Ino(1), Ino(300));
        let (name, new_name) = (name("a"), name("b"));
        let rename = Operation::Rename {
            parent,
            name,
            new_parent,
            new_name,
            mode,
        };
        check_operation(what, rename);
    }
}

#[test]
fn the_trash_is_frozen() {
    check_command(
        "purge trash",
        CommandBody::PurgeTrash {
            before: STAMP,
            files_max: 200,
        },
    );
    let trash_seconds = 86_400;
    let options = |trash_seconds| CommandBody::SetOptions {
        caller: Caller::root(),
        trash_seconds,
    };
    check_command("set options", options(trash_seconds));
    let off = options(0);
    check_command("set options off", off);
    let skip = Operation::RemoveEntries {
        parent: Ino(300),
        names: vec![name("a")],
        skip_trash: true,
    };
    check_operation("remove entries for good", skip);
    let restore = Operation::Restore {
        parent: Ino(300),
        files: vec![(Ino(9), name("a")), (Ino(600), name("bc"))],
    };
    check_operation("restore", restore);
    let inos = vec![Ino(9), Ino(600)];
    check_operation("empty trash", Operation::EmptyTrash { inos });
    let restored = vec![None, Some(Refusal::Exists)];
    check_reply("restored", Outcome::Done(Success::Restored(restored)));
}

#[test]
fn quotas_are_frozen() {
    let set = |subject, bytes, inodes| CommandBody::SetQuota {
        caller: Caller::root(),
        subject,
        limit: Limit { bytes, inodes },
    };
    let volume = set(Subject::Volume, Some(1 << 40), None);
    check_command("set quota of the volume", volume);
    let directory = set(Subject::Directory(Ino(300)), Some(0), Some(5));
    check_command("set quota of a directory", directory);
    let user = set(Subject::User(1000), None, Some(1_000_000));
    check_command("set quota of a user", user);
    let group = set(Subject::Group(0), None, None);
    check_command("no quota of a group", group);
    let files_max = 256;
    check_command("count files", CommandBody::CountFiles { files_max });
    check_reply("over quota", Outcome::Refused(Refusal::OverQuota));
    check_reply("crosses quota", Outcome::Refused(Refusal::CrossesQuota));
}

#[test]
fn holes_are_frozen() {
    let fallocated = Success::Fallocated {
        next: 1 << 33,
        attr: Attr {
            btime: Some(EARLY),
            access_acl: false,
            default_acl: false,
            ..attr()
        },
    };
    check_reply("fallocated", Outcome::Done(fallocated));
    for (what, mode) in [
        ("punch", FallocateMode::Punch),
        ("zero", FallocateMode::Zero),
    ] {
        let asked = Fallocate {
            ino: Ino(9),
            offset: 4096,
            len: 1 << 40,
            mode,
        };
        check_operation(what, Operation::Fallocate(asked));
    }
}

#[test]
fn clones_are_frozen() {
    let tree = CloneTree {
        source: Ino(9),
        parent: Ino(300),
        name: name("copy"),
        preserve: true,
        umask: 0o22,
        rows_max: 1024,
    };
    check_operation("clone", Operation::Clone(tree));
    check_operation("cancel clone", Operation::CancelClone { job: Ino(300) });
    let step = |copies, attach| CommandBody::CloneStep {
        job: Ino(300),
        rows_max: 1024,
        copies,
        attach,
    };
    let place = (Ino(9), name("copy"));
    check_command("clone step", step(true, Some(place)));
    check_command("clone is cleared", step(false, None));
    let cloning = Success::Cloning {
        job: Ino(300),
        done: true,
    };
    check_reply("cloning", Outcome::Done(cloning));
    check_reply("busy", Outcome::Refused(Refusal::Busy));
    check_reply("cancelled", Outcome::Refused(Refusal::Cancelled));
}

#[test]
fn what_shares_slices_is_frozen() {
    let asked = CopyRange {
        from: Ino(9),
        offset: 4096,
        to: Ino(300),
        to_offset: 1 << 40,
        len: 1 << 33,
    };
    check_operation("copy range", Operation::CopyRange(asked));
    let copied = Success::Copied {
        len: 1 << 33,
        attr: attr(),
    };
    check_reply("copied", Outcome::Done(copied));
    let compact = |slices| Compact {
        ino: Ino(9),
        chunk: ChunkIndex(2),
        first: SliceOrder(3),
        last: SliceOrder(400),
        seen: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
        slices,
    };
    let slice = NewSlice {
        chunk: ChunkIndex(2),
        at: 77,
        id: SliceId(1 << 50),
        len: 70_000,
        frame_crcs: vec![1, 0xdead_beef],
    };
    check_operation("compact", Operation::Compact(compact(vec![slice])));
    check_operation("compact nothing", Operation::Compact(compact(Vec::new())));
    check_reply("changed", Outcome::Refused(Refusal::Changed));
    let files = vec![(Ino(9), STAMP), (Ino(300), EARLY)];
    check_operation("accessed", Operation::Accessed { files });
    let task = Task::Compact;
    let claim = Operation::ClaimTask {
        task,
        interval_ms: 1,
    };
    check_operation("claim compaction", claim);
    check_operation("release compaction", Operation::ReleaseTask { task });
}

#[test]
fn what_acls_need_is_frozen() {
    let made = Create {
        parent: Ino(1),
        name: name("n"),
        mode: 0o640,
        masked: 0o026,
        node: NewNode::Regular,
        existing: Existing::Refuse,
    };
    check_operation("masked", Operation::Create(made));
    let attr = Attr {
        access_acl: true,
        default_acl: true,
        ..attr()
    };
    let created = true;
    check_reply(
        "entry with acls",
        Outcome::Done(Success::Entry { attr, created }),
    );
}

#[test]
fn operations_on_files_are_frozen() {
    let set = SetAttr {
        ino: Ino(9),
        mode: Some(0o600),
        uid: Some(0),
        gid: Some(1),
        length: Some(4096),
        atime: Some(SetTime::Now),
        mtime: Some(SetTime::At(EARLY)),
        by_handle: true,
        drop_privilege_bits: true,
        grow_only: false,
    };
    check_operation("set attributes", Operation::SetAttr(set));
    let grow = SetAttr {
        ino: Ino(9),
        length: Some(4096),
        by_handle: true,
        grow_only: true,
        ..SetAttr::default()
    };
    check_operation("grow", Operation::SetAttr(grow));
    let slice = NewSlice {
        chunk: ChunkIndex(2),
        at: 4096,
        id: SliceId(1_000_000),
        len: 70_000,
        frame_crcs: vec![0xdead_beef, 1],
    };
    let commit = Commit {
        ino: Ino(9),
        slices: vec![slice],
        mtime: Some(EARLY),
    };
    check_operation("commit", Operation::Commit(commit));
    let slice = AppendSlice {
        id: SliceId(8),
        len: 70_000,
        frame_crcs: vec![0xdead_beef, 1],
    };
    let append = Append {
        ino: Ino(9),
        slices: vec![slice],
    };
    check_operation("append", Operation::Append(append));
    for (what, mode) in [
        ("xattr set", XattrMode::Set),
        ("xattr create", XattrMode::Create),
        ("xattr replace", XattrMode::Replace),
    ] {
        let (name, value) = (b"user.k".to_vec(), b"v".to_vec());
        let set = Operation::SetXattr {
            ino: Ino(9),
            name,
            value,
            mode,
        };
        check_operation(what, set);
    }
    let remove = Operation::RemoveXattr {
        ino: Ino(9),
        name: b"user.k".to_vec(),
    };
    check_operation("remove attribute", remove);
    check_operation("grant", Operation::GrantSlices { count: 1024 });
}

#[test]
fn replies_are_frozen() {
    let done = |what, success| check_reply(what, Outcome::Done(success));
    done("done", Success::Done);
    done("attr", Success::Attr(attr()));
    done(
        "entry",
        Success::Entry {
            attr: attr(),
            created: true,
        },
    );
    done(
        "removed",
        Success::Removed {
            ino: Ino(9),
            nlink: 1,
        },
    );
    let removals = vec![
        Removal::Removed { nlink: 0 },
        Removal::Refused(Refusal::NotEmpty),
        Removal::Removed { nlink: 300 },
    ];
    done("removed entries", Success::RemovedEntries(removals));
    let replaced = Some((Ino(10), 2));
    done(
        "renamed",
        Success::Renamed {
            ino: Ino(9),
            replaced,
        },
    );
    done(
        "appended",
        Success::Appended {
            offset: 4096,
            attr: attr(),
        },
    );
    done(
        "granted",
        Success::Granted {
            first: SliceId(1_000_000),
            count: 1024,
        },
    );
    done("session", Success::Session(SessionId(5)));
    done("volume", Success::Volume(VolumeId(3)));
    done(
        "maintained",
        Success::Maintained {
            rows: 9,
            more: true,
        },
    );
    check_reply("refused", Outcome::Refused(Refusal::Moved));
    let not = |what, why| check_reply(what, Outcome::NotExecuted(why));
    not("unknown session", NotExecuted::UnknownSession);
    not("misordered", NotExecuted::SlotMisordered { last: 41 });
    not("wrong volume", NotExecuted::WrongVolume);
}

#[test]
fn commands_of_mirrors_are_frozen() {
    check_command("mark", CommandBody::Mark);
    let note = CommandBody::NoteFollower {
        name: "tokyo".to_owned(),
        info: b"{}".to_vec(),
    };
    check_command("note follower", note);
    let create = CreateMirror {
        name: "vol".to_owned(),
        uuid: Uuid([0xd2; 16]),
        origin: Uuid([0xc1; 16]),
        storage: b"{}".to_vec(),
        info: b"{1}".to_vec(),
    };
    check_command("create mirror", CommandBody::CreateMirror(create));
    let step = |what, step| check_command(what, CommandBody::Mirror(step));
    let snapshot = Token {
        epoch: Epoch(2),
        seq: Seq(300),
    };
    let begin = MirrorStep::BeginLoad {
        snapshot,
        record_crc: 0xdead_beef,
        again: true,
    };
    step("mirror begin", begin);
    let rows = LoadRows {
        after: vec![0x10],
        through: vec![0x80],
        rows: vec![(vec![0x10, 1], vec![1, 2]), (vec![0x11, 2], vec![3])],
    };
    step("mirror load", MirrorStep::Load(rows));
    let end = MirrorStep::EndLoad {
        stamp: STAMP,
        digest: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
    };
    step("mirror end", end);
    let record = SealedRecord {
        crc: 0xdead_beef,
        body: vec![1, 2, 3],
    };
    step("mirror apply", MirrorStep::Apply(vec![record]));
    let stop = MirrorStep::Stop {
        reason: StopReason::Gap,
        at: Seq(301),
    };
    step("mirror stop", stop);
    let state = MirrorState::Stopped(StopReason::Forked);
    check_reply("mirrored", Outcome::Done(Success::Mirrored(state)));
}

#[test]
fn tasks_are_frozen() {
    let task = Task::Backup;
    let claim = Operation::ClaimTask {
        task,
        interval_ms: 3_600_000,
    };
    check_operation("claim task", claim);
    check_operation("release task", Operation::ReleaseTask { task });
    let token = Token {
        epoch: Epoch(2),
        seq: Seq(300),
    };
    let made = NewBackup {
        token,
        bytes: 5_000_000_000,
        name: "meta/dump".to_owned(),
    };
    check_operation("finish backup", Operation::FinishBackup(made));
    let claimed = |what, claim| check_reply(what, Outcome::Done(Success::Claimed(claim)));
    let given = Claim::Given {
        at: STAMP,
        lease_ms: 60_000,
    };
    claimed("claim given", given);
    claimed("claim held", Claim::Held { retry_ms: 900 });
    claimed("claim not due", Claim::NotDue { retry_ms: 900 });
    check_reply("claim lost", Outcome::Refused(Refusal::ClaimLost));
}

#[test]
fn locks_are_frozen() {
    let range = LockRange {
        first: 3,
        last: 300,
    };
    let wanted = LockRequest {
        ino: Ino(2),
        kind: LockKind::Posix,
        owner: 1 << 60,
        pid: 1234,
        range,
        mode: LockMode::Exclusive,
        wait: None,
    };
    let waits = LockRequest {
        kind: LockKind::Flock,
        mode: LockMode::Shared,
        wait: Some(0),
        ..wanted.clone()
    };
    check_operation("lock", Operation::Lock(wanted));
    check_operation("lock waiting", Operation::Lock(waits));
    let given = UnlockRequest {
        ino: Ino(2),
        kind: LockKind::Ofd,
        owner: 9,
        range,
    };
    check_operation("unlock", Operation::Unlock(given));
    let cancel = Operation::CancelLock {
        kind: LockKind::Ofd,
        owner: 9,
        ticket: 4,
    };
    check_operation("cancel lock", cancel);
    let woken = |granted| Woken {
        session: SessionId(5),
        ticket: 4,
        granted,
    };
    let locked = |what, state| {
        let woken = vec![woken(true), woken(false)];
        check_reply(what, Outcome::Done(Success::Locked { state, woken }));
    };
    locked("lock granted", LockState::Granted);
    locked("lock waiting", LockState::Waiting);
    locked("lock conflict", LockState::Conflict);
    locked("lock deadlock", LockState::Deadlock);
    let unlocked = Success::Unlocked(vec![woken(true)]);
    check_reply("unlocked", Outcome::Done(unlocked));
    let cancelled = Success::LockCancelled { waited: true };
    check_reply("lock cancelled", Outcome::Done(cancelled));
    check_reply("no locks", Outcome::Refused(Refusal::NoLocks));
}

#[test]
fn records_are_frozen() {
    let change = |old_hash, new| RowChange {
        table: 200,
        key: vec![1, 2, 3],
        old_hash,
        new,
    };
    let hash = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;
    let record = Record {
        cluster: Uuid([0xc1; 16]),
        volume: Uuid([0xd2; 16]),
        epoch: Epoch(2),
        seq: Seq(300),
        level: Level(1),
        previous_crc: 0xdead_beef,
        kind: RecordKind::Change,
        stamp: STAMP,
        changes: vec![
            change(None, Some(vec![0xaa])),
            change(Some(hash), Some(vec![])),
            change(Some(hash), None),
        ],
    };
    let bytes = ProstCodec.encode_record(&record);
    assert_eq!(hex(&bytes), frozen("record", "change"));
    assert_eq!(ProstCodec.decode_record(&bytes).expect("decodes"), record);
}
