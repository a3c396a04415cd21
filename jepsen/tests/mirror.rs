//! A volume in two clusters: the mirror follows, its reads include what the reader has seen, and
//! nothing is lost whoever is killed.

use jepsen::alone::alone;
use jepsen::binaries::binary;
use jepsen::pair::Pair;
use jepsen::scratch::notice;
use jepsen::seed::seed;
use jepsen::wait;
use jepsen::writer::{Crew, check};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::{Create, Existing, NewNode, Operation};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::name::Name;
use meta_client::meta_core::outcome::{Refusal, Success};
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::{
    ClientError, Cluster, MetaSession, MetaUrl, MirrorCounts, MirrorOptions, SessionOptions,
};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use std::process::Command;
use std::time::Duration;

const ROUNDS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(30);

async fn session(pair: &Pair, retry_for: Option<Duration>) -> MetaSession {
    let url: MetaUrl = pair.origin_url().parse().expect("a URL");
    let options = SessionOptions {
        retry_for,
        mirror: Some(MirrorOptions {
            url: pair.mirror_url().parse().expect("a URL"),
            wait: Duration::from_millis(200),
        }),
        ..SessionOptions::default()
    };
    MetaSession::open(&url, options).await.expect("a session")
}

async fn create(session: &MetaSession, name: &str) -> Result<Ino, ClientError> {
    let operation = Operation::Create(Create {
        parent: Ino::ROOT,
        name: Name::new(name).expect("a name"),
        mode: 0o644,
        node: NewNode::Regular,
        masked: 0,
        existing: Existing::Refuse,
    });
    match session.execute(Caller::root(), operation).await? {
        Success::Entry { attr, .. } => Ok(attr.ino),
        other => panic!("{other:?}"),
    }
}

async fn lookup(session: &MetaSession, name: &str) -> Result<Ino, ClientError> {
    let body = QueryBody::Lookup {
        parent: Ino::ROOT,
        name: Name::new(name).expect("a name"),
    };
    match session.query(Caller::root(), body).await? {
        Answer::Attr(attr) => Ok(attr.ino),
        other => panic!("{other:?}"),
    }
}

