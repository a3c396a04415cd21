//! `curlew rmr`: removes whole trees through the metadata engine.

mod args;
mod command;
mod place;
mod report;

pub(crate) use args::RmrArgs;
pub(crate) use command::run;
