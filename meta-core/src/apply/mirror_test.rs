use crate::acl;
use crate::attr::{Caller, Timestamp};
use crate::changelog::{Record, SealedRecord};
use crate::codec::Codec as _;
use crate::command::{
    Command, CommandBody, Create, CreateMirror, CreateVolume, Existing, LoadRows, MirrorStep,
    NewNode, Operation, Request, XattrMode,
};
use crate::ids::{Epoch, Ino, Level, Seq, SessionId, SlotIndex, Uuid, VolumeId};
use crate::key::{self, FIRST_LOCAL_TAG};
use crate::kv::{Family, KvRead as _, MemKv, Overlay};
use crate::limits::LEVEL_MAX;
use crate::name::Name;
use crate::outcome::{Fatal, MirrorState, Outcome, Refusal, Reply, StopReason, Success, Token};
use crate::query::{Query, QueryBody};
use crate::tables::Tables;
use crate::testing::ListCodec;
use crate::{check, machine, read};
use std::sync::Arc;

const ORIGIN: Uuid = Uuid([1; 16]);
const VOLUME: Uuid = Uuid([2; 16]);

/// One cluster with one volume.
pub(crate) struct Side {
    pub(crate) kv: MemKv,
    pub(crate) codec: Arc<ListCodec>,
    pub(crate) volume: VolumeId,
    pub(crate) clock: i64,
    pub(crate) sequence: u64,
    /// What its leader says of records.
    pub(crate) read_level: Level,
}

impl Side {
    pub(crate) fn new(cluster: Uuid, codec: &Arc<ListCodec>) -> Self {
        let mut side = Self {
            kv: MemKv::default(),
            codec: Arc::clone(codec),
            volume: VolumeId::CLUSTER,
            clock: 0,
            sequence: 0,
            read_level: LEVEL_MAX,
        };
        side.run(CommandBody::InitCluster { cluster });
        side
    }

    pub(crate) fn origin(codec: &Arc<ListCodec>) -> Self {
        let mut side = Self::new(ORIGIN, codec);
        let create = CreateVolume {
            name: "vol".to_owned(),
            uuid: VOLUME,
            block_bytes: 4 << 20,
            storage: b"{}".to_vec(),
        };
        side.volume = side.made(CommandBody::CreateVolume(create));
        let open = CommandBody::OpenSession {
            nonce: 7,
            slots: 1,
            info: Vec::new(),
        };
        side.done(open);
        side
    }

    fn mirror(codec: &Arc<ListCodec>) -> Self {
        let mut side = Self::new(Uuid([9; 16]), codec);
        // Its volume has another number than the origin's.
        let other = CreateVolume {
            name: "other".to_owned(),
            uuid: Uuid([8; 16]),
            block_bytes: 4 << 20,
            storage: Vec::new(),
        };
        side.made(CommandBody::CreateVolume(other));
        side.volume = side.made(CommandBody::CreateMirror(create_mirror()));
        side
    }

    pub(crate) fn run(&mut self, body: CommandBody) -> Reply {
        self.clock += 1;
        let command = Command {
            volume: self.volume,
            stamp: Timestamp {
                seconds: self.clock,
                nanos: 0,
            },
            read_level: self.read_level,
            body,
        };
        let mut pending = Overlay::new(&self.kv);
        let reply = machine::apply(&mut pending, &*self.codec, &command).expect("a sound store");
        let writes = pending.into_writes();
        self.kv.write(writes);
        reply
    }

