//! A mirror whose link to its origin is cut at whatever byte, flips bits and falls silent, while the origin is
//! written to: it ends with the origin's records, each of them once.

use jepsen::alone::alone;
use jepsen::pair::Pair;
use jepsen::proxy::Proxy;
use jepsen::scratch::notice;
use jepsen::seed::seed;
use jepsen::wait;
use jepsen::writer::{Crew, check};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// More than the head of the changelog, which is all that is read when a mirror is made, and less
/// than the snapshot.
const MAKING_LIMIT: u64 = 16_000;
/// Bytes of the origin after which the loading of the snapshot is cut: from before the first frame
/// to well inside the rows.
const LOADING_LIMITS: [u64; 8] = [0, 60, 300, 1_000, 3_000, 8_000, 16_000, 24_000];
/// Operations written before the mirror is made: a snapshot of more bytes than the limits.
const WRITTEN_FIRST: u64 = 2_500;
const TAIL_CUTS: u64 = 30;
const TAIL_LIMIT_MAX: u64 = 20_000;
const TAIL_FLIPS: u64 = 30;

/// Waits until the proxy has cut more than `before` connections.
async fn cut_past(proxy: &Proxy, before: u64) {
    let cut = wait::until("a connection to be cut", PATIENCE, async || {
        let cuts = proxy.cuts();
        Ok((cuts > before).then_some(()).ok_or(format!("{cuts} cuts")))
    });
    cut.await.expect("cut");
}

/// Cuts whatever is connected, and if nothing is, what comes next.
async fn sever(proxy: &Proxy) {
    let before = proxy.cuts();
    let cut = wait::until("a connection to cut", PATIENCE, async || {
        proxy.cut();
        let cuts = proxy.cuts();
        Ok((cuts > before).then_some(()).ok_or(format!("{cuts} cuts")))
    });
    cut.await.expect("cut");
}

/// Makes the mirror, which is told the proxy's address, over a link that is cut in time to keep it
/// from loading.
async fn make(pair: &Pair, proxy: &Proxy) {
    let url = pair.origin_url_by(&proxy.addr());
    let both = pair.mirroring_by(&url).await.expect("both sides");
    proxy.cut_after(Some(MAKING_LIMIT));
    // The link may be cut before the head is read. Done again it changes nothing.
    let made = wait::until("the mirror to be made", PATIENCE, async || {
        Ok(both.add("near").await.map_err(|error| error.to_string()))
    });
    made.await.expect("made");
    let mirror = pair.at_mirror().await.expect("a volume").mirror;
    let info = mirror.expect("a mirror").info;
    let told = String::from_utf8_lossy(&info);
    assert!(told.contains(&proxy.addr()), "{told}");
}

async fn cut_the_loading(pair: &Pair, proxy: &Proxy) {
    for limit in LOADING_LIMITS {
        let before = proxy.cuts();
        proxy.cut_after(Some(limit));
        cut_past(proxy, before).await;
        let mirror = pair.at_mirror().await.expect("a volume").mirror;
        let mirror = mirror.expect("a mirror");
        assert_eq!(mirror.state, "loading", "cut after {limit}: {mirror:?}");
    }
    proxy.cut_after(None);
    pair.following(PATIENCE).await.expect("it follows");
    pair.caught_up(PATIENCE).await.expect("it goes on");
}

async fn cut_the_tail(pair: &Pair, proxy: &Proxy, rng: &mut StdRng) {
    for round in 0..TAIL_CUTS {
        let limit = rng.random_range(0..TAIL_LIMIT_MAX);
        proxy.cut_after(Some(limit));
        sever(proxy).await;
        // The connection after it is the one that is cut at its byte.
        cut_past(proxy, proxy.cuts()).await;
        proxy.cut_after(None);
        let on = pair.caught_up(PATIENCE).await;
        on.unwrap_or_else(|e| panic!("round {round}, cut after {limit}: {e:#}"));
    }
}

