//! Rules of totals: they are what a scan of all files adds up to, and what is limited is told of.

use super::{Found, Rows};
use crate::apply::quota::{NOWHERE, own};
use crate::ids::{Ino, VolumeId};
use crate::key;
use crate::quota::{Amount, Subject};
use crate::row::{Counters, Totals};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(rows: &Rows, volume: VolumeId, counters: &Counters, found: &mut Found) {
    let state = counters.quota;
    let mut directories: BTreeMap<Ino, Amount> = BTreeMap::new();
    let mut users: BTreeMap<u32, Amount> = BTreeMap::new();
    let mut groups: BTreeMap<u32, Amount> = BTreeMap::new();
    let named = rows
        .inodes
        .iter()
        .filter(|(ino, inode)| **ino != Ino::ROOT && inode.parent != NOWHERE && inode.nlink > 0);
    for (ino, inode) in named {
        let amount = own(inode);
        if *ino < state.counted {
            let mut at = inode.parent;
            for _ in 0..=rows.inodes.len() {
                add(directories.entry(at).or_default(), amount);
                if at == Ino::ROOT {
                    break;
                }
                at = rows.inodes.get(&at).map_or(Ino::ROOT, |inode| inode.parent);
                // The top of a hidden tree.
                if at == NOWHERE {
                    break;
                }
            }
        }
        if *ino < state.owners_counted {
            add(users.entry(inode.uid).or_default(), amount);
            add(groups.entry(inode.gid).or_default(), amount);
        }
    }
    for (ino, row) in &rows.directory_totals {
        let above = rows.inodes.get(ino).map(|inode| inode.parent);
        found.unless(above == Some(row.parent), || {
            format!(
                "the totals of directory {ino} say that it lies in {}",
                row.parent
            )
        });
    }
    compare("directory", &directories, &rows.directory_totals, found);
    compare("user", &users, &rows.user_totals, found);
    compare("group", &groups, &rows.group_totals, found);
    check_limits(rows, volume, counters, found);
}

fn add(sum: &mut Amount, amount: Amount) {
    sum.files = sum.files.saturating_add(amount.files);
    sum.directories = sum.directories.saturating_add(amount.directories);
    sum.bytes = sum.bytes.saturating_add(amount.bytes);
}

fn compare<I: Ord + Copy + std::fmt::Display>(
    what: &str,
    sums: &BTreeMap<I, Amount>,
    rows: &BTreeMap<I, Totals>,
    found: &mut Found,
) {
    let all: BTreeSet<I> = sums.keys().chain(rows.keys()).copied().collect();
    for id in all {
        let sum = sums.get(&id).copied().unwrap_or_default();
        let kept = rows.get(&id).copied().unwrap_or_default();
        found.unless(sum == kept.amount, || {
            format!(
                "the totals of {what} {id} say {:?}, its files add up to {sum:?}",
                kept.amount
            )
        });
        let is_needed = kept.amount != Amount::default() || !kept.limit.is_none();
        found.unless(is_needed == rows.contains_key(&id), || {
            format!("the totals of {what} {id} say nothing")
        });
    }
}

fn check_limits(rows: &Rows, volume: VolumeId, counters: &Counters, found: &mut Found) {
    let limited = |totals: &Totals| !totals.limit.is_none();
    let directories = rows.directory_totals.iter();
    let directories = directories.filter(|(_, row)| limited(row));
    let directories = directories.map(|(ino, _)| Subject::Directory(*ino));
    let users = rows.user_totals.iter().filter(|(_, row)| limited(row));
    let users = users.map(|(uid, _)| Subject::User(*uid));
    let groups = rows.group_totals.iter().filter(|(_, row)| limited(row));
    let groups = groups.map(|(gid, _)| Subject::Group(*gid));
    let count = directories.clone().count() as u64;
    let marks: BTreeSet<Vec<u8>> = directories
        .chain(users)
        .chain(groups)
        .map(|subject| key::limited(volume, subject))
        .collect();
    found.unless(marks == rows.limit_marks, || {
        format!(
            "{} limits, {} rows that tell of them",
            marks.len(),
            rows.limit_marks.len()
        )
    });
    let kept = counters.quota.limited_directories;
    found.unless(kept == count, || {
        format!("counters say {kept} directories with limits, there are {count}")
    });
}
