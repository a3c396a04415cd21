//! The rows of every volume fit together on every node: names and files, counters and digests, the
//! chain of the changelog.

use super::Invariant;
use crate::run::Stage;
use meta_core::read::summary;

/// The rules of `meta_core::check`.
pub(super) struct RowsHold;

impl Invariant for RowsHold {
    fn name(&self) -> &'static str {
        "rows fit together"
    }

    fn look_at_calm(&mut self, stage: &Stage) -> Vec<String> {
        let mut found = Vec::new();
        for member in stage.sides().flat_map(|side| &side.members) {
            let Some(reader) = member.reader() else {
                continue;
            };
            let checked = reader.with_view(|view| {
                let mut wrong = Vec::new();
                for volume in summary(view)? {
                    wrong.extend(meta_core::check::check(view, volume.id)?);
                }
                Ok(wrong)
            });
            match checked.and_then(|checked| checked) {
                Ok(wrong) => {
                    found.extend(wrong.into_iter().map(|w| format!("{}: {w}", member.host)));
                }
                Err(fatal) => found.push(format!("{}: {fatal}", member.host)),
            }
        }
        found
    }
}
