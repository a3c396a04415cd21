//! Names that move.

use super::trash::Last;
use super::{Done, create, names};
use crate::access::{self, WRITE};
use crate::attr::{Caller, FileKind};
use crate::command::RenameMode;
use crate::ids::{DentryNumber, Ino};
use crate::kv::KvRead;
use crate::limits::DEPTH_MAX;
use crate::name::Name;
use crate::outcome::{Refusal, Stop, Success};
use crate::row::{Dentry, Inode};
use crate::seeded::{Bug, has};
use crate::txn::Txn;

/// A name in a directory.
#[derive(Clone, Copy)]
pub(super) struct Place<'n> {
    pub(super) parent: Ino,
    pub(super) name: &'n Name,
}

/// Moves a name, or swaps two.
pub(super) fn rename<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    from: Place<'_>,
    to: Place<'_>,
    mode: RenameMode,
) -> Done {
    let old_parent = names::searchable(txn, caller, from.parent)?;
    let new_parent = names::searchable(txn, caller, to.parent)?;
    let source = txn
        .tables()
        .dentry(from.parent, from.name)?
        .ok_or(Refusal::NotFound)?;
    let target = txn.tables().dentry(to.parent, to.name)?;
    match (mode, &target) {
        (RenameMode::NoReplace, Some(_)) => return Err(Refusal::Exists.into()),
        (RenameMode::Exchange, None) => return Err(Refusal::NotFound.into()),
        _ => {}
    }
    let exchange = mode == RenameMode::Exchange;
    check_loops(txn, from, to, &source, target.as_ref().filter(|_| exchange))?;
    if target.is_some_and(|target| target.ino == source.ino) {
        // Two names of one file: POSIX wants nothing done, and success.
        return Ok(Success::Renamed {
            ino: source.ino,
            replaced: None,
        });
    }
    let leaving = Leaving {
        caller,
        directory: (from.parent, &old_parent),
        moves: from.parent != to.parent,
    };
    leaving.check(txn, &source)?;
    match target {
        None => {
            names::check_addition(txn, (to.parent, &new_parent), caller)?;
            move_name(txn, from, to, source)
        }
        Some(target) => {
            let inode = txn.tables().inode_of(&target)?;
            let moves = exchange && leaving.moves;
            Leaving {
                caller,
                directory: (to.parent, &new_parent),
                moves,
            }
            .check(txn, &target)?;
            if exchange {
                swap(txn, from, to, source, target)
            } else {
                check_replace(&source, &inode)?;
                let last = Last::of(txn, caller)?;
                replace(txn, from, to, (source, target), last)
            }
        }
    }
}

/// A name about to leave its directory.
struct Leaving<'a> {
    caller: &'a Caller,
    directory: (Ino, &'a Inode),
    /// Whether it goes to another directory.
    moves: bool,
}

impl Leaving<'_> {
    fn check<B: KvRead>(&self, txn: &Txn<'_, B>, name: &Dentry) -> Result<(), Stop> {
        let tables = txn.tables();
        let file = tables.inode_of(name)?;
        access::check_removal(&tables, self.directory, &file, self.caller)?;
        if self.moves && file.is_directory() {
            // Its ".." changes.
            access::check(&tables, (name.ino, &file), self.caller, WRITE)?;
        }
        Ok(())
    }
}

fn check_replace(source: &Dentry, target: &Inode) -> Result<(), Refusal> {
    match (source.kind == FileKind::Directory, target.is_directory()) {
        (true, false) => Err(Refusal::NotDirectory),
        (false, true) => Err(Refusal::IsDirectory),
        (true, true) if target.length != 0 => Err(Refusal::NotEmpty),
        _ => Ok(()),
    }
}

/// A directory must not come to lie inside itself.
fn check_loops<B: KvRead>(
    txn: &Txn<'_, B>,
    from: Place<'_>,
    to: Place<'_>,
    source: &Dentry,
    swapped: Option<&Dentry>,
) -> Result<(), Stop> {
    if from.parent == to.parent {
        return Ok(());
    }
    if source.kind == FileKind::Directory {
        check_outside(txn, to.parent, source.ino)?;
    }
    if let Some(target) = swapped
        && target.kind == FileKind::Directory
    {
        check_outside(txn, from.parent, target.ino)?;
    }
    Ok(())
}

/// Refuses if `inner` is `outer` or lies below it.
pub(super) fn check_outside<B: KvRead>(
    txn: &Txn<'_, B>,
    inner: Ino,
    outer: Ino,
) -> Result<(), Stop> {
    let mut at = inner;
    for _ in 0..DEPTH_MAX {
        if at == outer {
            return Err(Refusal::InvalidArgument.into());
        }
        if at == Ino::ROOT {
            return Ok(());
        }
        at = txn.tables().inode(at)?.parent;
    }
    // Whoever can make directories can make them this deep.
    Err(Refusal::LimitReached.into())
}

