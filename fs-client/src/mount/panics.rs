//! Panics of the threads in which fuser takes requests. A panic there is a fault of fuser over what the kernel
//! sent: our own code runs elsewhere.

use std::panic;
use std::sync::LazyLock;
use std::sync::Once;
use std::thread;
use tokio::sync::watch;

/// How fuser calls its threads: this and a number.
const PREFIX: &str = "fuser-";

/// The thread that panicked last.
static LAST: LazyLock<watch::Sender<Option<String>>> = LazyLock::new(|| watch::Sender::new(None));

/// Hears of panics from now on.
#[derive(Debug)]
pub(super) struct Panics(watch::Receiver<Option<String>>);

impl Panics {
    /// Begins to listen.
    pub(super) fn watch() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let earlier = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                earlier(info);
                let thread = thread::current();
                if let Some(name) = thread.name().filter(|name| is_of_fuser(name)) {
                    LAST.send_replace(Some(name.to_owned()));
                }
            }));
        });
        Self(LAST.subscribe())
    }

    /// The thread that panics next; nothing once nobody can tell any more.
    pub(super) async fn next(&mut self) -> Option<String> {
        self.0.changed().await.ok()?;
        self.0.borrow_and_update().clone()
    }
}

fn is_of_fuser(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_panics_of_threads_that_take_requests_are_told() {
        let mut panics = Panics::watch();
        for name in ["other", "fuser-bg", "fuser-3"] {
            let thread = thread::Builder::new().name(name.to_owned());
            let panicking = thread.spawn(|| panic!("on purpose")).expect("a thread");
            assert!(panicking.join().is_err());
        }
        assert_eq!(panics.next().await.as_deref(), Some("fuser-3"));
    }
}
