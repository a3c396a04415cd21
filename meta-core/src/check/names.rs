//! Rules of names: each stands twice, leads to a file, and is counted.

use super::{Found, Rows, shown};
use crate::apply::quota::NOWHERE;
use crate::attr::FileKind;
use crate::ids::Ino;
use crate::row::Inode;
use std::collections::BTreeMap;

pub(super) fn check(rows: &Rows, found: &mut Found) {
    check_pairs(rows, found);
    let mut names: BTreeMap<Ino, u32> = BTreeMap::new();
    let mut entries: BTreeMap<Ino, u64> = BTreeMap::new();
    let mut subdirectories: BTreeMap<Ino, u32> = BTreeMap::new();
    for ((parent, _), named) in &rows.numbers {
        *names.entry(named.ino).or_default() += 1;
        *entries.entry(*parent).or_default() += 1;
        if named.kind == FileKind::Directory {
            *subdirectories.entry(*parent).or_default() += 1;
        }
    }
    for (ino, inode) in &rows.inodes {
        let named = names.get(ino).copied().unwrap_or(0);
        if rows.is_top(*ino) && inode.nlink > 0 {
            // Nothing names it, nor is there more of it than its row says.
            found.unless(named == 0 && inode.parent == NOWHERE, || {
                format!("inode {ino} is hidden, and has {named} names")
            });
            continue;
        }
        if inode.is_directory() {
            let inside = entries.get(ino).copied().unwrap_or(0);
            let children = subdirectories.get(ino).copied().unwrap_or(0);
            check_directory(*ino, inode, (named, inside, children), found);
        } else {
            found.unless(inode.nlink == named, || {
                format!("inode {ino} has {named} names and counts {}", inode.nlink)
            });
        }
        check_home(rows, *ino, inode, named, found);
        let orphan = rows.orphans.contains(ino);
        let trash = rows.trash.contains_key(ino);
        let kept = usize::from(orphan) + usize::from(trash);
        found.unless(kept == usize::from(inode.nlink == 0), || {
            let links = inode.nlink;
            format!("inode {ino} has {links} links, orphan is {orphan}, in the trash is {trash}")
        });
    }
    for ino in rows
        .orphans
        .iter()
        .filter(|ino| !rows.inodes.contains_key(ino))
    {
        found.0.push(format!("orphan {ino} is no inode"));
    }
    check_reachable(rows, found);
}

/// The rows by name and by number are the same names, and lead to files of their kind.
fn check_pairs(rows: &Rows, found: &mut Found) {
    let hidden = rows.hidden();
    for ((parent, name), dentry) in &rows.dentries {
        if hidden.contains(parent) {
            continue;
        }
        let named = rows.numbers.get(&(*parent, dentry.number.0));
        let pairs = named.is_some_and(|named| {
            named.ino == dentry.ino
                && named.kind == dentry.kind
                && named.name.as_bytes() == name.as_slice()
        });
        found.unless(pairs, || {
            format!(
                "name {} in {parent} has no equal row by number",
                shown(name)
            )
        });
        let leads = rows
            .inodes
            .get(&dentry.ino)
            .is_some_and(|inode| inode.kind == dentry.kind);
        found.unless(leads, || {
            format!(
                "name {} in {parent} leads to no inode of its kind",
                shown(name)
            )
        });
        let next = rows.inodes.get(parent).map_or(0, |inode| inode.next);
        found.unless(dentry.number.0 < next, || {
            format!(
                "name {} in {parent} has a number not given yet",
                shown(name)
            )
        });
    }
    let shown = |parent: &Ino| !hidden.contains(parent);
    let numbers = rows.numbers.keys().filter(|(parent, _)| shown(parent));
    let dentries = rows.dentries.keys().filter(|(parent, _)| shown(parent));
    let (numbers, dentries) = (numbers.count(), dentries.count());
    found.unless(numbers == dentries, || {
        format!("{numbers} rows by number, {dentries} by name")
    });
}

fn check_directory(
    ino: Ino,
    inode: &Inode,
    (named, inside, children): (u32, u64, u32),
    found: &mut Found,
) {
    found.unless(inode.length == inside, || {
        format!(
            "directory {ino} holds {inside} names and counts {}",
            inode.length
        )
    });
    let root = ino == Ino::ROOT;
    found.unless(named == u32::from(inode.nlink > 0 && !root), || {
        format!(
            "directory {ino} with {} links has {named} names",
            inode.nlink
        )
    });
    let gone = inode.nlink == 0 && children == 0;
    found.unless(gone || inode.nlink == children + 2, || {
        format!(
            "directory {ino} holds {children} directories and has {} links",
            inode.nlink
        )
    });
}

/// A file knows its first name, and its others are link rows.
fn check_home(rows: &Rows, ino: Ino, inode: &Inode, named: u32, found: &mut Found) {
    let links = rows
        .links
        .range((ino, Ino(0), 0)..=(ino, Ino(u64::MAX), u64::MAX));
    let mut others = 0;
    for (_, parent, number) in links {
        others += 1;
        let leads = rows
            .numbers
            .get(&(*parent, *number))
            .is_some_and(|named| named.ino == ino);
        found.unless(leads, || {
            format!("a link row of inode {ino} leads to no name of it")
        });
    }
    found.unless(others == named.saturating_sub(1), || {
        format!("inode {ino} has {named} names and {others} link rows")
    });
    if named > 0 {
        let home = rows.numbers.get(&(inode.parent, inode.parent_number.0));
        found.unless(home.is_some_and(|home| home.ino == ino), || {
            format!("the first name of inode {ino} is not where the inode says")
        });
    }
}

/// Every directory leads up to the root.
fn check_reachable(rows: &Rows, found: &mut Found) {
    for (ino, inode) in rows.inodes.iter().filter(|(_, inode)| inode.nlink > 0) {
        let mut at = if inode.is_directory() {
            *ino
        } else {
            inode.parent
        };
        let mut steps = 0;
        while at != Ino::ROOT && !rows.is_top(at) && steps <= rows.inodes.len() {
            at = rows.inodes.get(&at).map_or(at, |inode| inode.parent);
            steps += 1;
        }
        let leads = at == Ino::ROOT || rows.is_top(at) || rows.is_top(*ino);
        found.unless(leads, || {
            format!("inode {ino} does not lead up to the root")
        });
    }
}
