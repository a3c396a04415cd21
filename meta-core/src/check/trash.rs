//! Rules of the trash: each file in it has no names, is found by time and by place, and is counted.

use super::{Found, Rows};
use crate::attr::FileKind;
use crate::ids::VolumeId;
use crate::key;
use crate::row::TrashTotals;
use std::collections::BTreeSet;

pub(super) fn check(rows: &Rows, volume: VolumeId, found: &mut Found) {
    let mut marks = BTreeSet::new();
    let mut sums = TrashTotals::default();
    let begin = rows.trash_totals.begin;
    for (ino, row) in &rows.trash {
        marks.insert(key::trash_by_time(volume, row.removed, *ino));
        let by_name = key::trash_by_name(volume, row.parent, &row.name, row.removed, *ino);
        marks.insert(by_name);
        sums.inodes += 1;
        found.unless(row.removed >= begin, || {
            format!("inode {ino} of the trash was removed before its begin")
        });
        let Some(inode) = rows.inodes.get(ino) else {
            found.0.push(format!("{ino} of the trash is no inode"));
            continue;
        };
        if inode.kind == FileKind::Regular {
            let bytes = inode.length.checked_next_multiple_of(4096);
            sums.bytes = sums.bytes.saturating_add(bytes.unwrap_or(u64::MAX));
        }
        found.unless(inode.kind == row.kind, || {
            format!("inode {ino} of the trash is of another kind")
        });
        found.unless(inode.parent == row.parent, || {
            format!("inode {ino} of the trash had its last name elsewhere")
        });
    }
    found.unless(marks == rows.trash_marks, || {
        let lost = marks.difference(&rows.trash_marks).count();
        let spare = rows.trash_marks.difference(&marks).count();
        format!("the trash lacks {lost} rows by time or place, and has {spare} too many")
    });
    let kept = rows.trash_totals;
    found.unless(
        (kept.inodes, kept.bytes) == (sums.inodes, sums.bytes),
        || format!("the trash's totals say {kept:?}, its files add up to {sums:?}"),
    );
}
