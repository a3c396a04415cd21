//! One namespace: the network of one node.

use super::hub::MASK_BITS;
use super::tools::{run, tool};
use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// The only interface of a namespace, beside its loopback.
pub(super) const INTERFACE: &str = "eth0";

type Task = Box<dyn FnOnce() + Send>;

/// A network namespace without a name. A thread holds it, and whatever runs in it is started by that
/// thread: so it is gone when this process is, however that ends.
#[derive(Debug)]
pub struct Space {
    addr: Ipv4Addr,
    /// Taken away to end the thread.
    tasks: Option<mpsc::Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Space {
    /// Makes one, with a cable whose other end is the interface `end` of this process.
    pub(super) fn make(addr: Ipv4Addr, end: &str) -> Result<Self> {
        let (tasks, given) = mpsc::channel::<Task>();
        let thread = thread::Builder::new()
            .name(format!("net {addr}"))
            .spawn(move || given.into_iter().for_each(|task| task()))
            .context("cannot start a thread")?;
        let space = Self {
            addr,
            tasks: Some(tasks),
            thread: Some(thread),
        };
        let end = end.to_owned();
        space.within(move || join(addr, &end))??;
        Ok(space)
    }

    /// Its address.
    pub fn addr(&self) -> Ipv4Addr {
        self.addr
    }

    /// Does some work on the thread that is in the namespace: sockets that it makes and processes that
    /// it starts are there.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn within<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = mpsc::channel();
        let task: Task = Box::new(move || {
            // Who asked waits for this.
            let _taken = answer.send(work());
        });
        let tasks = self.tasks.as_ref().context("a namespace that has ended")?;
        let gone = "the thread of a namespace is gone";
        tasks.send(task).ok().context(gone)?;
        answered.recv().context(gone)
    }

    /// The same program, which is killed when the namespace's thread ends: nothing of a run is left
    /// when the harness is killed.
    ///
    /// # Errors
    /// When there is no such tool.
    pub fn bound(&self, command: &Command) -> Result<Command> {
        let mut bound = Command::new(tool("setpriv")?);
        bound.args(["--pdeathsig", "KILL", "--"]);
        bound.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => bound.env(name, value),
                None => bound.env_remove(name),
            };
        }
        Ok(bound)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if let Some(thread) = self.thread.take() {
            // It ends when its last task has; a task that panicked was told to who gave it.
            let _ended = thread.join();
        }
    }
}

/// Gives the calling thread a network of its own, with nothing in it. Files, mounts and all else stay.
pub(super) fn leave() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")
}

/// Leaves for a new namespace, and lays a cable from there.
fn join(addr: Ipv4Addr, end: &str) -> Result<()> {
    leave()?;
    run("ip", "link set lo up")?;
    let outside = std::process::id();
    let cable = format!("link add {INTERFACE} type veth peer name {end} netns {outside}");
    run("ip", &cable)?;
    // Packets as on a wire: else one of 64 KiB would be lost or let through as one.
    run("ip", &format!("link set {INTERFACE} gso_max_segs 1 up"))?;
    run(
        "ip",
        &format!("addr add {addr}/{MASK_BITS} dev {INTERFACE}"),
    )
    .map(drop)
}
