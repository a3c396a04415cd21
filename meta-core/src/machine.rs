//! The state machine's door: one command in, a reply and pending writes out.

use crate::apply;
use crate::apply::restore::Restoring;
use crate::attr::Timestamp;
use crate::changelog::RecordKind;
use crate::codec::Codec;
use crate::command::{Command, CommandBody, MirrorStep, Request};
use crate::ids::VolumeId;
use crate::key;
use crate::kv::{KvRead, Overlay, Writes};
use crate::outcome::{Fatal, NotExecuted, Outcome, Refusal, Reply, Stop, Success, Token};
use crate::row::{Cluster, Head, Mirror, Row, Slot};
use crate::seeded::{Bug, has};
use crate::tables::Tables;
use crate::txn::{Scope, Txn};

/// Applies one command. `pending` holds the writes of the commands applied since the base was
/// last written; those of this command are added to it: all of them, or none if it is refused
/// (but for the reply kept in its slot).
///
/// # Errors
/// [`Fatal`] if the store or the command is damaged; `pending` is then unchanged, and the node
/// must stop.
pub fn apply<B: KvRead>(
    pending: &mut Overlay<B>,
    codec: &dyn Codec,
    command: &Command,
) -> Result<Reply, Fatal> {
    let (writes, reply) = run(pending, codec, command)?;
    pending.absorb(writes);
    Ok(reply)
}

/// The volume's state that an applied command marked, if it did: the node keeps a view of the rows
/// as they are right after it.
pub fn marked(codec: &dyn Codec, command: &Command, reply: &Reply) -> Option<Token> {
    let is_mark = match (&command.body, &reply.outcome) {
        (CommandBody::Mark, Outcome::Done(_)) => true,
        (CommandBody::Mirror(MirrorStep::Apply(records)), Outcome::Done(_)) => {
            match records.last() {
                // One that stopped the mirror may be unreadable, and was not applied.
                Some(last) => codec.decode_record(&last.body).is_ok_and(|record| {
                    record.kind == RecordKind::Mark && record.seq == reply.token.seq
                }),
                None => false,
            }
        }
        _ => false,
    };
    is_mark.then_some(reply.token)
}

fn run<B: KvRead>(
    pending: &Overlay<B>,
    codec: &dyn Codec,
    command: &Command,
) -> Result<(Writes, Reply), Fatal> {
    let cluster = Tables::new(pending, VolumeId::CLUSTER).cluster()?;
    match (&command.body, cluster) {
        (CommandBody::InitCluster { cluster: id }, found) => {
            Ok(apply::volume::init_cluster(command.stamp, *id, found))
        }
        (_, None) => Ok((Writes::new(), refused(command.stamp, Refusal::NotSupported))),
        (CommandBody::CreateVolume(create), Some(cluster)) => {
            apply::volume::create(pending, codec, command.stamp, create, cluster)
        }
        (CommandBody::CreateMirror(create), Some(cluster)) => {
            apply::mirror::create(pending, command.stamp, create, cluster)
        }
        (CommandBody::BeginRestore(begin), Some(cluster)) => {
            apply::restore::begin(pending, command.stamp, begin, cluster)
        }
        (CommandBody::Recovered, Some(cluster)) => {
            apply::recovered::all(pending, codec, command.stamp, cluster)
        }
        (_, Some(cluster)) => on_volume(pending, codec, command, cluster),
    }
}

fn on_volume<B: KvRead>(
    pending: &Overlay<B>,
    codec: &dyn Codec,
    command: &Command,
    cluster: Cluster,
) -> Result<(Writes, Reply), Fatal> {
    let Some(head) = Tables::new(pending, command.volume).head()? else {
        return Ok((
            Writes::new(),
            refused(command.stamp, Refusal::UnknownVolume),
        ));
    };
    if let Some(mirror) = Tables::new(pending, command.volume).mirror()? {
        return on_mirror(pending, codec, command, head, mirror, &cluster);
    }
    // Time never goes back in a volume, whatever the clocks of its leaders say.
    let stamp = if has(Bug::StampGoesBack) {
        command.stamp
    } else {
        command.stamp.max(head.stamp.next())
    };
    let scope = Scope {
        volume: command.volume,
        cluster: cluster.id,
        epoch: head.token.epoch,
        stamp,
    };
    match &command.body {
        CommandBody::Request(request) => Work {
            pending,
            codec,
            scope,
            head,
        }
        .request(request),
        body => {
            let work = || Work {
                pending,
                codec,
                scope,
                head: head.clone(),
            };
            let done =
                work().finish(None, |txn, head| apply::maintain(txn, head, body, cluster))?;
            match (body, &done.1.outcome) {
                // It would be refused again and again.
                (CommandBody::CloneStep { job, .. }, Outcome::Refused(why)) => {
                    work().finish(None, |txn, _| apply::clone::fail(txn, *job, *why))
                }
                _ => Ok(done),
            }
        }
    }
}

