//! A whole Curlew on this machine for trying things out: metadata nodes, an object store in a
//! directory, a mount. Everything is an ordinary process of its own with an ordinary config file
//! and log, so that what is learned here holds elsewhere.
//!
//! What survives this command is in files: [`layout`] says where they lie, [`plan`] what is the
//! same at each start, [`record`] which processes were started, [`state`] what scripts read.
//! Start reading at [`command`].

mod args;
mod command;
mod foreground;
mod layout;
mod lock;
mod node;
mod plan;
mod port;
mod record;
mod restart;
mod start;
mod state;
mod stop;

pub(crate) use args::PlaygroundArgs;
pub(crate) use command::run;
