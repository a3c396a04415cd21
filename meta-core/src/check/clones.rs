//! Rules of clones: files lead to their copies and back, and those that hide copies are counted.

use super::{Found, Rows};
use crate::key::{CLONE_COPY, CLONE_SOURCE};
use crate::row::{CloneState, Counters};

pub(super) fn check(rows: &Rows, counters: &Counters, found: &mut Found) {
    let copying = |state: CloneState| state == CloneState::Copying;
    let hiding = rows.clones.values().filter(|job| job.hides());
    let count = hiding.count() as u64;
    found.unless(u64::from(counters.clones) == count, || {
        format!(
            "counters say that {} clones hide something, there are {count}",
            counters.clones
        )
    });
    for (id, job) in &rows.clones {
        let of_job = rows.cloned.keys().filter(|(_, of, _)| of == id);
        let sources = of_job.filter(|(kind, ..)| *kind == CLONE_COPY).count() as u64;
        found.unless(!copying(job.state) || sources == job.mapped, || {
            format!("clone {id} has {sources} files and counts {}", job.mapped)
        });
        let is_left = rows.cloned.keys().any(|(_, of, _)| of == id);
        found.unless(!job.cleared || !is_left, || {
            format!("clone {id} is done with, and has rows")
        });
    }
    for ((kind, id, file), other) in &rows.cloned {
        let Some(job) = rows.clones.get(id) else {
            found
                .0
                .push(format!("rows of clone {id}, which is not there"));
            continue;
        };
        if !copying(job.state) {
            continue;
        }
        let back = if *kind == CLONE_COPY {
            CLONE_SOURCE
        } else {
            CLONE_COPY
        };
        found.unless(rows.cloned.get(&(back, *id, *other)) == Some(file), || {
            format!("clone {id} leads from {file} to {other}, and not back")
        });
        let copy = if *kind == CLONE_COPY { other } else { file };
        let is_there = rows.inodes.get(copy).is_some_and(|inode| inode.nlink > 0);
        found.unless(is_there, || {
            format!("copy {copy} of clone {id} is no file with a name")
        });
    }
}
