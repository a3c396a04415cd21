//! Twenty cuts of the power on real file systems, a fifth of them of all nodes at once.

use jepsen::alone::alone;
use jepsen::fuse::skip;
use jepsen::loop_image::loop_missing;
use jepsen::power::cut;
use jepsen::scratch::notice;
use jepsen::seed::seed;

const CYCLES: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_the_power() {
    if let Some(why) = loop_missing() {
        return skip("power loss", &why);
    }
    let _alone = alone().expect("the turn");
    let seed = seed("power_loss").expect("a seed");
    let report = cut(CYCLES, seed).await.expect("nothing is lost");
    notice(&format!("power_loss: {report:?}"));
    assert_eq!((report.alone, report.all), (CYCLES * 4 / 5, CYCLES / 5));
    assert!(
        report.checked.acknowledged > 600,
        "the writers wrote enough to tell"
    );
}
