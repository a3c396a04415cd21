//! Places at which a test can end the process, look at the directory, or make the store fail.

#[cfg(not(test))]
use meta_core::failpoint;
use meta_core::failpoint::Point;
use std::io;

/// The points of one store. Outside this crate's tests a hit only passes the place.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    #[cfg(test)]
    hook: std::sync::Arc<parking_lot::Mutex<Option<Hook>>>,
}

#[cfg(test)]
type Hook = Box<dyn FnMut(Point) -> io::Result<()> + Send>;

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
    pub(crate) fn hit(&self, point: Point) -> io::Result<()> {
        failpoint::pass(point);
        Ok(())
    }

    /// Passes a point.
    #[cfg(test)]
    pub(crate) fn hit(&self, point: Point) -> io::Result<()> {
        match &mut *self.hook.lock() {
            Some(hook) => hook(point),
            None => Ok(()),
        }
    }

    /// Calls `hook` at each point from now on.
    #[cfg(test)]
    pub(crate) fn watch(&self, hook: impl FnMut(Point) -> io::Result<()> + Send + 'static) {
        *self.hook.lock() = Some(Box::new(hook));
    }
}
