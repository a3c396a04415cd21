//! `jepsen run`: clients do a workload on a real cluster while a nemesis hurts it; then the
//! cluster is healed, everything is read once more, and the history is checked.

mod append;
mod changelog;
mod client;
mod directory_set;
mod exclusive_create;
mod file_worker;
mod files;
mod hard_links;
mod inode_register;
mod mirror_session;
mod mounts;
mod nemesis;
mod outcome;
mod rename;
mod scene;
mod stage;
mod tree;
mod work;

pub use file_worker::work as work_on_files;
pub use nemesis::{Nemesis, NemesisReport, Span};
pub use outcome::{Bucket, Calls, Outcome};
pub use stage::{CampaignOptions, last_line, run};
pub use work::Workload;
