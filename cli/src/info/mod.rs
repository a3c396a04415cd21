//! `curlew info`: what the metadata engine knows of one file.

mod command;
mod report;

pub(crate) use command::{InfoArgs, run};
