//! An S3 server as a process of its own on loopback, which keeps objects as files: what a bucket of
//! a cloud is to a mount.

use crate::binaries::binary;
use crate::port::free_addr;
use crate::process::Process;
use crate::wait;
use anyhow::{Context, Result, anyhow, bail};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The bucket that is there.
pub const BUCKET: &str = "blocks";
/// What its clients sign with. They are for tests on loopback and protect nothing.
pub const ACCESS_KEY: &str = "an-access-key-of-a-test";
/// See [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "a-secret-key-of-a-test";

/// How long the process may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections at once; more of them wait to be accepted.
const CONNECTIONS_MAX: usize = 256;

/// Serves the directories below `root` as buckets, until the process is ended.
///
/// # Errors
/// When the address cannot be listened on, or the directory not be used.
pub async fn serve(root: &Path, addr: SocketAddr) -> Result<()> {
    fs::create_dir_all(root.join(BUCKET))
        .with_context(|| format!("cannot make a bucket in {}", root.display()))?;
    let files = FileSystem::new(root).map_err(|error| anyhow!("{}: {error:?}", root.display()))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();
    let listener = TcpListener::bind(addr)
        .await
        .with_context(|| format!("cannot listen on {addr}"))?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _peer) = listener.accept().await.context("cannot accept")?;
        let service = service.clone();
        connections.spawn(async move {
            let http = Builder::new(TokioExecutor::new());
            // A client that went away is none of the server's business.
            let _gone = http.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            let _ended = connections.join_next().await;
        }
    }
}

/// The server's process. Dropping it kills it; the objects stay.
#[derive(Debug)]
pub struct S3Server {
    root: PathBuf,
    addr: String,
    log: PathBuf,
    process: Process,
}

impl S3Server {
    /// Starts a server over a directory, and waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(root: &Path, log: &Path) -> Result<Self> {
        let addr = free_addr()?;
        Ok(Self {
            process: listen(root, &addr, log)?,
            root: root.to_owned(),
            addr,
            log: log.to_owned(),
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// The bucket's URL.
    pub fn bucket_url(&self) -> String {
        format!("http://{}/{BUCKET}", self.addr)
    }

    /// Where the bucket's objects are files.
    pub fn objects(&self) -> PathBuf {
        self.root.join(BUCKET)
    }

    /// Ends it by SIGKILL.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again after it was killed, at the same address.
    ///
    /// # Errors
    /// As [`S3Server::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process = listen(&self.root, &self.addr, &self.log)?;
        Ok(())
    }
}

fn listen(root: &Path, addr: &str, log: &Path) -> Result<Process> {
    let mut command = Command::new(binary("jepsen")?);
    command
        .args(["s3-server", "--addr", addr, "--dir"])
        .arg(root);
    let mut process = Process::spawn("the S3 server", &mut command, log)?;
    wait::until_blocking("the S3 server to listen", PATIENCE, || {
        if let Some(status) = process.ended()? {
            bail!(
                "the S3 server has ended ({status})\n{}",
                process.log_tail(20)
            );
        }
        Ok(TcpStream::connect(addr)
            .map(drop)
            .map_err(|error| error.to_string()))
    })?;
    Ok(process)
}
