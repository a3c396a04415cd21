//! Which commands the other members read. A command that an older version cannot read would stop it, so
//! it goes into the log only when every member reads it.
//!
//! Each node says with every answer to a peer up to which *generation* it reads commands; one that says
//! nothing reads the first. Effects that are in changelog, digest or mirrors have the volume's level
//! instead (`docs/SEMANTICS.md`, "Upgrades").

use meta_core::changelog::Record;
use meta_core::codec::Codec;
use meta_core::command::{Command, CommandBody, Operation};
use meta_core::ids::{Level, VolumeId};
use meta_core::key::{self, Key, Table};
use meta_core::kv::{Family, KvRead};
use meta_core::limits::LEVEL_MAX;
use meta_core::outcome::{Fatal, MirrorState, Reply};
use meta_core::row::{Mirror, Row, Settings, VolumeRef};
use meta_core::task::Task;
use proto::ProstCodec;
use raft_store::NodeId;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// The newest generation that this version reads.
pub(crate) const NEWEST: u32 = LEVEL_6;
/// The one that every version reads.
pub(crate) const FIRST: u32 = 1;
/// The one of tasks.
pub(crate) const TASKS: u32 = 2;
/// The one of a recovery from a lost majority. It is never proposed, but may be in the log.
const RECOVERED: u32 = 3;
/// The one of files that are deleted many at a time.
const REAP_FILES: u32 = 4;
/// The one of names that are removed many at a time.
const REMOVE_ENTRIES: u32 = 5;
/// The one of leaders that wait until leases of their predecessors are over. No command is of it.
pub(crate) const LEASES: u32 = 6;

/// The one of ranges that become holes, and of volumes above level 1.
const HOLES: u32 = 7;
/// The one of locks on files.
pub(crate) const LOCKS: u32 = 8;
/// The one of volumes above level 2, and of what only they have.
const LEVEL_3: u32 = 9;
/// The one of volumes above level 3, and of what only they have.
const LEVEL_4: u32 = 10;
/// The one of volumes above level 4, of what only they have, and of the task of compaction.
const LEVEL_5: u32 = 11;
/// The one of volumes above level 5, and of what only they have.
const LEVEL_6: u32 = 12;

/// The generation of a command.
///
/// What only volumes of a level do has none of its own: the level was raised by a command that has one. So it is
/// with ACLs, and with what a create says of the umask, which means something beside a default ACL alone.
pub(crate) fn of(body: &CommandBody) -> u32 {
    let request = match body {
        CommandBody::Request(request) => request,
        CommandBody::Recovered => return RECOVERED,
        CommandBody::ReapFiles { .. } => return REAP_FILES,
        CommandBody::PurgeTrash { .. } | CommandBody::SetOptions { .. } => return LEVEL_3,
        CommandBody::SetQuota { .. } | CommandBody::CountFiles { .. } => return LEVEL_4,
        CommandBody::CloneStep { .. } => return LEVEL_6,
        CommandBody::RaiseLevel { level } if level.0 > 5 => return LEVEL_6,
        CommandBody::RaiseLevel { level } if level.0 > 4 => return LEVEL_5,
        CommandBody::RaiseLevel { level } if level.0 > 3 => return LEVEL_4,
        CommandBody::RaiseLevel { level } if level.0 > 2 => return LEVEL_3,
        CommandBody::RaiseLevel { level } if level.0 > 1 => return HOLES,
        _ => return FIRST,
    };
    match request.operation {
        Operation::Clone(_) | Operation::CancelClone { .. } => LEVEL_6,
        Operation::CopyRange(_)
        | Operation::Compact(_)
        | Operation::Accessed { .. }
        | Operation::ClaimTask {
            task: Task::Compact,
            ..
        }
        | Operation::ReleaseTask {
            task: Task::Compact,
        } => LEVEL_5,
        Operation::ClaimTask { .. }
        | Operation::ReleaseTask { .. }
        | Operation::FinishBackup { .. } => TASKS,
        Operation::RemoveEntries {
            skip_trash: true, ..
        }
        | Operation::Restore { .. }
        | Operation::EmptyTrash { .. } => LEVEL_3,
        Operation::RemoveEntries { .. } => REMOVE_ENTRIES,
        Operation::Fallocate(_) => HOLES,
        Operation::Lock(_) | Operation::Unlock(_) | Operation::CancelLock { .. } => LOCKS,
        _ => FIRST,
    }
}

