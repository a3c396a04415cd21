//! Which commands the other members read. A command that an older version cannot read would stop it, so
//! it goes into the log only when every member reads it.
//!
//! Each node says with every answer to a peer up to which *generation* it reads commands; one that says
//! nothing reads the first. Effects that are in changelog, digest or mirrors have the volume's level
//! instead (`docs/SEMANTICS.md`, "Upgrades").

use crate::failure::Failure;
use meta_core::command::{CommandBody, Operation};
use parking_lot::Mutex;
use raft_store::NodeId;
use std::collections::BTreeMap;

/// The newest generation that this version reads.
pub(crate) const NEWEST: u32 = 2;
/// The one that every version reads.
const FIRST: u32 = 1;

/// The generation of a command.
pub(crate) fn of(body: &CommandBody) -> u32 {
    let CommandBody::Request(request) = body else {
        return FIRST;
    };
    match request.operation {
        Operation::ClaimTask { .. }
        | Operation::ReleaseTask { .. }
        | Operation::FinishBackup { .. } => 2,
        _ => FIRST,
    }
}

/// What peers have said since this node started.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    heard: Mutex<BTreeMap<NodeId, u32>>,
}

impl Generations {
    /// Takes in what a peer said.
    pub(crate) fn observe(&self, peer: NodeId, said: u32) {
        self.heard.lock().insert(peer, said.max(FIRST));
    }

    /// Whether all of `peers` read a generation. Who was not heard may be older.
    ///
    /// # Errors
    /// Names one that does not, or was not heard.
    pub(crate) fn check(
        &self,
        peers: impl IntoIterator<Item = NodeId>,
        generation: u32,
    ) -> Result<(), Failure> {
        let heard = self.heard.lock();
        for peer in peers {
            let said = heard.get(&peer).copied();
            if said.is_none_or(|said| said < generation) && generation > FIRST {
                let why = said.map_or("was not heard yet", |_| "runs an older version");
                return Err(Failure::bad_request(format!(
                    "not every metadata node understands this yet: node {peer} {why}; upgrade all \
                     of them"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_waits_until_every_member_reads_it() {
        let generations = Generations::default();
        assert!(generations.check([2, 3], FIRST).is_ok());
        assert!(generations.check([2, 3], 2).is_err(), "nobody was heard");
        generations.observe(2, 2);
        generations.observe(3, 0);
        let refused = generations.check([2, 3], 2).expect_err("3 is old");
        assert!(refused.message.contains("node 3 runs"), "{refused}");
        generations.observe(3, 2);
        assert!(generations.check([2, 3], 2).is_ok());
    }
}
