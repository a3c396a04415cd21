//! A TCP proxy on loopback, in front of one address: a link that can be cut in the midst of what it
//! carries, that can damage it, that can fall silent, and that can be slow.

mod line;

use crate::scratch::notice;
use anyhow::{Context, Result};
use line::{Line, Slowness};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Connections at once; more of them wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// Bytes that are taken at once from a connection.
const PIECE_BYTES: usize = 16 << 10;
/// Bytes of what would be a packet on a wire.
const PACKET_BYTES: f64 = 1_500.0;

/// A proxy that listens. Dropping it ends it and all its connections.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    link: Arc<Link>,
    listening: JoinHandle<()>,
}

/// What the proxy and its connections share.
#[derive(Debug)]
struct Link {
    to: String,
    /// Counted up to cut what is connected.
    cut: watch::Sender<u64>,
    held: watch::Sender<bool>,
    limit: watch::Sender<Option<u64>>,
    flip: watch::Sender<Option<u64>>,
    slowness: watch::Sender<Slowness>,
    loss: Mutex<Option<Loss>>,
    connections: AtomicU64,
    cuts: AtomicU64,
    flips: AtomicU64,
    slowed: AtomicU64,
    lost: AtomicU64,
}

/// How soon connections are cut.
#[derive(Debug)]
struct Loss {
    rng: StdRng,
    /// Bytes that the longest brings from the other side.
    most: u64,
}

/// What happens to what a connection brings from the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Faults {
    /// The bytes after which it is cut.
    limit: Option<u64>,
    /// The bit that is flipped.
    flip: Option<u64>,
    /// Whether the limit is a loss.
    lost: bool,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// One of its two sides closed it.
    Left,
    /// The proxy did.
    Cut,
}

impl Proxy {
    /// Listens on a port of its own, and connects whoever comes with `to`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(to: &str) -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, to).await
    }

    /// The same, at another address of this machine.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub async fn start_at(at: Ipv4Addr, to: &str) -> Result<Self> {
        let listener = TcpListener::bind((at, 0)).await;
        let listener = listener.with_context(|| format!("cannot listen at {at}"))?;
        let addr = listener.local_addr().context("a listener's own address")?;
        let link = Arc::new(Link {
            to: to.to_owned(),
            cut: watch::Sender::new(0),
            held: watch::Sender::new(false),
            limit: watch::Sender::new(None),
            flip: watch::Sender::new(None),
            slowness: watch::Sender::new(None),
            loss: Mutex::new(None),
            connections: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            flips: AtomicU64::new(0),
            slowed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&link)));
        Ok(Self {
            addr,
            link,
            listening,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Cuts what is connected now, without a goodbye. It is done when [`Proxy::cuts`] has grown.
    pub fn cut(&self) {
        self.link.cut.send_modify(|count| *count += 1);
    }

    /// Each connection to come is cut after it brought so many bytes from the other side; `None`
    /// lets them live.
    pub fn cut_after(&self, bytes: Option<u64>) {
        self.link.limit.send_replace(bytes);
    }

    /// Of what each connection to come brings from the other side, this bit is flipped; `None` leaves
    /// all as it is.
    pub fn flip(&self, bit: Option<u64>) {
        self.link.flip.send_replace(bit);
    }

    /// A silent link accepts connections and keeps those it has, and forwards nothing.
    pub fn hold(&self, silent: bool) {
        self.link.held.send_replace(silent);
    }

    /// Puts right what [`Self::cut_after`], [`Self::flip`] and [`Self::hold`] did. Connections that were
    /// to be cut or damaged later end now.
    pub fn mend(&self) {
        self.cut_after(None);
        self.flip(None);
        self.hold(false);
        self.cut();
    }

    /// What a slow link takes arrives so much later, half of it or half as much again, in its order.
    /// The number is where randomness begins. `None` lets all be fast, behind what is under way.
    pub fn slow(&self, slowness: Option<(Duration, u64)>) {
        self.link.slowness.send_if_modified(|now| {
            let other = *now != slowness;
            *now = slowness;
            other
        });
    }

    /// Cuts what is connected now, and each connection to come where it would lose the first packet
    /// from the other side, if such a share of them were lost. The number is where randomness begins.
    /// `None` cuts those once more, and lets others live.
    pub fn lose(&self, share: Option<(f64, u64)>) {
        let loss = share.map(|(share, seed)| Loss {
            rng: StdRng::seed_from_u64(seed),
            most: (2.0 * PACKET_BYTES / share) as u64,
        });
        let some = loss.is_some();
        let before = {
            let mut now = self
                .link
                .loss
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, loss)
        };
        if some || before.is_some() {
            self.cut();
        }
    }

    /// Pieces that were slow so far.
    pub fn slowed(&self) -> u64 {
        self.link.slowed.load(Ordering::SeqCst)
    }

    /// Connections that were lost so far.
    pub fn lost(&self) -> u64 {
        self.link.lost.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.link.connections.load(Ordering::SeqCst)
    }

    /// Connections cut by the proxy so far.
    pub fn cuts(&self) -> u64 {
        self.link.cuts.load(Ordering::SeqCst)
    }

    /// Bits flipped so far.
    pub fn flips(&self) -> u64 {
        self.link.flips.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, link: Arc<Link>) {
    // Dropping the set ends the connections.
    let mut connections = JoinSet::new();
    loop {
        let client = match listener.accept().await {
            Ok((client, _peer)) => client,
            Err(error) => {
                notice(&format!("the proxy to {} ends: {error}", link.to));
                return;
            }
        };
        let link = Arc::clone(&link);
        // As of now, and not as of when the task begins.
        let cut = link.cut.subscribe();
        let faults = link.faults();
        let number = link.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(async move { link.connect(client, cut, faults, number).await });
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            let _ended = connections.join_next().await;
        }
    }
}

