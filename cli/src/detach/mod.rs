//! Processes that outlive the command that started them. [`Detached::start`] runs this program
//! again as a launcher, which makes a session of its own, closes every descriptor that it
//! inherited, writes down who it is, and becomes the program to run: pid and start time stay.

mod detached;
mod launcher;

pub(crate) use detached::{Detached, Job, own_program};
pub(crate) use launcher::{LauncherArgs, run as run_launcher};
