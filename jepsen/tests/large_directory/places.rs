//! Listings that go back and forth between places that they were told, while names come and go.

use crate::churn::{Churn, Churner};
use crate::{PATIENCE, directory, fill, mount, one_node, session};
use anyhow::{Context as _, Result, ensure};
use jepsen::alone::alone;
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::scratch::notice;
use jepsen::seed::seed;
use jepsen::writer::names;
use meta_client::MetaSession;
use meta_client::meta_core::ids::Ino;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::fs::{Dir, Mode, OFlags, open};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Instant;

/// Threads that change names, each second one through the other mount.
const CHURNERS: usize = 4;
/// Names that each of them begins with.
const HAS: usize = 1_000;
/// A reader lets some changes happen after so many names.
const STRETCH: usize = 100;
const CHANGES: u64 = 4;
const ROUNDS: usize = 4;
const SEEKS: usize = 20;
/// Places that are kept; beyond them a new one takes the place of an old one.
const PLACES: usize = 400;

/// A place in the directory, as telldir told it.
struct Place {
    offset: i64,
    /// How many of those that stay come before it.
    passed: usize,
    /// The name that it is behind of.
    behind: String,
}

/// Who lists, and what it knows.
struct Reader {
    /// The names that stay, as they are listed.
    order: Vec<String>,
    stay: HashSet<String>,
    churn: Churn,
    rng: StdRng,
    places: Vec<Place>,
    /// How often a listing went on behind a name that was gone.
    behind_gone: usize,
    seeks: usize,
    passes: usize,
}

fn open_dir(path: &Path) -> Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = open(path, flags, Mode::empty()).context("cannot open")?;
    Ok(Dir::new(fd)?)
}

impl Reader {
    fn new(order: Vec<String>, churn: &Churn, seed: u64) -> Self {
        let begin = Place {
            offset: 0,
            passed: 0,
            behind: String::new(),
        };
        Self {
            stay: order.iter().cloned().collect(),
            order,
            churn: churn.clone(),
            rng: StdRng::seed_from_u64(seed),
            places: vec![begin],
            behind_gone: 0,
            seeks: 0,
            passes: 0,
        }
    }

    /// Reads on where `passed` of those that stay are passed: exactly the others must come, each once, in
    /// order, until `most` names were read or the end is reached. Gives the names that were read, and how
    /// many of those that stay are passed then.
    fn read_on(
        &mut self,
        dir: &mut Dir,
        mut passed: usize,
        most: usize,
    ) -> Result<(HashSet<String>, usize)> {
        let (mut seen, mut files) = (HashSet::new(), HashSet::new());
        for count in 1.. {
            let Some(entry) = dir.read().transpose().context("cannot list")? else {
                let next = self.order.get(passed);
                ensure!(next.is_none(), "the end came before {next:?}");
                break;
            };
            let name = entry.file_name().to_str().context("not text")?.to_owned();
            if self.stay.contains(&name) {
                let next = self.order.get(passed);
                ensure!(next == Some(&name), "{name} came, and not {next:?}");
                passed += 1;
            }
            // A name that is made anew is another file.
            let is_new = files.insert((name.clone(), entry.ino()));
            ensure!(is_new, "{name} came twice");
            // A name that may go leaves a place that is harder to find again.
            let worth = if self.stay.contains(&name) {
                0.003
            } else {
                0.015
            };
            if self.rng.random_bool(worth) {
                self.remember(Place {
                    offset: entry.offset(),
                    passed,
                    behind: name.clone(),
                });
            }
            seen.insert(name);
            if count % STRETCH == 0 {
                self.churn.wait_for(CHANGES)?;
            }
            if count == most {
                break;
            }
        }
        Ok((seen, passed))
    }

    fn remember(&mut self, place: Place) {
        if self.places.len() < PLACES {
            self.places.push(place);
        } else {
            let index = self.rng.random_range(0..PLACES);
            self.places[index] = place;
        }
    }

    /// The number of a place, some of them behind names that are gone.
    fn pick(&mut self) -> usize {
        let (churn, count) = (&self.churn, self.places.len());
        let is_gone = |place: &usize| churn.is_gone(&self.places[*place].behind);
        let gone: Vec<usize> = (0..count).filter(is_gone).collect();
        if !gone.is_empty() && self.rng.random_bool(0.3) {
            gone[self.rng.random_range(0..gone.len())]
        } else {
            self.rng.random_range(0..count)
        }
    }

