//! The way from a mirror to its origin is cut, silent, or brings damaged bytes.

use super::fault::{Fault, Hit, in_turn};
use crate::campaign::scene::Extras;
use crate::cluster::Cluster;
use crate::proxy::Proxy;
use crate::wait;
use anyhow::{Context, Result};
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Bytes up to which a connection lives, or comes undamaged.
const BYTES: u64 = 20_000;
/// Bytes up to which it comes undamaged until a bit was flipped: so many come at once.
const FIRST_BYTES: u64 = 1_000;

/// How long a bit that is to be flipped may take to come: a mirror that was cut off for some seconds
/// waits before it asks again.
const FLIP_LIMIT: Duration = Duration::from_secs(10);

/// Faults of the stream of records.
#[derive(Default)]
pub(super) struct Stream {
    links: Option<Arc<Vec<Proxy>>>,
    faults: u32,
}

impl Stream {
    fn links(&self) -> Result<&Arc<Vec<Proxy>>> {
        self.links.as_ref().context("this workload has no mirror")
    }
}

/// Flips one bit. Three times in a row at one place would rightly stop the mirror.
async fn flip_once(links: &[Proxy], rng: &mut StdRng) {
    let flips = || links.iter().map(Proxy::flips).sum::<u64>();
    let before = flips();
    let bytes = [FIRST_BYTES, BYTES][usize::from(before > 0)];
    let bit = rng.random_range(0..bytes * 8);
    for link in links {
        link.flip(Some(bit));
        link.cut();
    }
    let flipped = wait::until("a bit to be flipped", FLIP_LIMIT, async || {
        Ok((flips() > before).then_some(()).ok_or(String::new()))
    });
    // So few bytes may come that there is no such bit among them.
    let _maybe_not = flipped.await;
    links.iter().for_each(|link| link.flip(None));
}

#[async_trait(?Send)]
impl Fault for Stream {
    fn attach(&mut self, extras: &Extras) {
        self.links = extras.stream.clone();
    }

    fn hits_nodes(&self) -> bool {
        false
    }

    fn lasts_ms(&self) -> Range<u64> {
        500..5_000
    }

    async fn hurt(
        &mut self,
        _cluster: &mut Cluster,
        _hit: &Hit,
        rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        let links = Arc::clone(self.links()?);
        match self.faults % 3 {
            0 => links.iter().for_each(|link| link.hold(true)),
            1 => {
                for link in links.iter() {
                    link.cut_after(Some(rng.random_range(0..BYTES)));
                    link.cut();
                }
            }
            _ => flip_once(&links, rng).await,
        }
        self.faults += 1;
        Ok(Vec::new())
    }

    async fn heal(&mut self, _cluster: &mut Cluster, _hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        for link in self.links()?.iter() {
            link.mend();
        }
        Ok(())
    }

    fn gap(&self) -> Option<String> {
        let links = self.links.as_ref()?;
        let cuts = links.iter().map(Proxy::cuts).sum();
        in_turn(self.faults, cuts, links.iter().map(Proxy::flips).sum())
    }
}
