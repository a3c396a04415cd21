//! Named points at which a test can look at the directory, or make the store fail.

use std::io;

/// The points of one store. Outside this crate's tests there are none, and a hit does nothing.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    #[cfg(test)]
    hook: std::sync::Arc<parking_lot::Mutex<Option<Hook>>>,
}

#[cfg(test)]
type Hook = Box<dyn FnMut(&'static str) -> io::Result<()> + Send>;

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    /// Passes a point.
    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "only tests fail here"
    )]
    pub(crate) fn hit(&self, _point: &'static str) -> io::Result<()> {
        Ok(())
    }

    /// Passes a point.
    #[cfg(test)]
    pub(crate) fn hit(&self, point: &'static str) -> io::Result<()> {
        match &mut *self.hook.lock() {
            Some(hook) => hook(point),
            None => Ok(()),
        }
    }

    /// Calls `hook` at each point from now on.
    #[cfg(test)]
    pub(crate) fn watch(&self, hook: impl FnMut(&'static str) -> io::Result<()> + Send + 'static) {
        *self.hook.lock() = Some(Box::new(hook));
    }
}
