//! What each command does. One file per family of operations; all checks are here.

mod accessed;
mod acl;
pub(crate) mod clone;
mod compact;
mod copy;
mod create;
pub(crate) mod fallocate;
mod lock;
mod maintain;
pub(crate) mod mirror;
mod names;
pub(crate) mod quota;
pub(crate) mod recovered;
mod remove;
mod rename;
pub(crate) mod restore;
mod session;
mod setattr;
pub(crate) mod shared;
mod task;
pub(crate) mod trash;
pub(crate) mod volume;
mod write;
pub(crate) mod xattr;

pub(crate) use maintain::{GOING, clipped};

use crate::command::{CommandBody, Operation, Request};
use crate::ids::Ino;
use crate::kv::KvRead;
use crate::limits::GROUPS_MAX;
use crate::lock::LockOwner;
use crate::outcome::{Refusal, Stop, Success};
use crate::row::{Cluster, Head};
use crate::txn::Txn;

/// What a body gives back.
type Done = Result<Success, Stop>;

/// A session's operation.
pub(crate) fn operation<B: KvRead>(txn: &mut Txn<'_, B>, request: &Request) -> Done {
    let caller = &request.caller;
    if caller.groups.len() > GROUPS_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    clone::check_named(txn, &request.operation)?;
    let done = execute(txn, request)?;
    clone::check_written(txn, &request.operation)?;
    Ok(done)
}

fn execute<B: KvRead>(txn: &mut Txn<'_, B>, request: &Request) -> Done {
    let caller = &request.caller;
    match &request.operation {
        Operation::Create(create) => create::create(txn, caller, create),
        Operation::Link { ino, parent, name } => create::link(txn, caller, *ino, *parent, name),
        Operation::Unlink { parent, name } => remove::unlink(txn, caller, *parent, name),
        Operation::Rmdir { parent, name } => remove::rmdir(txn, caller, *parent, name),
        Operation::RemoveEntries {
            parent,
            names,
            skip_trash,
        } => remove::remove_entries(txn, caller, *parent, names, *skip_trash),
        Operation::Restore { parent, files } => trash::restore(txn, caller, *parent, files),
        Operation::EmptyTrash { inos } => trash::empty(txn, caller, inos),
        Operation::Rename {
            parent,
            name,
            new_parent,
            new_name,
            mode,
        } => {
            let place = |parent: &Ino, name| rename::Place {
                parent: *parent,
                name,
            };
            let (from, to) = (place(parent, name), place(new_parent, new_name));
            rename::rename(txn, caller, from, to, *mode)
        }
        Operation::SetAttr(change) => setattr::set_attr(txn, caller, change),
        Operation::Commit(commit) => write::commit(txn, request.session, caller, commit),
        Operation::Append(append) => write::append(txn, request.session, caller, append),
        Operation::Fallocate(asked) => fallocate::fallocate(txn, caller, asked),
        Operation::CopyRange(asked) => copy::copy_range(txn, caller, asked),
        Operation::Clone(asked) => clone::begin(txn, caller, asked),
        Operation::CancelClone { job } => clone::cancel(txn, caller, *job),
        Operation::Compact(asked) => compact::compact(txn, request.session, caller, asked),
        Operation::Accessed { files } => accessed::accessed(txn, files),
        Operation::SetXattr {
            ino,
            name,
            value,
            mode,
        } => xattr::set(txn, caller, *ino, name, value, *mode),
        Operation::RemoveXattr { ino, name } => xattr::remove(txn, caller, *ino, name),
        Operation::GrantSlices { count } => session::grant(txn, request.session, *count),
        Operation::ClaimTask { task, interval_ms } => {
            task::claim(txn, request.session, *task, *interval_ms)
        }
        Operation::ReleaseTask { task } => task::release(txn, request.session, *task),
        Operation::FinishBackup(made) => task::finish_backup(txn, request.session, made),
        Operation::Lock(wanted) => lock::lock(txn, request.session, wanted),
        Operation::Unlock(given) => lock::unlock(txn, request.session, given),
        Operation::CancelLock {
            kind,
            owner,
            ticket,
        } => {
            let owner = LockOwner {
                session: request.session,
                kind: *kind,
                number: *owner,
            };
            lock::cancel(txn, owner, *ticket)
        }
    }
}

/// A command on a volume that no session's slot stands for.
pub(crate) fn maintain<B: KvRead>(
    txn: &mut Txn<'_, B>,
    head: &mut Head,
    body: &CommandBody,
    cluster: Cluster,
) -> Done {
    match body {
        CommandBody::OpenSession { nonce, slots, info } => {
            session::open(txn, cluster, *nonce, *slots, info)
        }
        CommandBody::CloseSession { session } => session::close(txn, cluster, &[*session]),
        CommandBody::ExpireSessions { sessions } => session::close(txn, cluster, sessions),
        CommandBody::Reap { ino, rows_max } => maintain::reap(txn, *ino, *rows_max),
        CommandBody::ReapFiles { inos, rows_max } => maintain::reap_files(txn, inos, *rows_max),
        CommandBody::PurgeTrash { before, files_max } => trash::purge(txn, *before, *files_max),
        CommandBody::SetOptions {
            caller,
            trash_seconds,
        } => trash::set_options(txn, caller, *trash_seconds),
        CommandBody::SetQuota {
            caller,
            subject,
            limit,
        } => quota::set_quota(txn, caller, *subject, *limit),
        CommandBody::CountFiles { files_max } => quota::count_files(txn, *files_max),
        CommandBody::CloneStep {
            job,
            rows_max,
            copies,
            attach,
        } => clone::step(txn, (*job, *rows_max), *copies, attach.as_ref()),
        CommandBody::Trim { ino, rows_max } => maintain::trim(txn, *ino, *rows_max),
        CommandBody::TrimChangelog { keep_from } => maintain::trim_changelog(txn, head, *keep_from),
        CommandBody::RaiseLevel { level } => volume::raise_level(txn, *level),
        CommandBody::Mark => {
            txn.mark_record();
            Ok(Success::Done)
        }
        CommandBody::NoteFollower { name, info } => volume::note_follower(txn, name, info),
        CommandBody::InitCluster { .. }
        | CommandBody::CreateVolume(_)
        | CommandBody::CreateMirror(_)
        | CommandBody::Mirror(_)
        | CommandBody::BeginRestore(_)
        | CommandBody::RestoreRows(_)
        | CommandBody::EndRestore { .. }
        | CommandBody::Recovered
        | CommandBody::Request(_) => Err(Refusal::InvalidArgument.into()),
    }
}
