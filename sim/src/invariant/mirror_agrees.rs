//! A mirror that has caught up has the rows of its origin.

use super::Invariant;
use crate::run::Stage;
use crate::side::Side;
use meta_core::outcome::Token;
use meta_core::read::summary;

/// Compares the digests of both sides at the same change.
pub(super) struct MirrorAgrees;

/// The state and digest of a side's volume at its first running node.
fn state(side: &Side) -> Option<(Token, u128)> {
    let reader = side.members.iter().find_map(|member| member.reader())?;
    let read = reader.with_view(|view| summary(view));
    let volumes = read.and_then(|read| read).ok()?;
    let volume = volumes.first()?;
    Some((volume.token, volume.digest))
}

impl Invariant for MirrorAgrees {
    fn name(&self) -> &'static str {
        "mirror agrees"
    }

    fn look_at_calm(&mut self, stage: &Stage) -> Vec<String> {
        let Some(mirror) = stage.mirror() else {
            return Vec::new();
        };
        match (state(stage.origin()), state(mirror)) {
            (Some(origin), Some(copy)) if origin.0 == copy.0 && origin.1 != copy.1 => {
                vec![format!("at {:?} the digests differ", origin.0)]
            }
            (Some(origin), Some(copy)) if origin.0 != copy.0 => {
                vec![format!(
                    "the origin is at {:?}, the mirror at {:?}",
                    origin.0, copy.0
                )]
            }
            _ => Vec::new(),
        }
    }
}
