//! `curlew mdtest`: the metadata engine's speed, beside what the machine does without it.

mod args;
mod command;
mod floors;
mod plan;
mod thread;

pub(crate) use args::MdtestArgs;
pub(crate) use command::run;
