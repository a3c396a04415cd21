//! What tells a mount's process to end: once it is asked, twice it is made to.

use super::MountError;
use std::fmt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// A signal that ends a mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGHUP.
    HangUp,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::HangUp => "SIGHUP",
        })
    }
}

/// The signals to one mount, and whether it was asked to end already.
#[derive(Debug)]
pub struct Signals {
    source: Source,
    asked: bool,
}

#[derive(Debug)]
enum Source {
    Process {
        terminate: Signal,
        interrupt: Signal,
        hang_up: Signal,
    },
    Channel(mpsc::Receiver<Told>),
}

impl Signals {
    /// Those that this process gets, from now on: they do not end it any more by themselves. Must
    /// be called on a tokio runtime.
    ///
    /// # Errors
    /// If the process cannot listen.
    pub fn of_this_process() -> Result<Self, MountError> {
        let listen = |kind| signal(kind).map_err(MountError::Runtime);
        Ok(Self::new(Source::Process {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        }))
    }

    /// Those that come through a channel; none once it is closed.
    pub fn from_channel(receiver: mpsc::Receiver<Told>) -> Self {
        Self::new(Source::Channel(receiver))
    }

    fn new(source: Source) -> Self {
        let asked = false;
        Self { source, asked }
    }

    async fn next(&mut self) -> Told {
        match &mut self.source {
            Source::Process {
                terminate,
                interrupt,
                hang_up,
            } => tokio::select! {
                _ = terminate.recv() => Told::Terminate,
                _ = interrupt.recv() => Told::Interrupt,
                _ = hang_up.recv() => Told::HangUp,
            },
            Source::Channel(receiver) => match receiver.recv().await {
                Some(told) => told,
                None => std::future::pending().await,
            },
        }
    }

    /// Waits until the mount is asked to end.
    pub(super) async fn asked(&mut self) -> Told {
        let told = self.next().await;
        self.asked = true;
        told
    }

    /// Waits, while the mount ends, until it is told for the second time: whoever does that gives
    /// up what is not stored yet.
    pub(super) async fn insisted(&mut self) -> Told {
        loop {
            match self.next().await {
                told if !self.asked => {
                    self.asked = true;
                    tracing::info!(signal = %told, "written data is being stored; SIGTERM or SIGINT again gives it up");
                }
                // A terminal that is closed hangs up once by itself and once by its shell: nobody
                // insists.
                Told::HangUp => {}
                told => return told,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn told(all: &[Told]) -> Signals {
        let (sender, receiver) = mpsc::channel(8);
        for told in all {
            sender.try_send(*told).expect("room");
        }
        Signals::from_channel(receiver)
    }

    #[test]
    fn only_the_second_signal_insists() {
        use Told::{HangUp, Interrupt, Terminate};
        let insisted = |all: &[Told]| told(all).insisted().now_or_never();
        assert_eq!(insisted(&[]), None);
        assert_eq!(insisted(&[Terminate]), None);
        assert_eq!(insisted(&[Terminate, Interrupt]), Some(Interrupt));
        assert_eq!(insisted(&[HangUp, HangUp, HangUp]), None);
        assert_eq!(insisted(&[HangUp, HangUp, Terminate]), Some(Terminate));
    }

    #[test]
    fn after_the_one_that_asked_the_next_insists() {
        let mut signals = told(&[Told::HangUp, Told::Terminate]);
        assert_eq!(signals.asked().now_or_never(), Some(Told::HangUp));
        assert_eq!(signals.insisted().now_or_never(), Some(Told::Terminate));
    }
}
