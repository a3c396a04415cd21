//! The rows of creates, written into the database that a node keeps its state in.

use anyhow::{Context, Result, anyhow, bail, ensure};
use meta_client::bench::{Floor, Sample, create_command};
use meta_core::attr::Caller;
use meta_core::command::{
    Command, CommandBody, Create, CreateVolume, Existing, NewNode, Operation, RenameMode, Request,
    SetAttr,
};
use meta_core::ids::{Ino, SessionId, SlotIndex, Uuid, VolumeId};
use meta_core::kv::{KvRead, MemKv, Overlay, Writes};
use meta_core::limits::MAINTENANCE_ROWS_MAX;
use meta_core::machine;
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Success};
use proto::ProstCodec;
use raft_store::bare::BareState;
use std::path::Path;
use std::time::{Duration, Instant};

/// Creates that are made beforehand.
const CREATES: usize = 40_000;

/// A volume with one session, and who it is.
struct Volume {
    volume: VolumeId,
    session: SessionId,
    sequence: u64,
}

/// Runs one command over rows, and gives what it writes.
fn run(rows: &dyn KvRead, commands: &[Command]) -> Result<(Writes, Vec<Outcome>)> {
    let mut pending = Overlay::new(rows);
    let mut outcomes = Vec::with_capacity(commands.len());
    for command in commands {
        outcomes.push(machine::apply(&mut pending, &ProstCodec, command)?.outcome);
    }
    Ok((pending.into_writes(), outcomes))
}

impl Volume {
    /// Makes one; `write` keeps what is written.
    fn make(mut step: impl FnMut(&[Command]) -> Result<Vec<Outcome>>) -> Result<Self> {
        let mut one = |volume, body| -> Result<Outcome> {
            let mut command = create_command(1).context("a create")?;
            command.volume = volume;
            command.body = body;
            step(&[command])?.pop().context("an outcome")
        };
        let cluster = Uuid([1; 16]);
        one(VolumeId::CLUSTER, CommandBody::InitCluster { cluster })?;
        let create = CreateVolume {
            name: "bench".to_owned(),
            uuid: Uuid([2; 16]),
            block_bytes: 4 << 20,
            storage: Vec::new(),
        };
        let made = one(VolumeId::CLUSTER, CommandBody::CreateVolume(create))?;
        let Outcome::Done(Success::Volume(volume)) = made else {
            bail!("the volume is {made:?}");
        };
        let open = CommandBody::OpenSession {
            nonce: 1,
            slots: 1,
            info: Vec::new(),
        };
        let opened = one(volume, open)?;
        let Outcome::Done(Success::Session(session)) = opened else {
            bail!("the session is {opened:?}");
        };
        Ok(Self {
            volume,
            session,
            sequence: 0,
        })
    }

    fn request(&mut self, operation: Operation) -> Result<Command> {
        self.sequence += 1;
        let mut command = create_command(self.sequence).context("a create")?;
        command.volume = self.volume;
        command.body = CommandBody::Request(Request {
            session: self.session,
            slot: SlotIndex(0),
            sequence: self.sequence,
            caller: Caller::root(),
            operation,
        });
        Ok(command)
    }

    /// The next commands of a kind, so many, for files from `first` on.
    fn commands(&mut self, kind: Kind, first: u64, count: usize) -> Result<Vec<Command>> {
        (first..)
            .take(count)
            .map(|n| self.command(kind, n))
            .collect()
    }

    /// Inode ids are given one after the other, from 2 on, in the order of the creates.
    fn command(&mut self, kind: Kind, number: u64) -> Result<Command> {
        let (parent, ino) = (Ino::ROOT, Ino(number + 2));
        let name = |kind: &str| {
            let text = format!("{kind}.{number:010}");
            Name::new(text.as_str()).map_err(|refusal| anyhow!("{text}: {refusal}"))
        };
        self.request(match kind {
            Kind::Create => Operation::Create(Create {
                parent,
                name: name("file")?,
                mode: 0o644,
                node: NewNode::Regular,
                masked: 0,
                existing: Existing::Refuse,
            }),
            Kind::SetAttr => Operation::SetAttr(SetAttr {
                ino,
                mode: Some(0o600),
                ..SetAttr::default()
            }),
            Kind::Rename => Operation::Rename {
                parent,
                name: name("file")?,
                new_parent: parent,
                new_name: name("renamed")?,
                mode: RenameMode::Replace,
            },
            Kind::Unlink => Operation::Unlink {
                parent,
                name: name("renamed")?,
            },
            Kind::Reap => {
                let rows_max = MAINTENANCE_ROWS_MAX;
                let mut command = create_command(1).context("a create")?;
                command.volume = self.volume;
                command.body = CommandBody::Reap { ino, rows_max };
                return Ok(command);
            }
        })
    }
}

/// Kinds of commands, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Create,
    SetAttr,
    Rename,
    Unlink,
    Reap,
}

impl Kind {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Create, "apply create"),
        (Self::SetAttr, "apply setattr"),
        (Self::Rename, "apply rename"),
        (Self::Unlink, "apply unlink"),
        (Self::Reap, "apply reap"),
    ];
}

/// Creates in a second if only their rows had to be written, so many in each batch.
pub(crate) fn rows(dir: &Path, batch: usize) -> Result<Floor> {
    let mut kv = MemKv::default();
    let mut volume = Volume::make(|commands| {
        let (writes, outcomes) = run(&kv, commands)?;
        kv.write(writes);
        Ok(outcomes)
    })?;
    let mut batches = Vec::new();
    for first in (0..CREATES as u64).step_by(batch) {
        let creates = volume.commands(Kind::Create, first, batch)?;
        let (writes, _outcomes) = run(&kv, &creates)?;
        kv.write(writes.clone());
        batches.push(writes);
    }
    drop(kv);
    let dir = tempfile::tempdir_in(dir)?;
    let state = BareState::open(dir.path())?;
    measured("rocksdb batch", batch, batches, |writes| {
        Ok(state.write(writes)?)
    })
}

/// Commands in a second if they had to be applied and written only.
pub(crate) fn applied(dir: &Path, batch: usize) -> Result<Vec<Floor>> {
    let dir = tempfile::tempdir_in(dir)?;
    let state = BareState::open(dir.path())?;
    let step = |commands: &[Command]| {
        let (writes, outcomes) = state.latest(|rows| run(rows, commands))?;
        state.write(writes)?;
        Ok(outcomes)
    };
    let mut volume = Volume::make(step)?;
    let mut floors = Vec::new();
    for (kind, name) in Kind::ALL {
        let mut batches = Vec::new();
        for first in (0..CREATES as u64).step_by(batch) {
            batches.push(volume.commands(kind, first, batch)?);
        }
        floors.push(measured(name, batch, batches, |commands| {
            for outcome in step(&commands)? {
                ensure!(matches!(outcome, Outcome::Done(_)), "{kind:?}: {outcome:?}");
            }
            Ok(())
        })?);
    }
    Ok(floors)
}

/// Times each batch, and reports each of its parts.
fn measured<T>(
    name: &'static str,
    batch: usize,
    batches: Vec<T>,
    mut write: impl FnMut(T) -> Result<()>,
) -> Result<Floor> {
    let mut each = Vec::with_capacity(CREATES);
    let begin = Instant::now();
    for one in batches {
        let start = Instant::now();
        write(one)?;
        let took = start.elapsed();
        each.extend(std::iter::repeat_n(took, batch));
    }
    let took = begin.elapsed().max(Duration::from_nanos(1));
    Ok(Sample { took, each }.floor(name))
}