    /// Lists all from the beginning, where the listing is.
    fn pass(&mut self, dir: &mut Dir, begin: Instant) -> Result<()> {
        let (seen, passed) = self.read_on(dir, 0, usize::MAX)?;
        ensure!(passed == self.order.len(), "{passed} of those that stay");
        for dot in [".", ".."] {
            ensure!(seen.contains(dot), "no {dot}");
        }
        self.passes += 1;
        self.churn.check(begin, Instant::now(), &seen)
    }

    /// Goes to the place of this number and reads on from there.
    fn seek(&mut self, dir: &mut Dir, index: usize) -> Result<()> {
        let Place { offset, passed, .. } = self.places[index];
        self.behind_gone += usize::from(self.churn.is_gone(&self.places[index].behind));
        let behind = self.places[index].behind.clone();
        dir.seek(offset)?;
        let to_the_end = self.rng.random_bool(0.25);
        let most = if to_the_end {
            usize::MAX
        } else {
            self.rng.random_range(1..700)
        };
        self.seeks += 1;
        self.read_on(dir, passed, most)
            .with_context(|| format!("from {offset}, behind {behind:?} and {passed} that stay"))?;
        Ok(())
    }

    /// A whole listing, then back and forth on it and on others that are open, then again from the beginning.
    fn round(&mut self, own: &Path, other: &Path) -> Result<()> {
        let begin = Instant::now();
        let mut dirs = vec![open_dir(own)?];
        self.pass(&mut dirs[0], begin).context("a whole listing")?;
        // Places that one descriptor told serve others, of this mount and of another.
        dirs.extend([open_dir(own)?, open_dir(other)?]);
        for _ in 0..SEEKS {
            let (place, dir) = (self.pick(), self.rng.random_range(0..dirs.len()));
            self.seek(&mut dirs[dir], place)?;
        }
        for dir in &mut dirs {
            let begin = Instant::now();
            dir.rewind();
            self.pass(dir, begin).context("from the beginning again")?;
        }
        Ok(())
    }
}

/// Two mounts, names that stay in a directory, and threads that change others.
struct Scene {
    mounts: [Mount; 2],
    threads: Vec<JoinHandle<Churner>>,
    reader: Reader,
}

fn at(mount: &Mount) -> PathBuf {
    mount.path().join("dir")
}

impl Scene {
    /// Half of the names that stay are made before others change, and half meanwhile.
    async fn begin(
        mounts: [Mount; 2],
        session: &MetaSession,
        dir: Ino,
        stay: usize,
        seed: u64,
    ) -> Result<Self> {
        let churn = Churn::default();
        let own = |churner: usize| format!("name of {churner}");
        let has =
            move |churner: usize| (0..HAS).map(move |n| format!("{} at first {n}", own(churner)));
        let stays = |number: usize| format!("it stays {number}");
        // In turns, so that all are among each other.
        let both = (0..stay / 2).map(stays);
        let others = (0..HAS).flat_map(move |n| (0..CHURNERS).map(move |c| (c, n)));
        let others = others.map(move |(c, n)| format!("name of {c} at first {n}"));
        fill(session, dir, mixed(both, others)).await?;
        let mut threads = Vec::new();
        for churner in 0..CHURNERS {
            let path = at(&mounts[churner % 2]);
            let seed = seed.wrapping_add(1 + churner as u64);
            let names = has(churner).collect();
            let churner = Churner::new(&churn, &path, &own(churner), seed, names);
            threads.push(churner.begin());
        }
        for number in (stay / 2..stay).step_by(50) {
            churn.wait_for(1)?;
            let some = (number..stay.min(number + 50)).map(stays);
            fill(session, dir, some).await?;
        }
        let all = names(session, dir).await?;
        let all = all.into_iter().map(|(name, _)| name);
        let order: Vec<String> = all.filter(|name| name.starts_with("it stays ")).collect();
        let distinct: BTreeSet<&String> = order.iter().collect();
        ensure!(
            (order.len(), distinct.len()) == (stay, stay),
            "not all are there"
        );
        let reader = Reader::new(order, &churn, seed);
        Ok(Self {
            mounts,
            threads,
            reader,
        })
    }