/// On a mirror, only what its origin sends changes rows. Its old records go as anywhere.
fn on_mirror<B: KvRead>(
    pending: &Overlay<B>,
    codec: &dyn Codec,
    command: &Command,
    head: Head,
    mirror: Mirror,
    cluster: &Cluster,
) -> Result<(Writes, Reply), Fatal> {
    let before = head.token;
    let volume = command.volume;
    let (writes, token, outcome) = match &command.body {
        CommandBody::Mirror(step) => {
            let step = (step, command.reads()?);
            apply::mirror::step(pending, codec, volume, head, mirror, step)?
        }
        CommandBody::RestoreRows(rows) => {
            let restoring = Restoring {
                pending,
                codec,
                volume,
                head,
                mirror,
                reads: command.reads()?.records,
            };
            restoring.rows(rows)?
        }
        CommandBody::EndRestore { stamp, digest } => {
            let restoring = Restoring {
                pending,
                codec,
                volume,
                head,
                mirror,
                reads: command.reads()?.records,
            };
            restoring.end(cluster, command.stamp, *stamp, *digest)?
        }
        CommandBody::TrimChangelog { keep_from } => {
            apply::mirror::trim_changelog(pending, volume, head, *keep_from)?
        }
        _ => (Writes::new(), before, Outcome::Refused(Refusal::Mirror)),
    };
    let reply = Reply {
        token,
        stamp: command.stamp,
        outcome,
    };
    Ok((writes, reply))
}

/// A command on a volume that exists.
struct Work<'p, 'c, B> {
    pending: &'p Overlay<B>,
    codec: &'c dyn Codec,
    scope: Scope,
    head: Head,
}

impl<B: KvRead> Work<'_, '_, B> {
    /// A session's operation, exactly once per (slot, sequence).
    fn request(self, request: &Request) -> Result<(Writes, Reply), Fatal> {
        let tables = Tables::new(self.pending, self.scope.volume);
        let Some(session) = tables.session(request.session)? else {
            return Ok(self.not_executed(NotExecuted::UnknownSession));
        };
        if session.volume != self.scope.volume {
            return Ok(self.not_executed(NotExecuted::WrongVolume));
        }
        let key = key::slot(self.scope.volume, request.session, request.slot);
        let slot: Option<Slot> = tables.row(&key)?;
        let last = slot.as_ref().map_or(0, |slot| slot.sequence);
        if let Some(slot) = slot
            && slot.sequence == request.sequence
            && !has(Bug::DoubleApply)
        {
            return Ok((Writes::new(), self.codec.decode_reply(&slot.reply)?));
        }
        let again = has(Bug::DoubleApply) && request.sequence == last;
        let next = again || Some(request.sequence) == last.checked_add(1);
        if request.slot.0 >= session.slots || !next {
            return Ok(self.not_executed(NotExecuted::SlotMisordered { last }));
        }
        let slot = (key, request.sequence);
        self.finish(Some(slot), |txn, _| apply::operation(txn, request))
    }

    /// Runs the body, seals what it did, and keeps the reply in the slot.
    fn finish(
        self,
        slot: Option<(Vec<u8>, u64)>,
        body: impl FnOnce(&mut Txn<'_, B>, &mut Head) -> Result<Success, Stop>,
    ) -> Result<(Writes, Reply), Fatal> {
        let mut head = self.head.clone();
        let mut txn = Txn::begin(self.pending, self.scope)?;
        let done = body(&mut txn, &mut head).and_then(|success| {
            apply::quota::charge(&mut txn)?;
            apply::clone::note(&mut txn)?;
            Ok(success)
        });
        let (mut writes, token, outcome) = match done {
            Ok(success) => {
                let (writes, head) = txn.seal(head, self.codec)?;
                (writes, head.token, Outcome::Done(success))
            }
            Err(Stop::Refused(refusal)) => {
                (Writes::new(), self.head.token, Outcome::Refused(refusal))
            }
            Err(Stop::Fatal(fatal)) => return Err(fatal),
        };
        let reply = Reply {
            token,
            stamp: self.scope.stamp,
            outcome,
        };
        if let Some((key, sequence)) = slot {
            let row = Slot {
                sequence,
                reply: self.codec.encode_reply(&reply),
            };
            let bytes = row.encode(&key);
            writes.insert((crate::kv::Family::State, key), Some(bytes));
        }
        Ok((writes, reply))
    }

    fn not_executed(&self, why: NotExecuted) -> (Writes, Reply) {
        let outcome = Outcome::NotExecuted(why);
        (
            Writes::new(),
            Reply {
                token: self.head.token,
                stamp: self.scope.stamp,
                outcome,
            },
        )
    }
}

fn refused(stamp: Timestamp, refusal: Refusal) -> Reply {
    Reply {
        token: Token::default(),
        stamp,
        outcome: Outcome::Refused(refusal),
    }
}

#[cfg(test)]
#[path = "machine_test.rs"]
mod tests;
