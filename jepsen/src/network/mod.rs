//! What joins the nodes of a run: network namespaces that this process made, or loopback with our own
//! proxies between the nodes. In neither a packet leaves the machine.

mod faults;
mod hub;
mod space;
mod tools;

pub(crate) use faults::{bar, dropped, pace, paced, reset, shed};
pub use hub::{Hub, Subnet};
pub use space::Space;

use anyhow::{Context, Result, bail};
use std::fmt;
use std::sync::Arc;

/// What the person who starts a run asks for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, clap::ValueEnum)]
pub enum NetworkChoice {
    /// Namespaces where they can be had, else proxies.
    #[default]
    Auto,
    /// Namespaces, or no run.
    Namespaces,
    /// Proxies on loopback.
    Proxies,
}

/// What joins the nodes of a run.
#[derive(Clone, Debug)]
pub enum Network {
    /// Each node is a host of its own.
    Namespaces(Arc<Hub>),
    /// Nodes share loopback, for this reason.
    Proxies(String),
}

impl Network {
    /// Takes what was asked for. For namespaces this process leaves the network that it was started
    /// in, which is possible only while it has one thread: those that exist would stay behind.
    ///
    /// # Errors
    /// When namespaces must be had and cannot.
    pub fn choose(choice: NetworkChoice) -> Result<Self> {
        if choice == NetworkChoice::Proxies {
            return Ok(Self::Proxies("as asked".to_owned()));
        }
        match namespaces_missing() {
            None => Ok(Self::Namespaces(Hub::enter()?)),
            Some(why) if choice == NetworkChoice::Auto => Ok(Self::Proxies(why)),
            Some(why) => bail!("there are no network namespaces here: {why}"),
        }
    }

    /// Where nodes in namespaces meet, if they are in namespaces.
    pub fn hub(&self) -> Option<Arc<Hub>> {
        match self {
            Self::Namespaces(hub) => Some(Arc::clone(hub)),
            Self::Proxies(_) => None,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespaces(_) => f.write_str("namespaces"),
            Self::Proxies(why) => write!(f, "proxies on loopback ({why})"),
        }
    }
}

/// Why a run cannot have network namespaces here, if it cannot. Everything that it will need is tried,
/// in a namespace that is gone afterwards.
pub fn namespaces_missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("they need root".to_owned());
    }
    // On a thread of its own, as the network that a thread has left it cannot find again.
    let trial = std::thread::Builder::new().spawn(trial);
    let tried = trial.context("cannot start a thread").and_then(|trial| {
        let ended = trial.join();
        ended.unwrap_or_else(|_| bail!("their trial panicked"))
    });
    tried.err().map(|error| format!("{error:#}"))
}

fn trial() -> Result<()> {
    tools::all_there()?;
    space::leave()?;
    hub::furnish()?;
    faults::trial()
}