impl Link {
    /// What is to happen to the next connection.
    fn faults(&self) -> Faults {
        let mut loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = loss
            .as_mut()
            .map(|loss| loss.rng.random_range(0..=loss.most));
        let limit = *self.limit.borrow();
        Faults {
            limit: lost.into_iter().chain(limit).min(),
            flip: *self.flip.borrow(),
            lost: lost.is_some(),
        }
    }

    /// Carries one connection until a side leaves or it is cut.
    async fn connect(
        &self,
        mut client: TcpStream,
        mut cut: watch::Receiver<u64>,
        faults: Faults,
        number: u64,
    ) {
        let Ok(mut upstream) = TcpStream::connect(&self.to).await else {
            // Nobody listens there: the client sees its connection closed.
            return;
        };
        let ended = tokio::select! {
            _raised = cut.changed() => Ok(End::Cut),
            ended = self.carry(&mut client, &mut upstream, faults, number) => {
                let lost = faults.lost && matches!(ended, Ok(End::Cut));
                self.lost.fetch_add(u64::from(lost), Ordering::SeqCst);
                ended
            }
        };
        if !matches!(ended, Ok(End::Cut)) {
            return;
        }
        for stream in [client, upstream] {
            // A reset instead of an orderly close. Without it the connection ends all the same.
            let _orderly = stream.set_zero_linger();
        }
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    async fn carry(
        &self,
        client: &mut TcpStream,
        upstream: &mut TcpStream,
        faults: Faults,
        number: u64,
    ) -> io::Result<End> {
        client.set_nodelay(true)?;
        upstream.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_upstream, to_upstream) = upstream.split();
        tokio::select! {
            ended = self.pump(from_client, to_upstream, Faults::default(), 2 * number) => ended,
            ended = self.pump(from_upstream, to_client, faults, 2 * number + 1) => ended,
        }
    }

    /// Carries one direction.
    async fn pump(
        &self,
        from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        faults: Faults,
        number: u64,
    ) -> io::Result<End> {
        let mut held = self.held.subscribe();
        let mut line = Line::new(self.slowness.subscribe(), number);
        let mut from = from.take(faults.limit.unwrap_or(u64::MAX));
        let mut buffer = Vec::<u8>::with_capacity(PIECE_BYTES);
        let mut carried = 0;
        let mut left = false;
        loop {
            let more = !left && from.limit() > 0;
            if !more && line.is_empty() {
                return Ok(if left { End::Left } else { End::Cut });
            }
            tokio::select! {
                read = from.read_buf(&mut buffer), if more && line.has_room() => {
                    left = read? == 0;
                    if let Some(bit) = faults.flip
                        && flip(&mut buffer, carried, bit)
                    {
                        self.flips.fetch_add(1, Ordering::SeqCst);
                    }
                    carried += buffer.len() as u64;
                    if !buffer.is_empty() {
                        let slow = line.push(std::mem::take(&mut buffer));
                        self.slowed.fetch_add(u64::from(slow), Ordering::SeqCst);
                        buffer.reserve(PIECE_BYTES);
                    }
                }
                // What came while the link is silent goes on when it is not.
                piece = line.next(&mut held), if !line.is_empty() => match piece {
                    Some(piece) => to.write_all(&piece).await?,
                    None => return Ok(End::Left),
                },
            }
        }
    }
}