fn counts(session: &MetaSession) -> MirrorCounts {
    session.status().mirror.expect("a mirror").counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_at_a_mirror_include_what_the_session_has_done() {
    let _alone = alone().expect("the turn");
    let pair = Pair::start("mirror-reads", 3, 1).await.expect("two sides");
    let session = session(&pair, None).await;
    // There is no mirror yet: the origin answers.
    let before = create(&session, "before").await.expect("created");
    assert_eq!(lookup(&session, "before").await, Ok(before));
    assert_eq!(counts(&session).served, 0);
    pair.follow(PATIENCE).await.expect("a mirror");
    let served = wait::until("an answer of the mirror", PATIENCE, async || {
        assert_eq!(lookup(&session, "before").await, Ok(before));
        let counts = counts(&session);
        Ok((counts.served > 0)
            .then_some(())
            .ok_or(format!("{counts:?}")))
    });
    served.await.expect("served");
    for index in 0..300 {
        let name = format!("file-{index}");
        let ino = create(&session, &name).await.expect("created");
        assert_eq!(lookup(&session, &name).await, Ok(ino), "{name}");
    }
    let gone = ClientError::Refused(Refusal::NotFound);
    assert_eq!(lookup(&session, "never").await, Err(gone));
    let counts = counts(&session);
    notice(&format!("mirror: {counts:?}"));
    assert!(counts.served > 200, "{counts:?}");
    let seq = pair.agreed(PATIENCE).await.expect("agreement");
    let both = pair.mirroring().await.expect("both sides");
    let verified = both.verify().await.expect("compared");
    assert!(verified.agrees(), "{verified:?}");
    assert!(
        verified.rows > 600 && verified.mark.seq.0 > seq,
        "{verified:?}"
    );
    session.close().await;
}

/// What a program said on both streams, and its exit status.
fn curlew(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary("curlew").expect("built"));
    let output = command.args(arguments).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_is_gone_is_forgotten() {
    let _alone = alone().expect("the turn");
    let mut pair = Pair::start("mirror-forget", 1, 1).await.expect("two sides");
    pair.follow(PATIENCE).await.expect("a mirror");
    let url: MetaUrl = pair.origin_url().parse().expect("a URL");
    let client = Cluster::connect(&url.addrs, PATIENCE)
        .await
        .expect("reached");
    let volume = client.find_volume(&url.volume).await.expect("the volume");
    let known = client.followers(volume.id).await.expect("known mirrors");
    let [(name, _)] = &known[..] else {
        panic!("{known:?}");
    };
    pair.mirror.node(1).expect("a node").kill().expect("killed");
    let url = pair.origin_url();
    let (code, said) = curlew(&["mirror", "remove", &url, "--name", "another"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("it has {name}")), "{said}");
    let (code, said) = curlew(&["mirror", "remove", &url, "--name", name]);
    assert_eq!(code, Some(0), "{said}");
    let known = client.followers(volume.id).await.expect("known mirrors");
    assert!(known.is_empty(), "{known:?}");
    let (code, said) = curlew(&["mirror", "remove", &url, "--name", name]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it has none"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_origin_down_reads_go_on_and_writes_wait_and_fail() {
    let _alone = alone().expect("the turn");
    let mut pair = Pair::start("mirror-down", 1, 1).await.expect("two sides");
    pair.follow(PATIENCE).await.expect("a mirror");
    let session = session(&pair, Some(Duration::from_secs(3))).await;
    let ino = create(&session, "file").await.expect("created");
    pair.agreed(PATIENCE).await.expect("agreement");
    pair.origin.node(1).expect("a node").kill().expect("killed");
    for _read in 0..20 {
        assert_eq!(lookup(&session, "file").await, Ok(ino));
    }
    let write = create(&session, "other").await;
    let told = write.expect_err("nobody takes it").to_string();
    notice(&format!("origin down: {told}"));
    assert_eq!(lookup(&session, "file").await, Ok(ino));
    pair.origin
        .node(1)
        .expect("a node")
        .start()
        .expect("started");
    pair.origin.wait_ready(PATIENCE).await.expect("ready");
    create(&session, "third").await.expect("the origin is back");
    lookup(&session, "third").await.expect("found");
    // And the other way round: without its mirror the session reads at the origin.
    pair.mirror.node(1).expect("a node").kill().expect("killed");
    let before = counts(&session).unavailable;
    let fourth = create(&session, "fourth").await.expect("created");
    assert_eq!(lookup(&session, "fourth").await, Ok(fourth));
    assert!(counts(&session).unavailable > before);
    pair.mirror
        .node(1)
        .expect("a node")
        .start()
        .expect("started");
    pair.following(PATIENCE).await.expect("it follows again");
    pair.agreed(PATIENCE).await.expect("agreement");
    session.close().await;
}

/// Who is killed in a round: one node of either side, or all of one side.
fn victims(pair: &Pair, rng: &mut StdRng) -> (Vec<u64>, Vec<u64>) {
    let (mut origin, mut mirror) = (pair.origin.ids(), pair.mirror.ids());
    origin.shuffle(rng);
    mirror.shuffle(rng);
    match rng.random_range(0..6) {
        0 | 1 => (origin[..1].to_vec(), Vec::new()),
        2 => (Vec::new(), mirror[..1].to_vec()),
        3 => (origin[..1].to_vec(), mirror[..1].to_vec()),
        4 => (origin, Vec::new()),
        _ => (Vec::new(), mirror),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_two_sides_in_20_rounds_of_kill() {
    let _alone = alone().expect("the turn");
    let seed = seed("mirror_kill_rounds").expect("a seed");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pair = Pair::start("mirror-kill", 3, 3).await.expect("two sides");
    let at_origin: MetaUrl = pair.origin_url().parse().expect("a URL");
    let plain = MetaSession::open(&at_origin, SessionOptions::default()).await;
    let sessions = vec![plain.expect("a session"), session(&pair, None).await];
    let crew = Crew::begin_over(sessions, 4, seed).await.expect("writers");
    crew.progress(200, PATIENCE).await.expect("writes");
    // The snapshot is taken while they write.
    pair.follow(PATIENCE).await.expect("a mirror");
    for round in 0..ROUNDS {
        let (origin, mirror) = victims(&pair, &mut rng);
        for id in &origin {
            pair.origin
                .node(*id)
                .expect("a node")
                .kill()
                .expect("killed");
        }
        for id in &mirror {
            pair.mirror
                .node(*id)
                .expect("a node")
                .kill()
                .expect("killed");
        }
        // The fault's length, not a wait for anything.
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..1_000))).await;
        for id in &origin {
            pair.origin
                .node(*id)
                .expect("a node")
                .start()
                .expect("started");
        }
        for id in &mirror {
            pair.mirror
                .node(*id)
                .expect("a node")
                .start()
                .expect("started");
        }
        let on = crew.progress(50, PATIENCE).await;
        on.unwrap_or_else(|e| panic!("round {round}: {e:#}\n{}", pair.log_tails(20)));
    }
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    let seq = pair.agreed(PATIENCE).await.expect("the sides agree");
    let checked = check(&pair.origin_url(), &written)
        .await
        .expect("readable")
        .expect("nothing wrong");
    notice(&format!(
        "mirror_kill_rounds: {checked:?}; both sides at {seq}"
    ));
    let both = pair.mirroring().await.expect("both sides");
    let verified = both.verify().await.expect("compared");
    assert!(verified.agrees(), "{verified:?}");
    assert_eq!(checked.unknown, 0, "every end is known");
    pair.origin.check_stores(PATIENCE).await.expect("sound");
    pair.mirror.check_stores(PATIENCE).await.expect("sound");
}
