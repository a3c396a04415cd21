//! A real S3 server over HTTP, and a proxy before it that fails as a test tells it to.

mod http;
mod proxy;
mod server;

pub(super) use proxy::{Fault, Proxy};
pub(crate) use server::Server;
pub(super) use server::{ACCESS_KEY, BUCKET, SECRET_KEY, store_at, store_with};
