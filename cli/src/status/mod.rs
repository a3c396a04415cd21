//! `curlew status`: a volume, its cluster's nodes and its sessions at one look. [`report`] is
//! what scripts read and its shape is a promise, [`gather`] asks, [`wrong`] judges, [`table`]
//! shows it to people.

mod command;
mod gather;
mod report;
mod table;
mod wrong;

pub(crate) use command::{StatusArgs, run};
