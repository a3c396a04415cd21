//! `curlew quota`: how much something may be, and how much it is.

mod args;
mod command;
mod refused;
mod report;

pub(crate) use args::{LimitArgs, QuotaArgs};
pub(crate) use command::{limit, limit_new, run};
pub(crate) use refused::{LEVEL, no_totals, refused};
pub(crate) use report::QuotaReport;