/// Changes a directory that lost or got a name.
fn update<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    change: impl FnOnce(&mut Inode) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut directory = txn.tables().directory(ino)?;
    change(&mut directory)?;
    names::touch(txn, &mut directory);
    txn.put_inode(ino, &directory);
    Ok(())
}

/// Moves a name to where none is.
fn move_name<B: KvRead>(
    txn: &mut Txn<'_, B>,
    from: Place<'_>,
    to: Place<'_>,
    source: Dentry,
) -> Done {
    let mut number = source.number;
    if from.parent != to.parent {
        update(txn, to.parent, |directory| {
            number = names::take_number(directory)?;
            Ok(())
        })?;
    }
    // In its own directory a name keeps its number: whoever lists and renames as it goes would
    // otherwise meet its own new names for ever.
    settle(txn, from, to, source, number, false)?;
    Ok(Success::Renamed {
        ino: source.ino,
        replaced: None,
    })
}

/// Moves a name over another, whose number it takes: a listing under way meets the name that
/// stays exactly once.
fn replace<B: KvRead>(
    txn: &mut Txn<'_, B>,
    from: Place<'_>,
    to: Place<'_>,
    (source, target): (Dentry, Dentry),
    last: Last,
) -> Done {
    let mut loser = txn.tables().inode_of(&target)?;
    if loser.is_directory() {
        update(txn, to.parent, |directory| {
            Ok(names::lose_subdirectory(directory)?)
        })?;
    } else {
        names::detach(txn, target.ino, &mut loser, to.parent, target.number)?;
    }
    let lost = (target.ino, &mut loser);
    names::drop_link(txn, lost, (to.parent, to.name), last)?;
    txn.put_inode(target.ino, &loser);
    settle(txn, from, to, source, target.number, true)?;
    let replaced = Some((target.ino, loser.nlink));
    Ok(Success::Renamed {
        ino: source.ino,
        replaced,
    })
}

/// Takes the source out of its place and puts it under `to` with `number`.
fn settle<B: KvRead>(
    txn: &mut Txn<'_, B>,
    from: Place<'_>,
    to: Place<'_>,
    source: Dentry,
    number: DentryNumber,
    replaces: bool,
) -> Result<(), Stop> {
    names::delete_name(txn, from.parent, from.name);
    if (from.parent, source.number) != (to.parent, number) {
        names::delete_number(txn, from.parent, source.number);
    }
    let lost = has(Bug::LostDirent) && replaces && from.parent != to.parent;
    if !lost {
        names::put_name(txn, to.parent, to.name, Dentry { number, ..source });
    }
    let mut inode = txn.tables().inode_of(&source)?;
    let (old, new) = ((from.parent, source.number), (to.parent, number));
    names::rehome(txn, source.ino, &mut inode, old, new)?;
    inode.ctime = txn.stamp();
    txn.put_inode(source.ino, &inode);
    let directory = source.kind == FileKind::Directory;
    update(txn, from.parent, |parent| {
        names::lose_entry(parent)?;
        if directory {
            Ok(names::lose_subdirectory(parent)?)
        } else {
            Ok(())
        }
    })?;
    update(txn, to.parent, |parent| {
        if !replaces {
            parent.length += 1;
        }
        if directory {
            Ok(create::add_subdirectory(parent)?)
        } else {
            Ok(())
        }
    })
}

/// Swaps two names; each keeps its number.
fn swap<B: KvRead>(
    txn: &mut Txn<'_, B>,
    from: Place<'_>,
    to: Place<'_>,
    source: Dentry,
    target: Dentry,
) -> Done {
    names::put_name(
        txn,
        from.parent,
        from.name,
        Dentry {
            number: source.number,
            ..target
        },
    );
    let half = has(Bug::HalfExchange) && from.parent != to.parent;
    if !half {
        names::put_name(
            txn,
            to.parent,
            to.name,
            Dentry {
                number: target.number,
                ..source
            },
        );
    }
    let (here, there) = ((from.parent, source.number), (to.parent, target.number));
    for (dentry, old, new) in [(&source, here, there), (&target, there, here)] {
        let mut inode = txn.tables().inode_of(dentry)?;
        names::rehome(txn, dentry.ino, &mut inode, old, new)?;
        inode.ctime = txn.stamp();
        txn.put_inode(dentry.ino, &inode);
    }
    let is_directory = |dentry: &Dentry| dentry.kind == FileKind::Directory;
    let (leaves, comes) = (is_directory(&source), is_directory(&target));
    update(txn, from.parent, |parent| {
        exchange_subdirectory(parent, leaves, comes)
    })?;
    update(txn, to.parent, |parent| {
        exchange_subdirectory(parent, comes, leaves)
    })?;
    Ok(Success::Renamed {
        ino: source.ino,
        replaced: None,
    })
}

fn exchange_subdirectory(parent: &mut Inode, leaves: bool, comes: bool) -> Result<(), Stop> {
    if leaves {
        names::lose_subdirectory(parent)?;
    }
    if comes {
        create::add_subdirectory(parent)?;
    }
    Ok(())
}
