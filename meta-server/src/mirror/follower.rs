//! One mirror's way to its origin: loads a snapshot once, then carries records, for as long as
//! this node leads.

use super::batch::{Batch, Pushed};
use crate::failure::{Failure, FailureKind};
use crate::leases::Change;
use crate::node::Core;
use crate::proposer::Origin;
use futures::FutureExt as _;
use meta_client::{Changelog, ChangelogError, FollowEvent, Following, MetaUrl};
use meta_core::attr::Timestamp;
use meta_core::command::{Command, CommandBody, LoadRows, MirrorStep};
use meta_core::failpoint::{self, Point};
use meta_core::ids::{ClusterId, Level, Seq, VolumeId, VolumeUuid};
use meta_core::limits::LEVEL_MAX;
use meta_core::outcome::{MirrorState, Outcome, Refusal, Reply, StopReason, Success};
use meta_core::read::MirrorPlace;
use serde::Deserialize;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Between two tries to reach the origin.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often a stopped mirror looks whether it goes on.
const STOPPED_INTERVAL: Duration = Duration::from_secs(1);
/// How long a step waits for room among the commands in flight.
const ROOM_PAUSE: Duration = Duration::from_millis(20);
const ROOM_TRIES: usize = 500;
/// How often the same place of the stream may come damaged before the damage is the origin's, not
/// the network's.
const DAMAGED_MAX: u32 = 3;

/// What an administrator said of the mirror, as it is stored.
#[derive(Deserialize)]
struct Info {
    /// The origin's URL.
    origin: String,
    /// The mirror's name, as its origin knows it.
    #[serde(default)]
    name: String,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The way to the origin.
    #[error(transparent)]
    Origin(#[from] ChangelogError),
    /// This cluster.
    #[error("{0}")]
    Here(Failure),
    /// The stored address.
    #[error("the origin's address cannot be read: {0}")]
    Info(String),
    /// Members of this cluster may not be able to take the records in. The mirror goes on where it is once
    /// they can.
    #[error(
        "the origin's records are of level {0}, which not all nodes of this cluster are known to read: \
         start those that are away, and upgrade those of an earlier version"
    )]
    Level(Level),
    /// The records do not continue what the mirror has: it is looked at again.
    #[error("the records did not continue what the mirror has")]
    Gap,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Here(failure)
    }
}

/// Carries one volume's records.
pub(super) struct Follower {
    core: Arc<Core>,
    volume: VolumeId,
    /// Something came from the origin since the last trouble.
    useful: bool,
    /// Where the stream came damaged last, and how often in a row it was there.
    damaged: (Seq, u32),
}

impl Follower {
    pub(super) fn new(core: Arc<Core>, volume: VolumeId) -> Self {
        Self {
            core,
            volume,
            useful: false,
            damaged: (Seq(0), 0),
        }
    }

