//! Tells those who waited for a lock that they wait no more.
//!
//! Only the leader that proposed what ended the wait says so, and only once: who does not hear it asks
//! again.

use crate::node::Core;
use meta_core::ids::SessionId;
use meta_core::lock::Woken;
use meta_core::outcome::{Outcome, Reply, Success};
use proto::v1;
use std::collections::BTreeMap;

impl Core {
    /// Sends word of what a command that is applied has granted.
    pub(crate) fn tell_woken(&self, reply: &Reply) {
        let Outcome::Done(success) = &reply.outcome else {
            return;
        };
        let woken = match success {
            Success::Locked { woken, .. } | Success::Unlocked(woken) => woken,
            _ => return,
        };
        for (session, woken) in by_session(woken) {
            // One that is away, or takes nothing now, finds out by asking.
            if let Some(out) = self.sessions.out(session) {
                let body = v1::server_frame::Body::LocksWoken(v1::LocksWoken { woken });
                let frame = v1::ServerFrame {
                    id: 0,
                    body: Some(body),
                };
                let _full = out.try_send(frame.into());
            }
        }
    }
}

fn by_session(woken: &[Woken]) -> BTreeMap<SessionId, Vec<v1::Woken>> {
    let mut sessions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for woken in woken {
        let of_session = sessions.entry(woken.session).or_default();
        of_session.push((*woken).into());
    }
    sessions
}