/// Whether any volume has rows of commands about tasks. All members could read these when they were
/// let in.
pub(crate) fn had_tasks<K: KvRead>(view: &K) -> Result<bool, Fatal> {
    for volume in volumes(view)? {
        let backup = key::single(volume, Table::Backup);
        for row_key in [backup, key::claim(volume, Task::Backup)] {
            if view.get(Family::State, &row_key)?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The newest generation of which the state tells that it was let in: that of the highest level of a volume.
pub(crate) fn let_in_by<K: KvRead>(view: &K) -> Result<u32, Fatal> {
    let mut newest = FIRST;
    for volume in volumes(view)? {
        let key = key::single(volume, Table::Mirror);
        let mirror = view.get(Family::State, &key)?;
        let mirror = mirror.map(|row| Mirror::decode(&key, &row)).transpose()?;
        if mirror.is_some_and(|mirror| mirror.state != MirrorState::Following) {
            // Rows of a load that nobody has looked at as a whole.
            continue;
        }
        let key = key::single(volume, Table::Settings);
        let Some(row) = view.get(Family::State, &key)? else {
            continue;
        };
        let level = Settings::decode(&key, &row)?.level;
        newest = newest.max(of(&CommandBody::RaiseLevel { level }));
    }
    Ok(newest)
}

fn volumes<K: KvRead>(view: &K) -> Result<Vec<VolumeId>, Fatal> {
    let prefix = Key::new(VolumeId::CLUSTER, Table::VolumeName).done();
    let end = key::prefix_end(&prefix);
    let mut volumes = Vec::new();
    view.scan(Family::State, &prefix, &end, &mut |name, row| {
        volumes.push(VolumeRef::decode(name, row).map(|VolumeRef(volume)| volume));
        ControlFlow::Continue(())
    })?;
    volumes.into_iter().collect()
}

/// Why a member may not be able to read a command, and what to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// It said so.
    #[error("node {0} runs an older version: upgrade it")]
    Older(NodeId),
    /// It said nothing.
    #[error(
        "node {0} has not answered since this node started: start it, or take it out with \
         `curlew-meta leave --id {0}`"
    )]
    NotHeard(NodeId),
}

/// The newest generation that is known to be let in since this node started: it has applied a command of it,
/// or a leader said so. Whoever let it in knew that all members read it, and none came later that does not.
#[derive(Clone, Debug, Default)]
pub struct AppliedGeneration(Arc<AtomicU32>);

impl AppliedGeneration {
    /// The codec for the node's store: what it reads is applied.
    pub fn codec(&self) -> Arc<dyn Codec> {
        Arc::new(NotingCodec(self.clone()))
    }

    fn note(&self, generation: u32) {
        // Nearly every command is of the first one: no line of memory changes hands for it.
        if generation > self.newest() {
            self.0.fetch_max(generation, Ordering::Relaxed);
        }
    }