/// What the network damaged is asked for again: the mirror neither takes it in nor stops.
async fn damage_the_tail(pair: &Pair, proxy: &Proxy, rng: &mut StdRng) {
    for round in 0..TAIL_FLIPS {
        let before = proxy.flips();
        let bit = rng.random_range(0..TAIL_LIMIT_MAX * 8);
        proxy.flip(Some(bit));
        sever(proxy).await;
        let flipped = wait::until("a bit to be flipped", PATIENCE, async || {
            let flips = proxy.flips();
            Ok((flips > before).then_some(()).ok_or(format!("{flips}")))
        });
        flipped.await.expect("flipped");
        proxy.flip(None);
        let on = pair.caught_up(PATIENCE).await;
        on.unwrap_or_else(|e| panic!("round {round}, bit {bit} flipped: {e:#}"));
    }
}

/// The link neither ends nor brings anything: the follower has to notice that by itself.
async fn fall_silent(pair: &Pair, proxy: &Proxy, crew: &Crew) {
    // What is written after the cut came over a connection that has no limit.
    sever(proxy).await;
    crew.progress(20, PATIENCE).await.expect("writes");
    pair.caught_up(PATIENCE).await.expect("a link");
    let (connections, cuts) = (proxy.connections(), proxy.cuts());
    let begin = Instant::now();
    proxy.hold(true);
    let held_at = pair.at_mirror().await.expect("a volume").seq;
    let given_up = wait::until("the follower to try anew", PATIENCE, async || {
        let now = proxy.connections();
        Ok((now > connections).then_some(()).ok_or(format!("{now}")))
    });
    given_up.await.expect("given up");
    let silence = begin.elapsed();
    assert!(silence > Duration::from_secs(1), "{silence:?}");
    crew.progress(50, PATIENCE).await.expect("writes go on");
    let silent = pair.at_mirror().await.expect("a volume");
    let trouble = silent.mirror.expect("a mirror").trouble;
    assert!(!trouble.is_empty(), "it says that there is no stream");
    assert_eq!(proxy.cuts(), cuts, "nobody but the follower ended it");
    proxy.hold(false);
    let seq = pair.caught_up(PATIENCE).await.expect("it goes on");
    pair.following(PATIENCE).await.expect("it follows");
    notice(&format!(
        "mirror_stream: silent at {held_at}, given up after {silence:?}, on to {seq}"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_stream_loses_and_repeats_no_record() {
    let _alone = alone().expect("the turn");
    let seed = seed("mirror_stream").expect("a seed");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pair = Pair::start("mirror-stream", 1, 1).await.expect("two sides");
    let origin = pair.origin.node(1).expect("a node").addr().to_owned();
    let proxy = Proxy::start(&origin).await.expect("a proxy");
    let url = pair.origin_url();
    let crew = Crew::begin(&url, 1, 4, seed).await.expect("writers");
    let written = crew.progress(WRITTEN_FIRST, PATIENCE).await;
    written.expect("writes");
    make(&pair, &proxy).await;
    cut_the_loading(&pair, &proxy).await;
    cut_the_tail(&pair, &proxy, &mut rng).await;
    damage_the_tail(&pair, &proxy, &mut rng).await;
    fall_silent(&pair, &proxy, &crew).await;
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    // What was lost or taken in twice would show in the seq or in the digest.
    let seq = pair.agreed(PATIENCE).await.expect("the sides agree");
    let both = pair.mirroring().await.expect("both sides");
    let verified = both.verify().await.expect("compared");
    assert!(verified.agrees(), "{verified:?}");
    let checked = check(&url, &written)
        .await
        .expect("readable")
        .expect("nothing wrong");
    let (connections, cuts) = (proxy.connections(), proxy.cuts());
    notice(&format!(
        "mirror_stream: {checked:?}; both sides at {seq}; {cuts} of {connections} connections cut, \
         {} bits flipped",
        proxy.flips()
    ));
    let loading = u64::try_from(LOADING_LIMITS.len()).expect("few");
    let least = loading + 2 * TAIL_CUTS + TAIL_FLIPS;
    assert!(cuts >= least, "{cuts} cuts");
    assert!(connections > cuts, "the last ones lived");
    pair.origin.check_stores(PATIENCE).await.expect("sound");
    pair.mirror.check_stores(PATIENCE).await.expect("sound");
}