    fn stop(&mut self) -> Vec<Churner> {
        self.reader.churn.stop();
        let ended = self.threads.drain(..);
        ended
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    }

    /// Ends the first mount and mounts anew, while names go on to change through the other.
    fn remount(mut self, again: impl FnOnce() -> Mount) -> Result<Self> {
        let churners = self.stop();
        self.reader.churn.go_on();
        let [left, right] = self.mounts;
        let through_other = |churner: Churner| churner.through(&at(&right)).begin();
        let threads = churners.into_iter().map(through_other).collect();
        left.unmount()?;
        self.reader.churn.wait_for(CHANGES)?;
        Ok(Self {
            mounts: [again(), right],
            threads,
            reader: self.reader,
        })
    }

    /// What is there once nothing changes any more.
    fn end(mut self) -> Result<[Mount; 2]> {
        self.stop();
        let stay = self.reader.stay.iter().cloned();
        let expected: BTreeSet<String> = self.reader.churn.left().into_iter().chain(stay).collect();
        for mount in &self.mounts {
            let mut found = BTreeSet::new();
            for entry in std::fs::read_dir(at(mount))? {
                let name = entry?.file_name().into_string();
                let name = name.ok().context("not text")?;
                ensure!(found.insert(name.clone()), "{name} came twice");
            }
            let differ: Vec<_> = found.symmetric_difference(&expected).take(5).collect();
            ensure!(differ.is_empty(), "{differ:?}");
        }
        Ok(self.mounts)
    }
}

/// Items of both, in turns as long as there are some of each.
fn mixed<T>(
    left: impl Iterator<Item = T>,
    right: impl Iterator<Item = T>,
) -> impl Iterator<Item = T> {
    let (mut left, mut right) = (left.fuse(), right.fuse());
    let mut turn = false;
    std::iter::from_fn(move || {
        turn = !turn;
        if turn {
            left.next().or_else(|| right.next())
        } else {
            right.next().or_else(|| left.next())
        }
    })
}

async fn listings_go_on(test: &str, short: &str, stay: usize) {
    if skip_unless_fuse(test) {
        return;
    }
    let _alone = alone().expect("the turn");
    let seed = seed(test).expect("a seed");
    let mut cluster = one_node(short).await;
    let session = session(&cluster).await;
    let dir = directory(&session, "dir").await;
    let mounts = ["left", "right"].map(|name| mount(&cluster, name));
    let scene = Scene::begin(mounts, &session, dir, stay, seed).await;
    let mut scene = scene.expect("a scene");
    session.close().await;
    for round in 0..ROUNDS {
        let [left, right] = scene.mounts.each_ref().map(at);
        let went = scene.reader.round(&left, &right);
        went.unwrap_or_else(|error| panic!("round {round}: {error:#}"));
    }
    let scene = scene.remount(|| mount(&cluster, "left"));
    let mut scene = scene.expect("mounted again");
    let mut listing = open_dir(&at(&scene.mounts[0])).expect("opened");
    let places = scene.reader.places.len();
    assert_eq!(places, PLACES);
    for place in 0..places {
        let went = scene.reader.seek(&mut listing, place);
        went.unwrap_or_else(|error| panic!("mounted again: {error:#}"));
    }
    drop(listing);
    let reader = &scene.reader;
    let (passes, seeks, gone) = (reader.passes, reader.seeks, reader.behind_gone);
    let changes = reader.churn.changes();
    notice(&format!(
        "{test}: {passes} whole listings, {seeks} from places, {gone} of them behind a name that was gone; \
         {changes} changes"
    ));
    assert!(
        gone > seeks / 20,
        "places behind names that are gone: {gone}"
    );
    for mount in scene.end().expect("what was left") {
        mount.unmount().expect("unmounted");
    }
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}

/// A directory that is small enough for a mount to keep its listing under a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_go_on_from_every_place_they_were_told_while_names_change() {
    let test = "listings_go_on_from_every_place_they_were_told_while_names_change";
    listings_go_on(test, "places", 5_000).await;
}

/// One that is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_of_a_large_directory_go_on_from_every_place_they_were_told() {
    let test = "listings_of_a_large_directory_go_on_from_every_place_they_were_told";
    listings_go_on(test, "places-large", 18_000).await;
}