    fn newest(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Notes the generations of the commands that it reads.
struct NotingCodec(AppliedGeneration);

impl Codec for NotingCodec {
    fn decode_command(&self, bytes: &[u8]) -> Result<Command, Fatal> {
        let command = ProstCodec.decode_command(bytes)?;
        self.0.note(of(&command.body));
        Ok(command)
    }

    fn encode_command(&self, command: &Command) -> Vec<u8> {
        ProstCodec.encode_command(command)
    }

    fn encode_reply(&self, reply: &Reply) -> Vec<u8> {
        ProstCodec.encode_reply(reply)
    }

    fn decode_reply(&self, bytes: &[u8]) -> Result<Reply, Fatal> {
        ProstCodec.decode_reply(bytes)
    }

    fn encode_record(&self, record: &Record) -> Vec<u8> {
        ProstCodec.encode_record(record)
    }

    fn decode_record(&self, bytes: &[u8]) -> Result<Record, Fatal> {
        ProstCodec.decode_record(bytes)
    }
}

/// What peers say, as it changes.
#[derive(Debug)]
pub(crate) struct Changes(watch::Receiver<BTreeMap<NodeId, u32>>);

impl Changes {
    /// What was said until now is known.
    pub(crate) fn see(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits until something was said that was not seen. Not for ever: a member that has left does not say so.
    pub(crate) async fn next(&mut self) {
        // Who asks looks again either way.
        let _changed = tokio::time::timeout(LOOK_INTERVAL, self.0.changed()).await;
    }
}

/// How long to wait for members that have said nothing, before the members are looked at again.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What peers have said since this node started.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    heard: watch::Sender<BTreeMap<NodeId, u32>>,
    applied: AppliedGeneration,
}

impl Generations {
    /// Nobody has said anything yet.
    pub(crate) fn new(applied: AppliedGeneration) -> Self {
        Self {
            heard: watch::Sender::default(),
            applied,
        }
    }

    /// Takes in what a peer said.
    pub(crate) fn observe(&self, peer: NodeId, said: u32) {
        let said = said.max(FIRST);
        self.heard
            .send_if_modified(|heard| heard.insert(peer, said) != Some(said));
    }

    /// Tells when a peer says something else than before.
    pub(crate) fn watch(&self) -> Changes {
        Changes(self.heard.subscribe())
    }

    /// Up to which generation commands may be in the log, as far as this node knows.
    pub(crate) fn let_in(&self) -> u32 {
        self.applied.newest().max(FIRST)
    }

    /// Takes in what a peer knows of it. So who leads next lets them in, too, while one that is away has
    /// not been heard; one that is older is heard to be so.
    pub(crate) fn learn_let_in(&self, generation: u32) {
        let generation = generation.min(NEWEST);
        if generation > self.let_in() {
            tracing::info!(generation, "all members read commands up to a generation");
            self.applied.note(generation);
        }
    }

    /// Lets in, from now on, what all of `peers` read: no node that does not becomes a member any more.
    /// False if some of it is not read by all.
    pub(crate) fn let_in_what_all_read(&self, peers: &[NodeId]) -> bool {
        let read = |generation: &u32| self.check(peers, *generation).is_ok();
        let newest = (FIRST..=NEWEST).rev().find(read).unwrap_or(FIRST);
        self.learn_let_in(newest);
        newest == NEWEST
    }

    /// Whether all of `peers` read a generation. Who was not heard may be older, unless a command of
    /// the generation was let in before.
    ///
    /// # Errors
    /// Names one that does not, before any that was not heard.
    pub(crate) fn check(&self, peers: &[NodeId], generation: u32) -> Result<(), Unread> {
        if generation == FIRST {
            return Ok(());
        }
        let was_let_in = generation <= self.applied.newest();
        let heard = self.heard.borrow();
        let mut silent = None;
        for peer in peers {
            match heard.get(peer) {
                Some(said) if *said < generation => return Err(Unread::Older(*peer)),
                Some(_) => {}
                None if was_let_in => {}
                None => silent = silent.or(Some(Unread::NotHeard(*peer))),
            }
        }
        silent.map_or(Ok(()), Err)
    }

    /// The level up to which this node and all of `peers` read records.
    pub(crate) fn level_read(&self, peers: &[NodeId]) -> Level {
        let mut levels = (1..=LEVEL_MAX.0).rev().map(Level);
        let is_read = |level: &Level| {
            let level = *level;
            let generation = of(&CommandBody::RaiseLevel { level });
            self.check(peers, generation).is_ok()
        };
        levels.find(is_read).unwrap_or(Level(1))
    }

    /// The generation that a node must read to become a member beside `peers`: commands of it may
    /// be in the log. A member that has said that it is older has kept them out, unless `had_tasks`
    /// tells of some.
    pub(crate) fn needed(&self, peers: &[NodeId], had_tasks: bool) -> u32 {
        let least = if had_tasks { TASKS } else { FIRST };
        let may_be_there =
            |generation: &u32| !matches!(self.check(peers, *generation), Err(Unread::Older(_)));
        let needed = (least..=NEWEST).rev().find(may_be_there).unwrap_or(least);
        needed.max(self.let_in())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::attr::{Caller, Timestamp};
    use meta_core::command::Request;
    use meta_core::ids::{Ino, Seq, SessionId, SlotIndex, Uuid};
    use meta_core::kv::{MemKv, Writes};
    use meta_core::outcome::Token;

    #[test]
    fn a_command_waits_until_every_member_reads_it() {
        let generations = Generations::default();
        assert_eq!(generations.check(&[2, 3], FIRST), Ok(()));
        let refused = generations.check(&[2, 3], TASKS);
        assert_eq!(refused, Err(Unread::NotHeard(2)));
        generations.observe(2, TASKS);
        generations.observe(4, 0);
        // That one is older is told before that another was not heard: it is no matter of waiting.
        let refused = generations.check(&[2, 3, 4], TASKS);
        assert_eq!(refused, Err(Unread::Older(4)));
        generations.observe(4, TASKS);
        let refused = generations.check(&[2, 3, 4], TASKS);
        assert_eq!(refused, Err(Unread::NotHeard(3)));
        generations.observe(3, TASKS);
        assert_eq!(generations.check(&[2, 3, 4], TASKS), Ok(()));
    }

    #[test]
    fn files_are_deleted_many_at_a_time_only_where_all_members_read_that() {
        let one = CommandBody::Reap {
            ino: Ino(7),
            rows_max: 1,
        };
        assert_eq!(of(&one), FIRST);
        let many = CommandBody::ReapFiles {
            inos: vec![Ino(7)],
            rows_max: 1,
        };
        let generations = Generations::default();
        generations.observe(2, RECOVERED);
        let refused = generations.check(&[2], of(&many));
        assert_eq!(refused, Err(Unread::Older(2)));
        generations.observe(2, NEWEST);
        assert_eq!(generations.check(&[2], of(&many)), Ok(()));
    }

    #[test]
    fn a_member_that_is_away_does_not_stop_what_was_let_in_before() {
        let body = CommandBody::Request(Request {
            session: SessionId(1),
            slot: SlotIndex(0),
            sequence: 1,
            caller: Caller::root(),
            operation: Operation::RemoveEntries {
                parent: Ino::ROOT,
                names: Vec::new(),
                skip_trash: false,
            },
        });
        let (applied, generation) = (AppliedGeneration::default(), of(&body));
        let generations = Generations::new(applied.clone());
        let refused = generations.check(&[2], generation);
        assert_eq!(refused, Err(Unread::NotHeard(2)));
        let command = Command {
            volume: VolumeId(1),
            stamp: Timestamp::default(),
            read_level: Level(0),
            body,
        };
        let codec = applied.codec();
        let read = codec.decode_command(&codec.encode_command(&command));
        assert_eq!(read.expect("a command"), command);
        assert_eq!(generations.check(&[2], generation), Ok(()));
        assert_eq!(generations.check(&[2], TASKS), Ok(()), "an older one");
        let later = generations.check(&[2], generation + 1);
        assert_eq!(later, Err(Unread::NotHeard(2)));
        // One that says that it is older was started from an older build again.
        generations.observe(2, TASKS);
        assert_eq!(generations.check(&[2], generation), Err(Unread::Older(2)));
    }

    #[test]
    fn what_all_members_read_stays_let_in_under_the_next_leader() {
        let [first, next] = [1, 2].map(|_node| Generations::default());
        first.observe(2, NEWEST);
        assert!(!first.let_in_what_all_read(&[2, 3]));
        assert_eq!(first.let_in(), FIRST);
        first.observe(3, NEWEST);
        assert!(first.let_in_what_all_read(&[2, 3]));
        // It says so to the others, and is away.
        next.learn_let_in(first.let_in());
        next.observe(3, NEWEST);
        assert_eq!(next.check(&[1, 3], NEWEST), Ok(()));
        // A node that knows more than this one may say so, too; one of an earlier build says nothing.
        next.learn_let_in(NEWEST + 1);
        next.learn_let_in(0);
        assert_eq!(next.let_in(), NEWEST);
        next.observe(1, FIRST);
        assert_eq!(next.check(&[1, 3], NEWEST), Err(Unread::Older(1)));
        let mixed = Generations::default();
        mixed.observe(2, REMOVE_ENTRIES);
        assert!(!mixed.let_in_what_all_read(&[2]));
        assert_eq!(mixed.let_in(), REMOVE_ENTRIES);
    }

    #[test]
    fn a_member_that_is_away_and_one_that_is_old_are_told_apart() {
        let away = Unread::NotHeard(3).to_string();
        assert!(away.contains("curlew-meta leave --id 3"), "{away}");
        assert!(!away.contains("upgrade"), "{away}");
        let old = Unread::Older(3).to_string();
        assert!(old.contains("node 3") && old.contains("upgrade"), "{old}");
    }

    #[test]
    fn a_newcomer_must_read_what_may_be_in_the_log() {
        let generations = Generations::default();
        // Another leader may have let in what this one would not.
        assert_eq!(generations.needed(&[], false), NEWEST);
        assert_eq!(generations.needed(&[2, 3], false), NEWEST);
        generations.observe(2, NEWEST);
        assert_eq!(generations.needed(&[2, 3], false), NEWEST);
        // One that is older has kept them out, unless rows tell that some were let in.
        generations.observe(3, FIRST);
        assert_eq!(generations.needed(&[2, 3], false), FIRST);
        assert_eq!(generations.needed(&[2, 3], true), TASKS);
    }

    #[test]
    fn the_level_of_a_volume_tells_what_all_members_read() {
        let mut kv = MemKv::default();
        assert_eq!(let_in_by(&kv).expect("read"), FIRST);
        for (name, number, level) in [("one", 1, 1), ("two", 2, 2), ("loading", 3, 3)] {
            let volume = VolumeId(number);
            let key = key::volume_name(name);
            let row = VolumeRef(volume).encode(&key);
            kv.write(Writes::from([((Family::State, key), Some(row))]));
            let key = key::single(volume, Table::Settings);
            let settings = Settings {
                uuid: Uuid([1; 16]),
                block_bytes: 1 << 22,
                level: Level(level),
                created: Timestamp::default(),
                name: name.to_owned(),
            };
            let row = settings.encode(&key);
            kv.write(Writes::from([((Family::State, key), Some(row))]));
            if name == "loading" {
                let key = key::single(volume, Table::Mirror);
                let mirror = Mirror {
                    state: MirrorState::Loading,
                    uuid: Uuid([1; 16]),
                    origin: Uuid([2; 16]),
                    snapshot: Token::default(),
                    snapshot_crc: 0,
                    stopped_at: Seq(0),
                    cursor: Vec::new(),
                };
                let row = mirror.encode(&key);
                kv.write(Writes::from([((Family::State, key), Some(row))]));
            }
        }
        assert_eq!(let_in_by(&kv).expect("read"), HOLES);
        let generations = Generations::default();
        assert_eq!(generations.level_read(&[2, 3]), Level(1));
        generations.learn_let_in(HOLES);
        assert_eq!(generations.level_read(&[2, 3]), Level(2));
        generations.observe(2, LOCKS);
        generations.observe(3, NEWEST);
        assert_eq!(generations.level_read(&[3]), LEVEL_MAX);
        generations.observe(2, LEASES);
        assert_eq!(generations.level_read(&[2, 3]), Level(1));
    }

    #[test]
    fn a_task_of_any_volume_tells_that_all_members_read_tasks() {
        let mut kv = MemKv::default();
        let put = |kv: &mut MemKv, key: Vec<u8>, row: Vec<u8>| {
            kv.write(Writes::from([((Family::State, key), Some(row))]));
        };
        for (name, volume) in [("one", VolumeId(1)), ("two", VolumeId(2))] {
            let key = key::volume_name(name);
            let row = VolumeRef(volume).encode(&key);
            put(&mut kv, key, row);
        }
        assert!(!had_tasks(&kv).expect("read"));
        let claim = key::claim(VolumeId(2), Task::Backup);
        put(&mut kv, claim.clone(), vec![1]);
        assert!(had_tasks(&kv).expect("read"));
        kv.write(Writes::from([((Family::State, claim), None)]));
        assert!(!had_tasks(&kv).expect("read"));
        put(&mut kv, key::single(VolumeId(1), Table::Backup), vec![1]);
        assert!(had_tasks(&kv).expect("read"));
    }
}
