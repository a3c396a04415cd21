//! Questions about files.

use super::cached::may_open;
use super::{slices, trash};
use crate::access::{self, EXECUTE};
use crate::apply::quota::NOWHERE;
use crate::apply::xattr;
use crate::attr::{Caller, FileKind};
use crate::ids::{DentryNumber, Ino};
use crate::key::{self, Ids, Key, PREFIX_BYTES, Table};
use crate::kv::{Family, KvRead};
use crate::limits::{DEPTH_MAX, GET_ATTRS_MAX, PAGE_BYTES_MAX, READDIR_ENTRIES_MAX};
use crate::lock::GetLock;
use crate::name::Name;
use crate::outcome::{Fatal, Refusal, Stop};
use crate::path::{Resolve, Walk};
use crate::query::{Answer, DirEntry, QueryBody};
use crate::row::{Blob, Named, Row};
use crate::tables::{Tables, last_id};
use std::ops::ControlFlow;

/// Bytes that an entry or a slice takes in a page beside its name or its crcs, roughly.
const ITEM_BYTES: usize = 128;

pub(super) fn answer<K: KvRead>(
    tables: Tables<'_, K>,
    caller: &Caller,
    body: &QueryBody,
) -> Result<Answer, Stop> {
    match body {
        QueryBody::Lookup { parent, name } => {
            let directory = tables.directory(*parent)?;
            access::check(&tables, (*parent, &directory), caller, EXECUTE)?;
            let dentry = tables.dentry(*parent, name)?.ok_or(Refusal::NotFound)?;
            Ok(Answer::Attr(tables.inode_of(&dentry)?.attr(dentry.ino)))
        }
        QueryBody::GetAttr { ino } => Ok(Answer::Attr(tables.inode(*ino)?.attr(*ino))),
        QueryBody::GetAttrs { inos } => get_attrs(tables, inos),
        QueryBody::Resolve(asked) => resolve(tables, caller, asked),
        QueryBody::Open { ino, read, write } => {
            let inode = tables.inode(*ino)?;
            // Nobody may take hold of what is about to be reaped. Who holds it already knows it.
            if inode.nlink == 0 && !inode.is_directory() {
                return Err(Refusal::Stale.into());
            }
            let attr = inode.attr(*ino);
            let acl = access::needed_acl(&tables, *ino, (&attr).into(), caller)?;
            may_open(&attr, acl.as_ref(), caller, *read, *write)?;
            Ok(Answer::Attr(attr))
        }
        QueryBody::ReadDir {
            ino,
            after,
            entries_max,
            with_attrs,
        } => read_dir(tables, *ino, *after, *entries_max, *with_attrs),
        QueryBody::ReadLink { ino } => read_link(tables, *ino),
        QueryBody::ReadSlices { ino, from, end } => slices::read_slices(tables, *ino, *from, *end),
        QueryBody::GetXattr { ino, name } => get_xattr(tables, caller, *ino, name),
        QueryBody::ListXattr { ino } => list_xattr(tables, caller, *ino),
        QueryBody::PathOf { ino } => path_of(tables, *ino),
        QueryBody::Orphans { after, count_max } => {
            inodes(tables, Table::Orphan, *after, *count_max)
        }
        QueryBody::Trash(asked) => trash::answer(tables, caller, asked),
        QueryBody::Cuts { after, count_max } => inodes(tables, Table::Cut, *after, *count_max),
        QueryBody::GetLock(asked) => get_lock(tables, asked),
        QueryBody::StatVolume
        | QueryBody::FindVolume { .. }
        | QueryBody::Sessions { .. }
        | QueryBody::Followers
        | QueryBody::Backup
        | QueryBody::Usage(_)
        | QueryBody::Amounts { .. }
        | QueryBody::Limits { .. }
        | QueryBody::Clones
        | QueryBody::Space { .. }
        | QueryBody::Compactable { .. }
        | QueryBody::PlanCompaction { .. }
        | QueryBody::Volumes { .. } => Err(Refusal::InvalidArgument.into()),
    }
}

fn get_lock<K: KvRead>(tables: Tables<'_, K>, asked: &GetLock) -> Result<Answer, Stop> {
    let range = asked.owner.kind.range(asked.range)?;
    tables.inode(asked.ino)?;
    let locks = tables.locks(asked.ino, asked.owner.kind.domain())?;
    let held = locks.conflict(asked.owner, range, asked.mode);
    Ok(Answer::Lock(held))
}

fn get_attrs<K: KvRead>(tables: Tables<'_, K>, inos: &[Ino]) -> Result<Answer, Stop> {
    if inos.len() > GET_ATTRS_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    let each = inos.iter().map(|ino| match tables.inode(*ino) {
        Ok(inode) => Ok(Ok(inode.attr(*ino))),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Fatal(fatal)) => Err(fatal),
    });
    Ok(Answer::Attrs(each.collect::<Result<_, Fatal>>()?))
}

fn resolve<K: KvRead>(
    tables: Tables<'_, K>,
    caller: &Caller,
    asked: &Resolve,
) -> Result<Answer, Stop> {
    let directory = tables.inode(asked.from)?.attr(asked.from);
    let mut walk = Walk::new(caller, directory, asked);
    while let Some(question) = walk.question() {
        let answer = match &question {
            // The directory was read, and found good, one step before.
            QueryBody::Lookup { parent, name } => match tables.dentry(*parent, name)? {
                Some(dentry) => Ok(Answer::Attr(tables.inode_of(&dentry)?.attr(dentry.ino))),
                None => Err(Refusal::NotFound),
            },
            other => match answer(tables, caller, other) {
                Ok(answer) => Ok(answer),
                Err(Stop::Refused(refusal)) => Err(refusal),
                Err(fatal) => return Err(fatal),
            },
        };
        let fits = walk.answer(answer);
        fits.map_err(|_other| Fatal::Invariant("a walk was answered something else"))?;
    }
    Ok(Answer::Resolved(walk.found()))
}

