//! What the network of a node does to packets from and to others. Each function acts on the namespace
//! of the calling thread.

use super::space::INTERFACE;
use super::tools::{feed, run};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

/// A packet of the greatest length, with the header of its frame.
const PACKET_BYTES: u64 = 1_514;
/// Packets that wait for a slow way; more are lost, as at any router.
const WAITING_MAX: u32 = 32;

/// Of the packets that come from each of these, such a share is lost, at random; of those that come
/// from others, none. 1 loses all.
pub(crate) fn shed(shares: &[(Ipv4Addr, f64)]) -> Result<()> {
    let mut rules = "*filter\n:INPUT ACCEPT [0:0]\n".to_owned();
    for (from, share) in shares {
        let some = if *share < 1.0 {
            format!("-m statistic --mode random --probability {share} ")
        } else {
            String::new()
        };
        // Writing to a String cannot fail.
        let _infallible = writeln!(rules, "-A INPUT -s {from} {some}-j DROP");
    }
    rules += "COMMIT\n";
    // At once, instead of all rules that there were.
    feed("iptables-restore", "-w", &rules).map(drop)
}

/// Packets lost by the rules that there are.
pub(crate) fn dropped() -> Result<u64> {
    let rules = run("iptables-save", "-c -t filter")?;
    let drops = rules.lines().filter(|line| line.contains("-A INPUT"));
    drops
        .map(|line| {
            let counted = line.strip_prefix('[').and_then(|line| line.split_once(':'));
            let packets = counted.and_then(|(packets, _)| packets.parse::<u64>().ok());
            packets.with_context(|| format!("cannot read a rule's count: {line}"))
        })
        .sum()
}

/// Of the packets that go to each of these, one after the other takes so long, if it is as long as can
/// be, and a shorter one less. Those to others take no time.
pub(crate) fn pace(paces: &[(Ipv4Addr, Duration)]) -> Result<()> {
    // What was there before goes, with what waits in it.
    let mut lines = format!("qdisc replace dev {INTERFACE} root noqueue\n");
    if !paces.is_empty() {
        lines += &format!("qdisc replace dev {INTERFACE} root handle 1: htb\n");
    }
    for (number, (to, by)) in (1..).zip(paces) {
        let class = format!("1:{number}");
        let packets = 1_000_000.0 / by.as_micros().max(1) as f64;
        let rate = (packets * 8.0 * PACKET_BYTES as f64).max(8.0);
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            lines,
            "class add dev {INTERFACE} parent 1: classid {class} htb rate {rate:.0}bit \
             burst {PACKET_BYTES} cburst {PACKET_BYTES} quantum {PACKET_BYTES}\n\
             qdisc add dev {INTERFACE} parent {class} pfifo limit {WAITING_MAX}\n\
             filter add dev {INTERFACE} parent 1: protocol ip u32 match ip dst {to}/32 flowid {class}"
        );
    }
    feed("tc", "-batch -", &lines).map(drop)
}

/// What `tc` tells of a queue, as far as it is of interest here.
#[derive(Deserialize)]
struct Queue {
    kind: String,
    packets: u64,
}

/// Packets that went a slow way since it is slow.
pub(crate) fn paced() -> Result<u64> {
    let told = run("tc", &format!("-j -s qdisc show dev {INTERFACE}"))?;
    let queues: Vec<Queue> = serde_json::from_str(&told).context("what tc tells")?;
    let slow = queues.iter().filter(|queue| queue.kind == "pfifo");
    Ok(slow.map(|queue| queue.packets).sum())
}

/// Ends all connections with these, and what was sent and has not arrived never will.
pub(crate) fn reset(peers: &[Ipv4Addr]) -> Result<()> {
    let ends = peers.iter().map(|peer| format!("dst {peer}"));
    let ends: Vec<String> = ends.collect();
    if ends.is_empty() {
        return Ok(());
    }
    run("ss", &format!("-K -t -n {}", ends.join(" or "))).map(drop)
}

/// Packets to these go nowhere, and who sends one is told so at once.
pub(crate) fn bar(addrs: &[Ipv4Addr]) -> Result<()> {
    for addr in addrs {
        run("ip", &format!("route replace unreachable {addr}/32"))?;
    }
    Ok(())
}

/// Takes all of it away; connections go on.
fn let_pass() -> Result<()> {
    shed(&[])?;
    pace(&[])
}

/// Tries all of it where nothing is lost by it.
pub(super) fn trial() -> Result<()> {
    let peer = Ipv4Addr::new(10, 77, 1, 1);
    run(
        "ip",
        &format!("link add {INTERFACE} type veth peer name other"),
    )?;
    run("ip", &format!("link set {INTERFACE} gso_max_segs 1 up"))?;
    shed(&[(peer, 0.5), (peer, 1.0)])?;
    dropped()?;
    pace(&[(peer, Duration::from_millis(100))])?;
    paced()?;
    let_pass()?;
    bar(&[peer])?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let (_other, _addr) = listener.accept()?;
    reset(&[Ipv4Addr::LOCALHOST])?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let kinds = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset];
    let ended = stream.read(&mut [0]);
    let reset = matches!(&ended, Err(error) if kinds.contains(&error.kind()));
    ensure!(reset, "connections cannot be reset: {ended:?}");
    Ok(())
}
