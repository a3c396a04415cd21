//! Backups by the workers of mounts: over the engine in this process, a store that fails as it is
//! told, and dumps of a few bytes.

mod twin;

use chunk_store::{Failing, Fault, Memory, ObjectError, ObjectStore, Step, list_backups};
use fs_client::vfs::{MetaApi, Stats};
use fs_client::worker::{DumpSource, Worker, WorkerParts};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use meta_client::DumpError;
use meta_core::ids::{Epoch, Seq};
use meta_core::outcome::Token;
use meta_core::query::{Answer, QueryBody};
use meta_core::task::BackupStatus;
use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;
use twin::{Engine, TwinSession};

const PATIENCE: Duration = Duration::from_secs(30);
/// Short, so that many are due soon.
const INTERVAL: Duration = Duration::from_millis(5);

/// Dumps whose content is their number.
#[derive(Debug, Default)]
struct Numbers {
    last: AtomicU64,
    /// While it is held, no dump comes to its end.
    gate: RwLock<()>,
}

impl DumpSource for Numbers {
    fn dump(&self, out: Arc<File>) -> BoxFuture<'_, Result<Token, DumpError>> {
        async move {
            let number = self.last.fetch_add(1, SeqCst) + 1;
            (&*out).write_all(number.to_string().as_bytes())?;
            let _open = self.gate.read().await;
            Ok(Token {
                epoch: Epoch(1),
                seq: Seq(number),
            })
        }
        .boxed()
    }
}

type Store = Arc<Failing<Memory>>;

/// An engine, a bucket, and mounts that all take dumps from one place.
struct World {
    engine: Arc<Engine>,
    store: Store,
    source: Arc<Numbers>,
    ended: CancellationToken,
}

/// One mount's part.
struct Mounted {
    session: Arc<TwinSession>,
    stats: Arc<Stats>,
    _worker: Worker,
}

impl World {
    fn new() -> Self {
        Self {
            engine: Engine::new(),
            store: Arc::new(Failing::new(Memory::default())),
            source: Arc::default(),
            ended: CancellationToken::new(),
        }
    }

    fn mount(&self) -> Mounted {
        let session = TwinSession::open(&self.engine);
        let stats = Arc::<Stats>::default();
        let meta: Arc<dyn MetaApi> = Arc::clone(&session) as _;
        let parts = WorkerParts {
            meta,
            store: Arc::clone(&self.store) as _,
            slices: twin::slices(&self.engine, Arc::clone(&self.store) as _),
            source: Arc::clone(&self.source) as _,
            volume: self.engine.info().uuid,
            stats: Arc::clone(&stats),
            backup_interval: Some(INTERVAL),
            compact_interval: INTERVAL,
        };
        Mounted {
            session,
            stats,
            _worker: Worker::start(parts, &self.ended),
        }
    }