    /// Follows until it is dropped, or the volume is no mirror any more.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.turn().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(trouble) => {
                    let volume = self.volume;
                    if matches!(trouble, Trouble::Level(_)) {
                        // What came is of no use yet.
                        self.useful = false;
                    }
                    tracing::info!(%volume, %trouble, "the mirror has no stream");
                    self.core.mirrors.trouble(volume, trouble.to_string());
                    self.core.metrics.mirror_trouble.inc();
                    if std::mem::take(&mut self.useful) {
                        pause = PAUSE_FIRST;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Does what the mirror's state asks for. False if the volume is no mirror.
    async fn turn(&mut self) -> Result<bool, Trouble> {
        self.core.reads.pass().await?;
        let Some(place) = self.place().await? else {
            return Ok(false);
        };
        match place.summary.state {
            MirrorState::Loading => self.load(&place).await?,
            MirrorState::Following => self.follow(&place).await?,
            MirrorState::Restoring => return Ok(false),
            MirrorState::Stopped(_) => {
                self.core.mirrors.trouble(self.volume, "");
                tokio::time::sleep(STOPPED_INTERVAL).await;
            }
        }
        Ok(true)
    }

    async fn place(&self) -> Result<Option<MirrorPlace>, Trouble> {
        let (core, volume) = (Arc::clone(&self.core), self.volume);
        let reading = raft_store::offload(move || {
            let read = core
                .reader
                .with_view(|view| meta_core::read::mirror_place(view, volume));
            read.and_then(|found| found)
                .map_err(|fatal| core.fatal(&fatal))
        });
        let found = reading
            .await
            .map_err(|error| Failure::unavailable(error.to_string()))?;
        Ok(found?)
    }

    /// Takes in a snapshot of the origin, from its beginning.
    async fn load(&mut self, place: &MirrorPlace) -> Result<(), Trouble> {
        let (head, mut pages) = changelog(&info(place)?)?.load().await?;
        if let Some(reason) = stranger(place, head.cluster, head.volume) {
            return self.stop(reason, Seq(0)).await;
        }
        self.core.mirrors.trouble(self.volume, "");
        tracing::info!(volume = %self.volume, seq = %head.token.seq, "loading a snapshot of the origin");
        let (snapshot, record_crc) = (head.token, head.record_crc);
        let again = place.summary.state == MirrorState::Following;
        failpoint::pass(Point::MirrorLoad);
        self.step(MirrorStep::BeginLoad {
            snapshot,
            record_crc,
            again,
        })
        .await?;
        let mut after = Vec::new();
        while let Some(page) = pages.next().await? {
            self.useful = true;
            let rows = LoadRows {
                after,
                through: page.through,
                rows: page.rows,
            };
            self.load_rows(&rows).await?;
            after = rows.through;
        }
        self.wait_for_level().await?;
        failpoint::pass(Point::MirrorLoaded);
        let (stamp, digest) = (head.stamp, head.digest);
        self.step(MirrorStep::EndLoad { stamp, digest }).await?;
        tracing::info!(volume = %self.volume, seq = %head.token.seq, "the snapshot is loaded");
        Ok(())
    }

    /// Waits until all members are known to read what was loaded: to begin anew would load it again and
    /// again.
    async fn wait_for_level(&self) -> Result<(), Trouble> {
        let mut changes = self.core.generations.watch();
        loop {
            changes.see();
            let loaded = self.place().await?.ok_or(Trouble::Gap)?;
            let Err(trouble) = self.check_level(loaded.level) else {
                return Ok(());
            };
            self.core.mirrors.trouble(self.volume, trouble.to_string());
            changes.next().await;
            self.core.reads.pass().await?;
        }
    }

    /// One page; more than once where much of an earlier snapshot has to go first.
    async fn load_rows(&self, rows: &LoadRows) -> Result<(), Trouble> {
        loop {
            failpoint::pass(Point::MirrorPage);
            let (_, state) = self.step(MirrorStep::Load(rows.clone())).await?;
            if state != MirrorState::Loading {
                return Err(Trouble::Gap);
            }
            let place = self.place().await?.ok_or(Trouble::Gap)?;
            if place.summary.cursor == rows.through {
                return Ok(());
            }
            if place.summary.cursor != rows.after {
                return Err(Trouble::Gap);
            }
        }
    }

    /// Carries records until the stream ends or the mirror stops.
    async fn follow(&mut self, place: &MirrorPlace) -> Result<(), Trouble> {
        let next = Seq(place.token.seq.0 + 1);
        let info = info(place)?;
        // All members could read what the mirror holds.
        let level = self.core.level_read().max(place.level);
        let followed = changelog(&info)?
            .follow_as(&info.name, level, next, true)
            .await;
        let (head, stream) = match followed {
            Ok(followed) => followed,
            // Writes outran the loading, and nothing of this side's own hangs on the snapshot.
            Err(ChangelogError::NotRetained(why)) if place.token == place.summary.snapshot => {
                tracing::warn!(volume = %self.volume, why, "the snapshot is loaded anew");
                return self.load(place).await;
            }
            Err(error) => return self.refuse(error, next).await,
        };
        let wrong = stranger(place, head.cluster, head.volume)
            .or((head.epoch != place.token.epoch).then_some(StopReason::WrongEpoch));
        if let Some(reason) = wrong {
            return self.stop(reason, next).await;
        }
        self.core.mirrors.trouble(self.volume, "");
        self.core.metrics.mirror_streams.inc();
        let applied = place.token.seq;
        self.heard(head.last, applied);
        tracing::info!(volume = %self.volume, from = stream.addr(), %next, "following the origin");
        self.carry(stream, Batch::new(next), level).await
    }

    /// The origin was told that all members read records up to `said`: when they read more it is told anew.
    async fn carry(
        &mut self,
        mut stream: Following,
        mut batch: Batch,
        said: Level,
    ) -> Result<(), Trouble> {
        loop {
            if batch.is_empty() && self.core.level_read() > said {
                return Ok(());
            }
            // What is there already goes into the same command; else nothing is waited for.
            let event = if batch.is_empty() {
                Some(stream.next().await)
            } else {
                stream.next().now_or_never()
            };
            let event = match event {
                None => {
                    if !self.propose(&mut batch).await? {
                        return Ok(());
                    }
                    continue;
                }
                Some(Ok(Some(event))) => event,
                Some(Ok(None)) => return Ok(()),
                Some(Err(error)) => {
                    if !self.propose(&mut batch).await? {
                        return Ok(());
                    }
                    return self.refuse(error, batch.next()).await;
                }
            };
            self.useful = true;
            match event {
                FollowEvent::Position(last) => {
                    let applied = Seq(batch.next().0 - 1);
                    self.heard(last, applied);
                }
                FollowEvent::Records(records, last) => {
                    self.heard(last, Seq(0));
                    for record in records {
                        if !record.is_intact() && self.may_heal(batch.next()) {
                            let going = self.propose(&mut batch).await?;
                            return if going {
                                Err(ChangelogError::Damaged.into())
                            } else {
                                Ok(())
                            };
                        }
                        if batch.is_full(&record) && !self.propose(&mut batch).await? {
                            return Ok(());
                        }
                        if let Pushed::Wrong(reason) = batch.push(record) {
                            let going = self.propose(&mut batch).await?;
                            return if going {
                                self.stop(reason, batch.next()).await
                            } else {
                                Ok(())
                            };
                        }
                    }
                }
            }
        }
    }

    fn heard(&self, origin: Seq, applied: Seq) {
        let now = Instant::now();
        self.core.mirrors.heard(self.volume, origin, applied, now);
    }

    /// Whether all members are known to read rows of a level. What not even this node reads goes on: the
    /// replicated state stops at it, and says so.
    fn check_level(&self, level: Level) -> Result<(), Trouble> {
        if level > self.core.level_read() && level <= LEVEL_MAX {
            Err(Trouble::Level(level))
        } else {
            Ok(())
        }
    }

    /// Proposes what is in the batch. False if the mirror does not follow any more.
    async fn propose(&self, batch: &mut Batch) -> Result<bool, Trouble> {
        let (records, level) = batch.take();
        if records.is_empty() {
            return Ok(true);
        }
        self.check_level(level)?;
        let count = records.len() as u64;
        failpoint::pass(Point::MirrorApply);
        let (reply, state) = self.step(MirrorStep::Apply(records)).await?;
        failpoint::pass(Point::MirrorApplied);
        self.core.metrics.mirror_records.inc_by(count);
        self.core.mirrors.applied(self.volume, reply.token.seq);
        Ok(state == MirrorState::Following)
    }

    /// Whether damage before the record `next` may be gone when the stream is asked for again.
    fn may_heal(&mut self, next: Seq) -> bool {
        if self.damaged.0 != next {
            self.damaged = (next, 0);
        }
        self.damaged.1 += 1;
        self.damaged.1 < DAMAGED_MAX
    }

    /// What an end of the stream means for the mirror.
    async fn refuse(&mut self, error: ChangelogError, next: Seq) -> Result<(), Trouble> {
        let reason = match &error {
            ChangelogError::NotRetained(_) => StopReason::NeedsResync,
            // The origin lost what it once had, or it is another history under the same names.
            ChangelogError::PastEnd(_) => StopReason::Forked,
            ChangelogError::Damaged if self.may_heal(next) => return Err(error.into()),
            ChangelogError::Damaged => StopReason::WrongCrc,
            ChangelogError::Unreadable(_) => StopReason::UnreadableRecord,
            ChangelogError::Failed(_) | ChangelogError::UnknownVolume(_) => {
                return Err(error.into());
            }
        };
        tracing::warn!(volume = %self.volume, %error, "the origin's stream is wrong");
        self.stop(reason, next).await
    }

    async fn stop(&self, reason: StopReason, at: Seq) -> Result<(), Trouble> {
        tracing::error!(volume = %self.volume, reason = reason.name(), %at, "the mirror stops");
        self.step(MirrorStep::Stop { reason, at }).await?;
        Ok(())
    }

    /// Proposes a step, and says what the mirror does after it.
    async fn step(&self, step: MirrorStep) -> Result<(Reply, MirrorState), Trouble> {
        for _try in 0..ROOM_TRIES {
            let command = Command {
                volume: self.volume,
                // The proposer stamps it.
                stamp: Timestamp::default(),
                read_level: Level(0),
                body: CommandBody::Mirror(step.clone()),
            };
            let reply = match self
                .core
                .proposer
                .propose(Origin::Duty, command, Change::default())
                .await
            {
                Ok(reply) => reply,
                // Nothing was proposed yet.
                Err(failure) if failure.kind == FailureKind::Overloaded => {
                    tokio::time::sleep(ROOM_PAUSE).await;
                    continue;
                }
                Err(failure) => return Err(failure.into()),
            };
            return match reply.outcome {
                Outcome::Done(Success::Mirrored(state)) => Ok((reply, state)),
                Outcome::Refused(Refusal::MirrorGap) => Err(Trouble::Gap),
                other => Err(Failure::unavailable(format!("a step ended as {other:?}")).into()),
            };
        }
        Err(Failure::overloaded("too many commands are in flight").into())
    }
}

fn info(place: &MirrorPlace) -> Result<Info, Trouble> {
    serde_json::from_slice(&place.summary.info).map_err(|error| Trouble::Info(error.to_string()))
}

fn changelog(info: &Info) -> Result<Changelog, Trouble> {
    let url = MetaUrl::from_str(&info.origin).map_err(|error| Trouble::Info(error.to_string()))?;
    Ok(Changelog::new(&url))
}

/// Whether who answers is somebody else than the origin.
fn stranger(place: &MirrorPlace, cluster: ClusterId, volume: VolumeUuid) -> Option<StopReason> {
    if cluster != place.summary.origin {
        return Some(StopReason::WrongCluster);
    }
    (volume != place.uuid).then_some(StopReason::WrongVolume)
}
