//! What is in the trash.

use crate::access::{self, EXECUTE, READ};
use crate::apply::trash::LEVEL;
use crate::attr::Caller;
use crate::ids::Ino;
use crate::key::{self, Table};
use crate::kv::{Family, KvRead};
use crate::limits::{PAGE_BYTES_MAX, READDIR_ENTRIES_MAX};
use crate::name::Name;
use crate::outcome::{Fatal, Refusal, Stop};
use crate::query::{Answer, AskTrash, TrashCursor, TrashEntry, TrashStat};
use crate::row::{Blob, Inode};
use crate::tables::{Tables, last_id};
use std::ops::ControlFlow;

/// Bytes that an entry takes in a page beside its name, roughly.
const ITEM_BYTES: usize = 256;

pub(super) fn answer<K: KvRead>(
    tables: Tables<'_, K>,
    caller: &Caller,
    asked: &AskTrash,
) -> Result<Answer, Stop> {
    match asked {
        AskTrash::File(ino) => {
            let entry = entry(tables, *ino)?.ok_or(Refusal::NotFound)?;
            if !caller.is_root() && caller.uid != entry.attr.uid {
                return Err(Refusal::NotPermitted.into());
            }
            Ok(Answer::Trash {
                entries: vec![entry],
                end: true,
            })
        }
        AskTrash::Of {
            parent,
            name,
            after,
            count_max,
        } => {
            let directory = tables.directory(*parent)?;
            let listed = if name.is_none() { READ } else { 0 };
            access::check(&tables, (*parent, &directory), caller, listed | EXECUTE)?;
            page(tables, *parent, name.as_ref(), after.as_ref(), *count_max)
        }
    }
}

fn page<K: KvRead>(
    tables: Tables<'_, K>,
    parent: Ino,
    name: Option<&Name>,
    after: Option<&TrashCursor>,
    count_max: u32,
) -> Result<Answer, Stop> {
    let count_max = count_max.clamp(1, READDIR_ENTRIES_MAX) as usize;
    let volume = tables.volume();
    let prefix = match name {
        Some(name) => key::trash_of_name(volume, parent, name),
        None => key::trash_of(volume, parent),
    };
    let begin = match after {
        Some(after) => {
            let mut key = key::trash_by_name(volume, parent, &after.name, after.removed, after.ino);
            key.push(0);
            key.max(prefix.clone())
        }
        None => prefix.clone(),
    };
    let mut inos = Vec::new();
    let mut bytes = 0;
    let mut end = true;
    tables.scan(
        Family::State,
        &begin,
        &key::prefix_end(&prefix),
        |key, _| {
            if inos.len() == count_max || bytes >= PAGE_BYTES_MAX {
                end = false;
                return Ok(ControlFlow::Break(()));
            }
            inos.push(Ino(last_id(key)?));
            bytes += key.len() + ITEM_BYTES;
            Ok(ControlFlow::Continue(()))
        },
    )?;
    let missing = Fatal::Invariant("the trash lists a file that it does not have");
    let mut entries = Vec::with_capacity(inos.len());
    for ino in inos {
        match entry(tables, ino)? {
            Some(entry) => entries.push(entry),
            None => return Err(missing.into()),
        }
    }
    Ok(Answer::Trash { entries, end })
}

fn entry<K: KvRead>(tables: Tables<'_, K>, ino: Ino) -> Result<Option<TrashEntry>, Fatal> {
    let Some(row) = tables.trashed(ino)? else {
        return Ok(None);
    };
    let inode = tables.row(&key::by_ino(tables.volume(), Table::Inode, ino))?;
    let inode: Inode = inode.ok_or(Fatal::Invariant("no inode has what is in the trash"))?;
    Ok(Some(TrashEntry {
        parent: row.parent,
        name: row.name,
        removed: row.removed,
        uid: row.uid,
        attr: inode.attr(ino),
    }))
}

/// The trash of a volume that can have one.
pub(super) fn stat<K: KvRead>(tables: Tables<'_, K>) -> Result<Option<TrashStat>, Fatal> {
    if tables.settings()?.level < LEVEL {
        return Ok(None);
    }
    let totals = tables.trash_totals()?;
    let mut oldest = None;
    if totals.inodes > 0 {
        let begin = key::trash_by_time(tables.volume(), totals.begin, Ino(0));
        let end = key::trash_totals(tables.volume());
        let first: Vec<(Vec<u8>, Blob)> = tables.rows_from(&begin, &end, 1)?;
        if let Some((key, _)) = first.first() {
            oldest = tables.trashed(Ino(last_id(key)?))?.map(|row| row.removed);
        }
    }
    Ok(Some(TrashStat {
        seconds: tables.options()?.trash_seconds,
        inodes: totals.inodes,
        bytes: totals.bytes,
        oldest,
    }))
}