    fn status(&self) -> BackupStatus {
        match self.engine.query(QueryBody::Backup) {
            Answer::Backup(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Sequences of the backups in the bucket, each of which holds what it should.
    async fn stored(&self) -> Vec<u64> {
        let volume = self.engine.info().uuid;
        let listed = list_backups(&self.store, volume).await.expect("listed");
        let mut seqs = Vec::new();
        for backup in listed {
            let key = backup.name.key(volume);
            let seq = backup.name.token().seq.0;
            let bytes = self.store.inner().get(&key, 0..backup.bytes).await;
            assert_eq!(bytes.expect("read"), seq.to_string().as_bytes());
            seqs.push(seq);
        }
        seqs
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_backup_is_made_by_one_of_two_mounts_and_noted() {
    let world = World::new();
    let mounts = [world.mount(), world.mount()];
    let made = || {
        mounts
            .iter()
            .map(|mount| mount.stats.backups().0)
            .sum::<u64>()
    };
    until("backups", || made() >= 6).await;
    world.ended.cancel();
    // Each worker holds the source for as long as it may do anything.
    until("the workers' end", || Arc::strong_count(&world.source) == 1).await;
    let stored = world.stored().await;
    // Nobody was given one that another one was making, so no dump was made in vain but the one that
    // the end has interrupted.
    let dumps = world.source.last.load(SeqCst);
    assert!(stored.len() as u64 >= made(), "{stored:?}");
    assert!(dumps <= made() + 1, "{dumps} dumps, {} backups", made());
    assert!(mounts.iter().all(|mount| mount.stats.backups().1 == 0));
    let last = world.status().last.expect("one");
    assert!(stored.contains(&last.made.token.seq.0));
    assert!(
        last.made
            .name
            .ends_with(&format!("-1-{}.dump", last.made.token.seq))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_costs_a_backup_and_the_next_one_is_made() {
    let world = World::new();
    world.store.script(Step::Put, [Fault::NoSpace, Fault::Fail]);
    // That old ones cannot be listed is no reason to have no new one.
    world.store.script(Step::List, [Fault::Fail]);
    world.store.script(Step::Head, [Fault::Fail]);
    let mount = world.mount();
    until("failures", || mount.stats.backups().1 >= 1).await;
    until("backups", || mount.stats.backups().0 >= 2).await;
    assert_eq!(mount.stats.backups().1, 3);
    // What was stored, and whose look was lost, is there as well.
    let stored = world.stored().await;
    assert!(stored.len() >= 3, "{stored:?}");
    assert!(!stored.contains(&1) && !stored.contains(&2), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mount_gave_back_is_given_to_another_at_once() {
    let world = World::new();
    world.store.always(Step::Put, Fault::NoSpace);
    let one = world.mount();
    until("a failure", || one.stats.backups().1 >= 1).await;
    until("it is given back", || world.status().at_work.is_none()).await;
    assert_eq!(world.status().last, None);
    world.store.always(Step::Put, Fault::None);
    let other = world.mount();
    until("the other's", || other.stats.backups().0 >= 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_whose_session_was_lost_does_not_tell_of_its_backup() {
    let world = World::new();
    let shut = world.source.gate.write().await;
    let one = world.mount();
    until("a dump under way", || world.source.last.load(SeqCst) == 1).await;
    assert!(world.status().at_work.is_some());
    // It was silent too long: the task ends with the session.
    one.session.renew();
    assert_eq!(world.status().at_work, None);
    let other = world.mount();
    until("the other's dump", || world.source.last.load(SeqCst) == 2).await;
    drop(shut);
    until("both", || {
        one.stats.backups().1 >= 1 && other.stats.backups().0 >= 1
    })
    .await;
    until("the next ones", || {
        one.stats.backups().0 + other.stats.backups().0 >= 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_backups_go_when_a_new_one_is_there_and_what_is_not_ours_stays() {
    let world = World::new();
    let volume = world.engine.info().uuid;
    let old = |hour: u32| format!("{volume}/meta/dump-2001-01-02-{hour:02}0000-0-{hour}.dump");
    let other = format!("{volume}/meta/dump-of-somebody");
    for key in (0..20).map(old).chain([other.clone()]) {
        let put = world.store.inner().put(&key, "x".into()).await;
        put.expect("stored");
    }
    let left = || async {
        let prefix = format!("{volume}/meta/dump-2001");
        let listed = world.store.inner().list(&prefix, "", 100).await;
        listed.expect("listed").len()
    };
    let mount = world.mount();
    until("one", || mount.stats.backups().0 >= 1).await;
    // A clock that is wrong does not empty a bucket at once.
    let made = mount.stats.backups().0 as usize;
    assert!(left().await + 8 * (made + 2) >= 20);
    until("all", || mount.stats.backups().0 >= 4).await;
    assert_eq!(left().await, 1, "the first of that day stays");
    let first = world.store.inner().head(&old(0)).await;
    assert_eq!(first, Ok(Some(1)));
    assert_eq!(world.store.inner().head(&other).await, Ok(Some(1)));
    let none: Result<Option<u64>, ObjectError> = world.store.inner().head(&old(5)).await;
    assert_eq!(none, Ok(None));
}
