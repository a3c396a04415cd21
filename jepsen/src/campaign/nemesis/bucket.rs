//! A bucket that is silent, that cuts connections, or whose answers come damaged.

use super::fault::{Fault, Hit, in_turn};
use crate::campaign::mounts::Mounts;
use crate::campaign::scene::Extras;
use crate::cluster::Cluster;
use anyhow::{Context, Result};
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::ops::Range;
use std::sync::Arc;

/// Of a connection's answers, a bit up to this one is flipped.
const BITS: u64 = 100_000 * 8;
/// Up to this one until a bit was flipped: so many come with the first answers.
const FIRST_BITS: u64 = 10_000 * 8;
/// Bytes of answers up to which a connection lives.
const BYTES: u64 = 50_000;

/// Faults between the mounts and their bucket.
#[derive(Default)]
pub(super) struct Bucket {
    mounts: Option<Arc<Mounts>>,
    faults: u32,
}

#[async_trait(?Send)]
impl Fault for Bucket {
    fn attach(&mut self, extras: &Extras) {
        self.mounts = extras.mounts.clone();
    }

    fn hits_nodes(&self) -> bool {
        false
    }

    fn lasts_ms(&self) -> Range<u64> {
        500..4_000
    }

    async fn hurt(
        &mut self,
        _cluster: &mut Cluster,
        _hit: &Hit,
        rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        let mounts = self.mounts.as_ref();
        let bucket = mounts.context("this workload has no bucket")?.bucket();
        match self.faults % 3 {
            0 => {
                println!("nemesis: the bucket's connections are cut");
                bucket.cut_after(Some(rng.random_range(0..BYTES)));
                bucket.cut();
            }
            1 => {
                println!("nemesis: the bucket is silent");
                bucket.hold(true);
            }
            _ => {
                println!("nemesis: the bucket's answers are damaged");
                let bits = [FIRST_BITS, BITS][usize::from(bucket.flips() > 0)];
                bucket.flip(Some(rng.random_range(0..bits)));
                bucket.cut();
            }
        }
        self.faults += 1;
        Ok(Vec::new())
    }

    async fn heal(&mut self, _cluster: &mut Cluster, _hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        let mounts = self.mounts.as_ref();
        mounts
            .context("this workload has no bucket")?
            .bucket()
            .mend();
        Ok(())
    }

    fn gap(&self) -> Option<String> {
        let bucket = self.mounts.as_ref()?.bucket();
        in_turn(self.faults, bucket.cuts(), bucket.flips())
    }
}
