//! Brings a cluster into a state that a test needs: who leads, and how far back logs reach.

use super::{ASK, Cluster};
use crate::http::metric;
use crate::wait;
use anyhow::Result;
use meta_client::{node_status, transfer_leader};
use std::time::Duration;

impl Cluster {
    /// Makes a node lead, unless it has ended.
    ///
    /// # Errors
    /// When it does not lead within `within`.
    pub async fn make_lead(&mut self, id: u64, within: Duration) -> Result<()> {
        wait::until("the node to lead", within, async || {
            if !self.node(id)?.running()? {
                return Ok(Ok(()));
            }
            let leader = self.leader(within).await?;
            if leader == id {
                return Ok(Ok(()));
            }
            let addr = self.node(leader)?.addr().to_owned();
            let moved = transfer_leader(&addr, id, ASK).await;
            Ok(Err(format!("{leader} leads: {moved:?}")))
        })
        .await
    }

    /// Reads that were answered under a leader's lease, by those nodes that say so, since each was started.
    pub async fn lease_reads(&self, within: Duration) -> u64 {
        let mut reads = 0;
        for node in &self.nodes {
            let told = metric(node.metrics_addr(), "curlew_meta_lease_reads_total", within);
            // One that does not answer has told nobody anything either.
            reads += told.await.unwrap_or_default() as u64;
        }
        reads
    }

    /// Waits until a node has purged all that is in its log when this is called, or has ended. Only
    /// writes bring that about.
    ///
    /// # Errors
    /// When it has not within `within`.
    pub async fn purged(&mut self, id: u64, within: Duration) -> Result<()> {
        let node = self.node(id)?;
        let (addr, metrics) = (node.addr().to_owned(), node.metrics_addr().to_owned());
        let mut last = None;
        wait::until("the log to be purged", within, async || {
            if !node.running()? {
                return Ok(Ok(()));
            }
            let Some(last) = last else {
                let status = node_status(&addr, ASK).await;
                last = status.as_ref().ok().map(|status| status.last_log_index);
                return Ok(Err(format!("{:?}", status.err())));
            };
            let purged = metric(&metrics, "curlew_meta_purged_index", ASK).await;
            Ok(match purged {
                Ok(purged) if purged > last as f64 => Ok(()),
                other => Err(format!("purged {other:?} of {last}")),
            })
        })
        .await
    }
}
