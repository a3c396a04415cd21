//! All nodes of a cluster have the same rows once they have applied the same entries.

use super::Invariant;
use crate::run::Stage;
use meta_core::read::{VolumeSummary, summary};

/// Compares the digests of each cluster's nodes.
pub(super) struct CopiesAgree;

fn volumes(stage_member: &crate::member::Member) -> Option<Result<Vec<VolumeSummary>, String>> {
    let reader = stage_member.reader()?;
    let read = reader.with_view(|view| summary(view));
    Some(
        read.and_then(|read| read)
            .map_err(|fatal| fatal.to_string()),
    )
}

impl Invariant for CopiesAgree {
    fn name(&self) -> &'static str {
        "copies agree"
    }

    fn look_at_calm(&mut self, stage: &Stage) -> Vec<String> {
        let mut found = Vec::new();
        for side in stage.sides() {
            let mut first = None;
            for member in &side.members {
                match volumes(member) {
                    None => {}
                    Some(Err(fatal)) => found.push(format!("{}: {fatal}", member.host)),
                    Some(Ok(volumes)) => {
                        let rows = volumes.iter().map(|v| (v.id, v.token, v.digest));
                        let rows: Vec<_> = rows.collect();
                        let (host, known) = first.get_or_insert((&member.host, rows.clone()));
                        if *known != rows {
                            found.push(format!(
                                "{host} has {known:?}, and {} has {rows:?}",
                                member.host
                            ));
                        }
                    }
                }
            }
        }
        found
    }
}