    pub(crate) fn done(&mut self, body: CommandBody) -> Success {
        match self.run(body).outcome {
            Outcome::Done(success) => success,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn made(&mut self, body: CommandBody) -> VolumeId {
        match self.done(body) {
            Success::Volume(id) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn operation(&mut self, operation: Operation) {
        self.sequence += 1;
        let request = Request {
            session: SessionId(1),
            slot: SlotIndex(0),
            sequence: self.sequence,
            caller: Caller::root(),
            operation,
        };
        self.done(CommandBody::Request(request));
    }

    pub(crate) fn create(&mut self, name: &str) {
        self.operation(Operation::Create(Create {
            parent: Ino::ROOT,
            name: Name::new(name).expect("a valid name"),
            mode: 0o644,
            node: NewNode::Regular,
            masked: 0,
            existing: Existing::Refuse,
        }));
    }

    pub(crate) fn unlink(&mut self, name: &str) {
        let name = Name::new(name).expect("a valid name");
        self.operation(Operation::Unlink {
            parent: Ino::ROOT,
            name,
        });
    }

    fn step(&mut self, step: MirrorStep) -> MirrorState {
        match self.done(CommandBody::Mirror(step)) {
            Success::Mirrored(state) => state,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, step: MirrorStep) -> Refusal {
        match self.run(CommandBody::Mirror(step)).outcome {
            Outcome::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn head(&self) -> read::SnapshotHead {
        let head = read::snapshot_head(&self.kv, self.volume).expect("a sound store");
        head.expect("a volume")
    }

    pub(crate) fn records(&self, from: u64) -> Vec<SealedRecord> {
        let records = read::records(&self.kv, self.volume, Seq(from), usize::MAX);
        let records = records.expect("a sound store").into_iter();
        records.map(|(_, record)| record).collect()
    }

    /// Replicated rows without the volume's number.
    pub(crate) fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let page = read::snapshot_page(&self.kv, self.volume, &[], usize::MAX, usize::MAX);
        page.expect("a sound store").rows
    }

    pub(crate) fn state(&self) -> MirrorState {
        let summary = read::summary(&self.kv).expect("a sound store");
        let own = summary.into_iter().find(|found| found.id == self.volume);
        own.and_then(|own| own.mirror).expect("a mirror").state
    }
}

fn create_mirror() -> CreateMirror {
    CreateMirror {
        name: "vol".to_owned(),
        uuid: VOLUME,
        origin: ORIGIN,
        storage: b"{}".to_vec(),
        info: b"{\"name\":\"m\"}".to_vec(),
    }
}

/// Loads what `origin` holds now, `rows` at a time.
fn load(origin: &MemKv, volume: VolumeId, mirror: &mut Side, rows: usize) -> MirrorState {
    let head = read::snapshot_head(origin, volume).expect("a sound store");
    let head = head.expect("a volume");
    mirror.step(MirrorStep::BeginLoad {
        snapshot: head.token,
        record_crc: head.record_crc,
        again: false,
    });
    let mut after = Vec::new();
    loop {
        let page = read::snapshot_page(origin, volume, &after, rows, usize::MAX);
        let page = page.expect("a sound store");
        let step = LoadRows {
            after,
            through: page.through.clone(),
            rows: page.rows,
        };
        assert_eq!(mirror.step(MirrorStep::Load(step)), MirrorState::Loading);
        after = page.through;
        if page.end {
            break;
        }
    }
    mirror.step(MirrorStep::EndLoad {
        stamp: head.stamp,
        digest: head.digest,
    })
}

/// An origin with some files and a mirror that follows it.
fn pair() -> (Side, Side) {
    let codec = Arc::new(ListCodec::default());
    let mut origin = Side::origin(&codec);
    ["a", "b", "c"].iter().for_each(|name| origin.create(name));
    let mut mirror = Side::mirror(&codec);
    let state = load(&origin.kv, origin.volume, &mut mirror, 3);
    assert_eq!(state, MirrorState::Following);
    (origin, mirror)
}

#[test]
fn a_mirror_loads_a_snapshot_and_follows_the_records_after_it() {
    let codec = Arc::new(ListCodec::default());
    let mut origin = Side::origin(&codec);
    ["a", "b", "c"].iter().for_each(|name| origin.create(name));
    let snapshot = origin.kv.clone();
    let mut mirror = Side::mirror(&codec);
    let asked = read::answer(
        &mirror.kv,
        &Query {
            volume: mirror.volume,
            caller: Caller::root(),
            body: QueryBody::StatVolume,
        },
    );
    assert!(matches!(
        asked,
        Err(crate::outcome::Stop::Refused(Refusal::MirrorLoading))
    ));
    // Writes go on while it loads.
    origin.unlink("b");
    origin.create("d");
    let state = load(&snapshot, origin.volume, &mut mirror, 2);
    assert_eq!(state, MirrorState::Following);
    let from = mirror.head().token.seq.0 + 1;
    let state = mirror.step(MirrorStep::Apply(origin.records(from)));
    assert_eq!(state, MirrorState::Following);
    assert_eq!(mirror.rows(), origin.rows());
    assert_eq!(mirror.head().token, origin.head().token);
    assert_eq!(mirror.head().digest, origin.head().digest);
    assert_eq!(mirror.records(from), origin.records(from));
    for side in [&origin, &mirror] {
        let broken = check::check(&side.kv, side.volume).expect("a sound store");
        assert_eq!(broken, Vec::<String>::new());
    }
}

/// The ACL of a file that one user may read, and with it the right to.
#[test]
fn a_mirror_has_the_acls_too() {
    let codec = Arc::new(ListCodec::default());
    let mut origin = Side::origin(&codec);
    origin.done(CommandBody::RaiseLevel { level: acl::LEVEL });
    ["a", "b"].iter().for_each(|name| origin.create(name));
    let acl = |user: u32| {
        let entries = [(1, 6, 0), (2, 4, user), (4, 0, 0), (16, 4, 0), (32, 0, 0)];
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, granted, id) in entries {
            value.extend(u16::to_le_bytes(tag));
            value.extend(u16::to_le_bytes(granted));
            value.extend(u32::to_le_bytes(id));
        }
        value
    };
    let inos = ["a", "b"].map(|name| {
        let name = Name::new(name).expect("a valid name");
        let tables = Tables::new(&origin.kv, origin.volume);
        let dentry = tables.dentry(Ino::ROOT, &name).expect("a sound store");
        dentry.expect("a name").ino
    });
    let set = |ino| Operation::SetXattr {
        ino,
        name: acl::ACCESS.to_vec(),
        value: acl(1001),
        mode: XattrMode::Set,
    };
    // One before the snapshot, one in a record behind it.
    origin.operation(set(inos[0]));
    let mut mirror = Side::mirror(&codec);
    assert_eq!(
        load(&origin.kv, origin.volume, &mut mirror, 2),
        MirrorState::Following
    );
    let from = mirror.head().token.seq.0 + 1;
    origin.operation(set(inos[1]));
    mirror.step(MirrorStep::Apply(origin.records(from)));
    assert_eq!(mirror.rows(), origin.rows());
    for side in [&origin, &mirror] {
        for (ino, uid) in [(inos[0], 1001), (inos[1], 1001), (inos[1], 1002)] {
            let caller = Caller {
                uid,
                gid: 9,
                groups: Vec::new(),
            };
            let (read, write) = (true, false);
            let asked = Query {
                volume: side.volume,
                caller,
                body: QueryBody::Open { ino, read, write },
            };
            let answer = read::answer(&side.kv, &asked);
            assert_eq!(answer.is_ok(), uid == 1001, "{ino} by {uid}: {answer:?}");
        }
        let broken = check::check(&side.kv, side.volume).expect("a sound store");
        assert_eq!(broken, Vec::<String>::new());
    }
}

#[test]
fn records_that_were_applied_are_skipped_and_a_gap_is_refused() {
    let (mut origin, mut mirror) = pair();
    let from = mirror.head().token.seq.0 + 1;
    ["d", "e", "f"].iter().for_each(|name| origin.create(name));
    let records = origin.records(from);
    let gap = MirrorStep::Apply(records[1..].to_vec());
    assert_eq!(mirror.refused(gap), Refusal::MirrorGap);
    mirror.step(MirrorStep::Apply(records[..2].to_vec()));
    let before = mirror.kv.clone();
    mirror.step(MirrorStep::Apply(records[..2].to_vec()));
    assert_eq!(mirror.kv, before);
    mirror.step(MirrorStep::Apply(records));
    assert_eq!(mirror.rows(), origin.rows());
}

/// A record changed on purpose, sealed anew.
fn forged(side: &Side, sealed: &SealedRecord, forge: impl FnOnce(&mut Record)) -> SealedRecord {
    let mut record = side.codec.decode_record(&sealed.body).expect("a record");
    forge(&mut record);
    SealedRecord::seal(side.codec.encode_record(&record))
}

#[test]
fn whatever_is_wrong_with_a_record_stops_the_mirror_by_name() {
    type Forge = fn(&mut Record);
    let cases: [(StopReason, Forge); 8] = [
        (StopReason::WrongCluster, |r| r.cluster = Uuid([7; 16])),
        (StopReason::WrongVolume, |r| r.volume = Uuid([7; 16])),
        (StopReason::WrongEpoch, |r| r.epoch = Epoch(1)),
        (StopReason::UnknownLevel, |r| r.level = Level(99)),
        (StopReason::WrongChain, |r| r.previous_crc ^= 1),
        (StopReason::RowDiffers, |r| r.changes[0].old_hash = Some(1)),
        (StopReason::UnreadableRecord, |r| {
            r.changes[0].new = Some(vec![1; 40]);
        }),
        (StopReason::Forked, |r| {
            r.seq = Seq(r.seq.0 - 1);
        }),
    ];
    for (reason, forge) in cases {
        let (mut origin, mut mirror) = pair();
        let from = mirror.head().token.seq.0 + 1;
        origin.create("d");
        let sealed = origin.records(from).remove(0);
        let (rows, token) = (mirror.rows(), mirror.head().token);
        let wrong = forged(&origin, &sealed, forge);
        let state = mirror.step(MirrorStep::Apply(vec![wrong]));
        assert_eq!(state, MirrorState::Stopped(reason));
        assert_eq!(mirror.state(), state);
        assert_eq!((mirror.rows(), mirror.head().token), (rows, token));
        // It stays so, and what it has can still be read.
        mirror.step(MirrorStep::Apply(vec![sealed]));
        assert_eq!(mirror.state(), state);
        assert_eq!(mirror.head().token, token);
    }
}

#[test]
fn what_the_leader_says_decides_which_levels_are_taken_in() {
    let (mut origin, mirror) = pair();
    let from = mirror.head().token.seq.0 + 1;
    origin.done(CommandBody::RaiseLevel { level: Level(2) });
    origin.create("d");
    let records = origin.records(from);
    let unknown = MirrorState::Stopped(StopReason::UnknownLevel);
    for (read_level, expected) in [
        (Level(1), unknown),
        (Level(2), MirrorState::Following),
        // A leader of an earlier build, which does not say it, reads 2.
        (Level(0), MirrorState::Following),
    ] {
        let mut copy = Side {
            kv: mirror.kv.clone(),
            codec: Arc::clone(&mirror.codec),
            read_level,
            ..mirror
        };
        let state = copy.step(MirrorStep::Apply(records.clone()));
        assert_eq!(state, expected, "{read_level:?}");
        // So it is with a snapshot of that level, at which earlier builds do not look.
        let mut anew = Side::mirror(&mirror.codec);
        anew.read_level = read_level;
        let state = load(&origin.kv, origin.volume, &mut anew, 3);
        assert_eq!(state, expected, "{read_level:?}");
    }
}

#[test]
fn a_leader_that_reads_more_than_this_version_stops_the_node() {
    let (_origin, mirror) = pair();
    let step = MirrorStep::Apply(Vec::new());
    let mut command = Command {
        volume: mirror.volume,
        stamp: Timestamp::default(),
        read_level: LEVEL_MAX,
        body: CommandBody::Mirror(step),
    };
    let mut pending = Overlay::new(&mirror.kv);
    assert!(machine::apply(&mut pending, &*mirror.codec, &command).is_ok());
    command.read_level = Level(LEVEL_MAX.0 + 1);
    let stopped = machine::apply(&mut pending, &*mirror.codec, &command);
    assert!(matches!(stopped, Err(Fatal::Command(_))), "{stopped:?}");
}

#[test]
fn every_flipped_bit_of_a_record_stops_the_mirror() {
    let (mut origin, mirror) = pair();
    let from = mirror.head().token.seq.0 + 1;
    origin.create("d");
    let sealed = origin.records(from).remove(0);
    for at in 0..sealed.body.len() * 8 {
        let mut flipped = sealed.clone();
        flipped.body[at / 8] ^= 1 << (at % 8);
        let mut copy = Side {
            kv: mirror.kv.clone(),
            codec: Arc::clone(&mirror.codec),
            ..mirror
        };
        let state = copy.step(MirrorStep::Apply(vec![flipped]));
        assert_eq!(
            state,
            MirrorState::Stopped(StopReason::WrongCrc),
            "bit {at}"
        );
    }
}

#[test]
fn a_load_that_begins_again_replaces_what_the_first_one_left() {
    let codec = Arc::new(ListCodec::default());
    let mut origin = Side::origin(&codec);
    let names: Vec<String> = (0..40).map(|n| format!("f{n}")).collect();
    names.iter().for_each(|name| origin.create(name));
    let mut mirror = Side::mirror(&codec);
    let head = origin.head();
    mirror.step(MirrorStep::BeginLoad {
        snapshot: head.token,
        record_crc: head.record_crc,
        again: false,
    });
    let page = read::snapshot_page(&origin.kv, origin.volume, &[], 60, usize::MAX);
    let page = page.expect("a sound store");
    let rows = LoadRows {
        after: Vec::new(),
        through: page.through.clone(),
        rows: page.rows,
    };
    mirror.step(MirrorStep::Load(rows.clone()));
    // The same piece again does not continue.
    assert_eq!(mirror.refused(MirrorStep::Load(rows)), Refusal::MirrorGap);
    names.iter().step_by(2).for_each(|name| origin.unlink(name));
    let state = load(&origin.kv, origin.volume, &mut mirror, 7);
    assert_eq!(state, MirrorState::Following);
    assert_eq!(mirror.rows(), origin.rows());
}

#[test]
fn what_was_stopped_while_it_loaded_is_never_read() {
    let codec = Arc::new(ListCodec::default());
    let origin = Side::origin(&codec);
    let mut mirror = Side::mirror(&codec);
    let refused = |mirror: &Side| {
        let query = |body| Query {
            volume: mirror.volume,
            caller: Caller::root(),
            body,
        };
        let root = query(QueryBody::GetAttr { ino: Ino::ROOT });
        let asked = read::answer(&mirror.kv, &root);
        matches!(
            asked,
            Err(crate::outcome::Stop::Refused(Refusal::MirrorLoading))
        )
    };
    let stop = || MirrorStep::Stop {
        reason: StopReason::WrongCluster,
        at: Seq(7),
    };
    let head = read::snapshot_head(&origin.kv, origin.volume).expect("a sound store");
    let head = head.expect("a volume");
    mirror.step(MirrorStep::BeginLoad {
        snapshot: head.token,
        record_crc: head.record_crc,
        again: false,
    });
    let page = read::snapshot_page(&origin.kv, origin.volume, &[], 2, usize::MAX);
    let page = page.expect("a sound store");
    mirror.step(MirrorStep::Load(LoadRows {
        after: Vec::new(),
        through: page.through,
        rows: page.rows,
    }));
    assert!(refused(&mirror), "half of a snapshot");
    let state = mirror.step(stop());
    assert_eq!(state, MirrorState::Stopped(StopReason::WrongCluster));
    assert!(refused(&mirror), "stopped in the middle of it");
    // Who looks at all volumes passes it by.
    let listed = read::answer(
        &mirror.kv,
        &Query {
            volume: VolumeId::CLUSTER,
            caller: Caller::root(),
            body: QueryBody::Volumes {
                after: VolumeId::CLUSTER,
                count_max: 10,
            },
        },
    );
    assert!(listed.is_ok(), "{listed:?}");
    let (_, mut followed) = pair();
    followed.step(stop());
    assert!(!refused(&followed), "its rows are of one moment");
}

#[test]
fn a_snapshot_that_is_not_what_was_announced_is_not_followed() {
    let codec = Arc::new(ListCodec::default());
    let origin = Side::origin(&codec);
    let mut mirror = Side::mirror(&codec);
    let mut torn = origin.kv.clone();
    let root = key::by_ino(origin.volume, key::Table::Inode, Ino::ROOT);
    let mut pending = Overlay::new(&torn);
    pending.delete(Family::State, root);
    let writes = pending.into_writes();
    torn.write(writes);
    let state = load(&torn, origin.volume, &mut mirror, 100);
    assert_eq!(state, MirrorState::Stopped(StopReason::SnapshotDiffers));
}

#[test]
fn nothing_but_its_origin_changes_a_mirror() {
    let (_, mut mirror) = pair();
    let before = mirror.kv.clone();
    let bodies = [
        CommandBody::OpenSession {
            nonce: 1,
            slots: 1,
            info: Vec::new(),
        },
        CommandBody::Mark,
        CommandBody::RaiseLevel { level: Level(1) },
        CommandBody::Reap {
            ino: Ino(2),
            rows_max: 1,
        },
    ];
    for body in bodies {
        let outcome = mirror.run(body).outcome;
        assert_eq!(outcome, Outcome::Refused(Refusal::Mirror));
    }
    assert_eq!(mirror.kv, before);
    let again = CommandBody::CreateMirror(create_mirror());
    let own = mirror.volume;
    assert_eq!(mirror.made(again), own);
}

#[test]
fn a_mark_takes_a_number_on_both_sides_and_ends_its_batch() {
    let (mut origin, mut mirror) = pair();
    let from = mirror.head().token.seq.0 + 1;
    let before = origin.head();
    let reply = origin.run(CommandBody::Mark);
    assert_eq!(reply.token.seq.0, before.token.seq.0 + 1);
    assert_eq!(origin.head().digest, before.digest);
    origin.create("d");
    let records = origin.records(from);
    let together = MirrorStep::Apply(records.clone());
    assert_eq!(mirror.refused(together), Refusal::InvalidArgument);
    let body = CommandBody::Mirror(MirrorStep::Apply(records[..1].to_vec()));
    let command = Command {
        volume: mirror.volume,
        stamp: Timestamp::default(),
        read_level: Level(0),
        body: body.clone(),
    };
    let applied = mirror.run(body);
    let marked = machine::marked(&*mirror.codec, &command, &applied);
    assert_eq!(marked, Some(reply.token));
    mirror.step(MirrorStep::Apply(records[1..].to_vec()));
    assert_eq!(mirror.rows(), origin.rows());
}

#[test]
fn old_records_of_a_mirror_go_and_a_resync_begins_without_any() {
    let (mut origin, mut mirror) = pair();
    let from = mirror.head().token.seq.0 + 1;
    origin.create("d");
    mirror.step(MirrorStep::Apply(origin.records(from)));
    let begin = MirrorStep::BeginLoad {
        snapshot: Token::default(),
        record_crc: 0,
        again: true,
    };
    assert_eq!(mirror.refused(begin.clone()), Refusal::InvalidArgument);
    let keep_from = Seq(mirror.head().token.seq.0 + 1);
    mirror.done(CommandBody::TrimChangelog { keep_from });
    assert!(
        mirror
            .kv
            .rows(Family::Changelog)
            .range(mirror.volume.0.to_be_bytes().to_vec()..)
            .next()
            .is_none()
    );
    assert_eq!(mirror.step(begin), MirrorState::Loading);
    let state = load(&origin.kv, origin.volume, &mut mirror, 5);
    assert_eq!(state, MirrorState::Following);
    assert_eq!(mirror.rows(), origin.rows());
}

#[test]
fn hashes_of_ranges_find_the_row_that_differs() {
    let (origin, mirror) = pair();
    let end = [FIRST_LOCAL_TAG];
    let hash = |side: &Side, after: &[u8], through: &[u8], rows: u64| {
        read::rows_hash(&side.kv, side.volume, after, through, rows).expect("a sound store")
    };
    let all = hash(&origin, &[], &end, u64::MAX);
    assert!(all.end && all.through == end);
    assert_eq!(all.hash, origin.head().digest);
    assert_eq!(hash(&mirror, &[], &end, u64::MAX), all);
    let first = hash(&origin, &[], &end, 4);
    assert!(!first.end && first.rows == 4);
    assert_eq!(
        hash(&mirror, &[], &first.through, u64::MAX).hash,
        first.hash
    );
    let rest = hash(&mirror, &first.through, &end, u64::MAX);
    assert_eq!(first.hash.wrapping_add(rest.hash), all.hash);
}

#[test]
fn an_origin_knows_the_mirrors_that_it_was_told_of() {
    let codec = Arc::new(ListCodec::default());
    let mut origin = Side::origin(&codec);
    let note = |name: &str, info: &[u8]| CommandBody::NoteFollower {
        name: name.to_owned(),
        info: info.to_vec(),
    };
    let before = origin.head();
    origin.done(note("tokyo", b"{}"));
    origin.done(note("paris", b"{1}"));
    origin.done(note("tokyo", b"{2}"));
    let query = Query {
        volume: origin.volume,
        caller: Caller::root(),
        body: QueryBody::Followers,
    };
    let (_, answer) = read::answer(&origin.kv, &query).expect("a sound store");
    let known = vec![
        ("paris".to_owned(), b"{1}".to_vec()),
        ("tokyo".to_owned(), b"{2}".to_vec()),
    ];
    assert_eq!(answer, crate::query::Answer::Followers(known));
    origin.done(note("paris", b""));
    let bad = origin.run(note("Not a name", b"{}")).outcome;
    assert_eq!(bad, Outcome::Refused(Refusal::InvalidArgument));
    // It is local: mirrors do not have it.
    assert_eq!(origin.head(), before);
    let row = key::follower(origin.volume, "tokyo");
    assert!(origin.kv.get(Family::State, &row).expect("sound").is_some());
}