/// Flips a bit, counted from the first byte of a connection, if it is in what comes behind the
/// first `carried` bytes.
fn flip(buffer: &mut [u8], carried: u64, bit: u64) -> bool {
    let place = (bit / 8).checked_sub(carried);
    let place = place.and_then(|place| usize::try_from(place).ok());
    let Some(byte) = place.and_then(|place| buffer.get_mut(place)) else {
        return false;
    };
    *byte ^= 1 << (bit % 8);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Sends everything back, on one connection after the other.
    async fn echo() -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a listener");
        let addr = listener.local_addr().expect("its address").to_string();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _peer)) = listener.accept().await {
                let (mut from, mut to) = stream.split();
                let _cut = tokio::io::copy(&mut from, &mut to).await;
            }
        });
        (addr, task)
    }

    async fn cuts(proxy: &Proxy, count: u64) {
        let cut = wait::until("a cut", PATIENCE, async || {
            let cuts = proxy.cuts();
            Ok((cuts >= count).then_some(()).ok_or(format!("{cuts} cuts")))
        });
        cut.await.expect("cut");
    }

    #[tokio::test]
    async fn a_connection_is_cut_at_its_byte_and_on_demand() {
        let (to, server) = echo().await;
        let proxy = Proxy::start(&to).await.expect("a proxy");
        proxy.cut_after(Some(3));
        let mut limited = TcpStream::connect(proxy.addr()).await.expect("connected");
        limited.write_all(b"hello").await.expect("sent");
        cuts(&proxy, 1).await;
        let mut came = Vec::new();
        // It may end with a reset: what counts is that nothing came past the limit.
        let _reset = limited.read_to_end(&mut came).await;
        assert!(b"hel".starts_with(&came), "{came:?}");
        proxy.cut_after(None);
        let mut free = TcpStream::connect(proxy.addr()).await.expect("connected");
        free.write_all(b"hello").await.expect("sent");
        let mut came = [0; 5];
        free.read_exact(&mut came).await.expect("it comes back");
        assert_eq!(&came, b"hello");
        proxy.cut();
        cuts(&proxy, 2).await;
        assert_eq!(proxy.connections(), 2);
        server.abort();
    }

    #[tokio::test]
    async fn one_bit_of_a_connection_is_flipped() {
        let (to, server) = echo().await;
        let proxy = Proxy::start(&to).await.expect("a proxy");
        proxy.flip(Some(2 * 8 + 1));
        let mut stream = TcpStream::connect(proxy.addr()).await.expect("connected");
        let mut came = [0; 4];
        for sent in [b"aaaa", b"aaaa"] {
            stream.write_all(sent).await.expect("sent");
            stream.read_exact(&mut came).await.expect("it comes back");
            let flipped = proxy.flips() == 1 && came == *b"aaca";
            assert!(flipped || came == *b"aaaa", "{came:?}");
        }
        assert_eq!(proxy.flips(), 1);
        server.abort();
    }

    #[tokio::test]
    async fn a_slow_link_brings_all_later_and_a_lossy_one_ends() {
        let (to, server) = echo().await;
        let proxy = Proxy::start(&to).await.expect("a proxy");
        let by = Duration::from_millis(50);
        proxy.slow(Some((by, 3)));
        let mut stream = TcpStream::connect(proxy.addr()).await.expect("connected");
        let begin = std::time::Instant::now();
        stream.write_all(b"hello").await.expect("sent");
        let mut came = [0; 5];
        stream.read_exact(&mut came).await.expect("it comes back");
        assert_eq!(&came, b"hello");
        // There and back, each at least half of it.
        assert!(begin.elapsed() >= by, "{:?}", begin.elapsed());
        assert!(proxy.slowed() >= 2, "{}", proxy.slowed());
        proxy.slow(None);
        proxy.lose(Some((0.4, 3)));
        cuts(&proxy, 1).await;
        let mut stream = TcpStream::connect(proxy.addr()).await.expect("connected");
        stream.write_all(&[7; 20_000]).await.expect("sent");
        let mut came = Vec::new();
        // It may end with a reset.
        let _reset = stream.read_to_end(&mut came).await;
        assert!(came.len() < 7_500 && came.iter().all(|byte| *byte == 7));
        assert_eq!(proxy.lost(), 1);
        proxy.lose(None);
        let mut stream = TcpStream::connect(proxy.addr()).await.expect("connected");
        stream.write_all(b"hello").await.expect("sent");
        let mut came = [0; 5];
        stream.read_exact(&mut came).await.expect("it comes back");
        server.abort();
    }

    #[tokio::test]
    async fn a_silent_link_accepts_and_forwards_nothing_until_it_speaks_again() {
        let (to, server) = echo().await;
        let proxy = Proxy::start(&to).await.expect("a proxy");
        proxy.hold(true);
        let mut stream = TcpStream::connect(proxy.addr()).await.expect("connected");
        stream.write_all(b"hello").await.expect("sent");
        let mut came = [0; 5];
        let silent = Duration::from_millis(100);
        let early = tokio::time::timeout(silent, stream.read_exact(&mut came)).await;
        assert!(early.is_err(), "{early:?}");
        proxy.hold(false);
        let late = tokio::time::timeout(PATIENCE, stream.read_exact(&mut came)).await;
        late.expect("in time").expect("it comes back");
        assert_eq!(&came, b"hello");
        assert_eq!((proxy.connections(), proxy.cuts()), (1, 0));
        server.abort();
    }
}
