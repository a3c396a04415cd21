//! Rules of data and totals: a slice belongs to one place or says to how many, and the counters are sums of
//! rows.

use super::{Found, Rows, totals};
use crate::attr::FileKind;
use crate::ids::{Ino, id_counter};
use crate::limits::{CHUNK_BYTES, FRAME_BYTES};
use crate::row::{Counters, SliceRow};
use std::collections::BTreeMap;

pub(super) fn check(rows: &Rows, counters: &Counters, found: &mut Found) {
    check_slices(rows, counters, found);
    check_cuts(rows, found);
    check_holes(rows, found);
    for (ino, inode) in &rows.inodes {
        let target = rows.targets.contains(ino);
        found.unless(target == (inode.kind == FileKind::Symlink), || {
            format!(
                "inode {ino} of kind {:?} has a target: {target}",
                inode.kind
            )
        });
        found.unless(id_counter(ino.0) < counters.next_ino, || {
            format!("inode {ino} has an id not given yet")
        });
    }
    let lost = rows.targets.iter().chain(&rows.xattrs);
    for ino in lost.filter(|ino| !rows.inodes.contains_key(ino)) {
        found
            .0
            .push(format!("a target or attribute of {ino}, which is no inode"));
    }
    let files = rows
        .inodes
        .values()
        .filter(|inode| inode.kind == FileKind::Regular);
    let pending_bytes = rows.pending.values().map(|row| u64::from(row.size)).sum();
    let sums = [
        rows.inodes.len() as u64,
        files.fold(0, |sum: u64, inode| {
            sum.saturating_add(
                inode
                    .length
                    .checked_next_multiple_of(4096)
                    .unwrap_or(u64::MAX),
            )
        }),
        rows.orphans.len() as u64,
        rows.pending.len() as u64,
        pending_bytes,
    ];
    found.unless(totals(counters) == sums, || {
        format!(
            "counters say {:?}, rows add up to {sums:?}",
            totals(counters)
        )
    });
}

fn check_slices(rows: &Rows, counters: &Counters, found: &mut Found) {
    let mut uses: BTreeMap<u64, Vec<(Ino, u32, u64)>> = BTreeMap::new();
    for (ino, chunk, order, row) in &rows.slices {
        uses.entry(row.id.0)
            .or_default()
            .push((*ino, *chunk, *order));
        let inode = rows.inodes.get(ino);
        let placed =
            inode.is_some_and(|inode| inode.kind == FileKind::Regular && *order < inode.next);
        found.unless(placed, || {
            format!("slice {} lies in no file, or too early", row.id)
        });
        found.unless(is_sound(row), || {
            format!("slice {} has impossible bounds", row.id)
        });
        found.unless(id_counter(row.id.0) < counters.next_slice, || {
            format!("slice {} has an id not given yet", row.id)
        });
        found.unless(!rows.pending.contains_key(&row.id.0), || {
            format!("slice {} is in use and waits for its deletion", row.id)
        });
    }
    for (id, shown) in &rows.shared {
        found.unless(uses.contains_key(id), || {
            format!("slice {id} should lie in {shown} places, and lies in none")
        });
    }
    for (id, places) in uses {
        let alone = match places.as_slice() {
            [_] => true,
            [one, other] => (one.0, one.1.saturating_add(1), one.2) == *other,
            _ => false,
        };
        match rows.shared.get(&id) {
            None => found.unless(alone, || format!("slice {id} lies in several places")),
            Some(shown) => found.unless(*shown == places.len() as u64, || {
                format!(
                    "slice {id} should lie in {shown} places, and lies in {}",
                    places.len()
                )
            }),
        }
    }
}

fn is_sound(row: &SliceRow) -> bool {
    let part = u64::from(row.off) + u64::from(row.len) <= u64::from(row.size);
    let chunk = u64::from(row.at) + u64::from(row.len) <= CHUNK_BYTES;
    let frames = row.frame_crcs.len() as u64 == u64::from(row.size.div_ceil(FRAME_BYTES));
    row.len > 0 && part && chunk && frames
}

/// A hole lies in a chunk of a file that says so.
fn check_holes(rows: &Rows, found: &mut Found) {
    for (ino, chunk, order, hole) in &rows.holes {
        let inode = rows.inodes.get(ino);
        found.unless(
            inode.is_some_and(|inode| inode.holes && *order < inode.next),
            || format!("a hole in chunk {chunk} of {ino}, which has none, or too early"),
        );
        let placed = u64::from(hole.at) + u64::from(hole.len) <= CHUNK_BYTES;
        found.unless(hole.len > 0 && placed, || {
            format!("a hole in chunk {chunk} of {ino} has impossible bounds")
        });
    }
}

/// Truncations of a file rise in order and in length.
fn check_cuts(rows: &Rows, found: &mut Found) {
    for (ino, order, _) in &rows.cuts {
        let known = rows
            .inodes
            .get(ino)
            .is_some_and(|inode| *order < inode.next);
        found.unless(known, || {
            format!("a cut of {ino}, which is no inode, or too early")
        });
    }
    for pair in rows.cuts.windows(2) {
        if let [(one, _, earlier), (other, _, later)] = pair {
            found.unless(one != other || earlier.length < later.length, || {
                format!("truncations of inode {one} do not rise in length")
            });
        }
    }
}
