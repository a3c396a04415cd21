//! The suite pjdfstest on a real mount, beside ext4.

use jepsen::alone::beside_others;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::{skip, skip_unless_fuse};
use jepsen::loop_image::{Kind, LoopImage, loop_missing};
use jepsen::mount::Mount;
use jepsen::pjdfstest::run;
use jepsen::scratch::notice;
use std::time::{Duration, Instant};

const NAME: &str = "posix_cases_pass_as_on_ext4_and_no_more_are_skipped";
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posix_cases_pass_as_on_ext4_and_no_more_are_skipped() {
    if skip_unless_fuse(NAME) {
        return;
    }
    if let Some(why) = loop_missing() {
        return skip(NAME, &why);
    }
    let _turn = beside_others().expect("the turn");
    let mut cluster = Cluster::start(ClusterOptions::new("pjdfstest", 1))
        .await
        .expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let dir = cluster.dir().to_owned();
    let image = dir.join("ext4");
    let ext4 = LoopImage::new(Kind::Ext4, &dir, &image).expect("an image");
    let (point, log) = (dir.join("curlew"), dir.join("curlew.log"));
    let mount = Mount::start(&cluster.url("vol"), &point, &log, &[]).expect("mounted");

    let begin = Instant::now();
    let reference = run(&image, &point, &dir).expect("a report of ext4");
    let between = Instant::now();
    let report = run(&point, &image, &dir).expect("a report of Curlew");
    notice(&format!(
        "pjdfstest, {:.1} s on Curlew, {:.1} s on ext4:\n{}",
        between.elapsed().as_secs_f64(),
        (between - begin).as_secs_f64(),
        report.beside("curlew", &reference, "ext4")
    ));
    let objections = report.objections(&reference);
    assert!(objections.is_empty(), "{}", objections.join("\n"));

    mount.unmount().expect("unmounted");
    drop(ext4);
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}
