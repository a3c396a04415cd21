//! What one thread of `curlew mdtest` makes: a tree of directories, and files in each of them.

use anyhow::{Result, anyhow};
use meta_core::name::Name;

/// Directories and files of one thread.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Each directory, after the one that holds it: that one's place in this list (none for the
    /// thread's own, which lies in PATH), and its name.
    pub(super) dirs: Vec<(Option<usize>, Name)>,
    /// Each file: its directory's place in the list, its name, and the name that it gets.
    pub(super) files: Vec<(usize, Name, Name)>,
}

impl Plan {
    /// Of thread `thread`: directories `depth` deep with `dirs` in each, and `files` files in each.
    pub(super) fn new(thread: usize, dirs: u32, depth: u32, files: u32) -> Result<Self> {
        let mut plan = Self {
            dirs: vec![(None, name(&format!("thread.{thread}"))?)],
            files: Vec::new(),
        };
        let mut level = 0..1;
        for _ in 0..depth {
            let begin = plan.dirs.len();
            for parent in level {
                for number in 0..dirs {
                    let name = name(&format!("dir.{number}"))?;
                    plan.dirs.push((Some(parent), name));
                }
            }
            level = begin..plan.dirs.len();
        }
        for dir in 0..plan.dirs.len() {
            for number in 0..files {
                let (first, second) = (format!("file.{number}"), format!("renamed.{number}"));
                plan.files.push((dir, name(&first)?, name(&second)?));
            }
        }
        Ok(plan)
    }
}

/// How many directories there are for one thread: 1 + dirs + ... + dirs^depth.
pub(super) fn dirs_of(dirs: u32, depth: u32) -> Option<u64> {
    let mut level = 1_u64;
    let mut sum = 1_u64;
    for _ in 0..depth {
        level = level.checked_mul(u64::from(dirs))?;
        sum = sum.checked_add(level)?;
    }
    Some(sum)
}

fn name(text: &str) -> Result<Name> {
    Name::new(text).map_err(|refusal| anyhow!("{text}: {refusal}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_as_many_files_as_it_is_said() {
        for (dirs, depth, files) in [(3, 2, 10), (1, 0, 5), (0, 3, 2), (2, 4, 1)] {
            let plan = Plan::new(7, dirs, depth, files).expect("a plan");
            let expected = dirs_of(dirs, depth).expect("few");
            assert_eq!(plan.dirs.len() as u64, expected, "{dirs} {depth}");
            assert_eq!(plan.files.len() as u64, expected * u64::from(files));
            for (place, (parent, _)) in plan.dirs.iter().enumerate() {
                assert!(parent.is_none_or(|parent| parent < place), "parents first");
            }
        }
        assert_eq!(dirs_of(u32::MAX, 3), None);
    }
}