fn read_dir<K: KvRead>(
    tables: Tables<'_, K>,
    ino: Ino,
    after: DentryNumber,
    entries_max: u32,
    with_attrs: bool,
) -> Result<Answer, Stop> {
    let directory = tables.directory(ino)?;
    let count_max = entries_max.clamp(1, READDIR_ENTRIES_MAX) as usize;
    let begin = key::number(
        tables.volume(),
        ino,
        DentryNumber(after.0.saturating_add(1)),
    );
    let end = key::prefix_end(&key::by_ino(tables.volume(), Table::DentryNumber, ino));
    let mut entries: Vec<DirEntry> = Vec::new();
    let mut bytes = 0;
    let mut complete = true;
    tables.scan(Family::State, &begin, &end, |key, row| {
        if entries.len() == count_max || bytes >= PAGE_BYTES_MAX {
            complete = false;
            return Ok(ControlFlow::Break(()));
        }
        let named = Named::decode(key, row)?;
        bytes += named.name.as_bytes().len() + ITEM_BYTES;
        entries.push(DirEntry {
            number: DentryNumber(last_id(key)?),
            name: named.name,
            ino: named.ino,
            kind: named.kind,
            attr: None,
        });
        Ok(ControlFlow::Continue(()))
    })?;
    if with_attrs {
        for entry in &mut entries {
            entry.attr = Some(tables.inode(entry.ino)?.attr(entry.ino));
        }
    }
    // A cursor at the very end has nothing behind it.
    Ok(Answer::Entries {
        parent: directory.parent,
        entries,
        end: complete,
    })
}

fn read_link<K: KvRead>(tables: Tables<'_, K>, ino: Ino) -> Result<Answer, Stop> {
    let inode = tables.inode(ino)?;
    if inode.kind != FileKind::Symlink {
        return Err(Refusal::InvalidArgument.into());
    }
    let key = key::by_ino(tables.volume(), Table::Symlink, ino);
    let target: Blob = tables
        .row(&key)?
        .ok_or(Fatal::Invariant("a symlink without a target"))?;
    Ok(Answer::Bytes(target.0))
}

fn get_xattr<K: KvRead>(
    tables: Tables<'_, K>,
    caller: &Caller,
    ino: Ino,
    name: &[u8],
) -> Result<Answer, Stop> {
    let space = xattr::Namespace::of(name)?;
    let attr = tables.inode(ino)?.attr(ino);
    let acl = access::needed_acl(&tables, ino, (&attr).into(), caller)?;
    space.check_read(&attr, acl.as_ref(), caller)?;
    let value: Option<Blob> = tables.row(&key::xattr(tables.volume(), ino, name))?;
    Ok(Answer::Bytes(value.ok_or(Refusal::NoAttribute)?.0))
}

fn list_xattr<K: KvRead>(tables: Tables<'_, K>, caller: &Caller, ino: Ino) -> Result<Answer, Stop> {
    tables.inode(ino)?;
    let mut names = xattr::names(&tables, ino)?;
    names.retain(|name| caller.is_root() || !name.starts_with(b"trusted."));
    Ok(Answer::Names(names))
}

fn path_of<K: KvRead>(tables: Tables<'_, K>, ino: Ino) -> Result<Answer, Stop> {
    let mut names: Vec<Name> = Vec::new();
    let mut bytes = 0;
    let mut at = ino;
    for _ in 0..DEPTH_MAX {
        if bytes > PAGE_BYTES_MAX {
            return Err(Refusal::NameTooLong.into());
        }
        if at == Ino::ROOT {
            names.reverse();
            return Ok(Answer::Path(names));
        }
        let inode = tables.inode(at)?;
        // The top of what a clone hides has no name either.
        if inode.nlink == 0 || inode.parent == NOWHERE {
            return Err(Refusal::NotFound.into());
        }
        let named = tables
            .named(inode.parent, inode.parent_number)?
            .ok_or(Fatal::Invariant("a file's first name is not there"))?;
        bytes += named.name.as_bytes().len() + ITEM_BYTES;
        names.push(named.name);
        at = inode.parent;
    }
    Err(Refusal::LimitReached.into())
}

/// The inodes that a table keyed by inode first has rows of.
fn inodes<K: KvRead>(
    tables: Tables<'_, K>,
    table: Table,
    after: Ino,
    count_max: u32,
) -> Result<Answer, Stop> {
    let count_max = count_max.clamp(1, READDIR_ENTRIES_MAX) as usize;
    let begin = key::by_ino(tables.volume(), table, Ino(after.0.saturating_add(1)));
    let end = key::prefix_end(&Key::new(tables.volume(), table).done());
    let mut inodes: Vec<Ino> = Vec::new();
    tables.scan(Family::State, &begin, &end, |key, _| {
        let ino = Ids(key.get(PREFIX_BYTES..).unwrap_or_default())
            .u64()
            .map(Ino)
            .ok_or(Fatal::Invariant("a key is too short"))?;
        if inodes.last() != Some(&ino) {
            if inodes.len() == count_max {
                return Ok(ControlFlow::Break(()));
            }
            inodes.push(ino);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Answer::Inodes(inodes))
}
