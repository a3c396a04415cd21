//! Whether a store does what a volume needs of it, asked before the volume is made.

use crate::error::{CheckError, ObjectError};
use crate::object::ObjectStore;
use bytes::Bytes;

const DATA: Bytes = Bytes::from_static(b"Curlew checks this object store and removes this object");

/// Puts, gets, lists and deletes a small object.
///
/// # Errors
/// [`CheckError`] names the step that failed.
pub async fn check_store(store: &dyn ObjectStore) -> Result<(), CheckError> {
    let key = format!("curlew-check-{}", uuid::Uuid::new_v4());
    let checked = check(store, &key).await;
    if checked.is_err()
        && let Err(error) = store.delete(&key).await
    {
        // What failed first is the one to tell.
        tracing::warn!(%error, "the object of a failed check is left over");
    }
    checked
}

async fn check(store: &dyn ObjectStore, key: &str) -> Result<(), CheckError> {
    let put = failed("put");
    store.put(key, DATA).await.map_err(put)?;
    let len = DATA.len() as u64;
    for range in [0..len, 7..len - 7] {
        let expected = DATA.slice(range.start as usize..range.end as usize);
        let read = store.get(key, range).await.map_err(failed("get"))?;
        if read != expected {
            return wrong("get", "other bytes came back than were put");
        }
    }
    // Some stores look at what is there before they refuse to replace it, so reading comes first.
    let again = store.put(key, DATA).await;
    again.map_err(failed("put an object that is there already"))?;
    let listed = store.list(key, "", 2).await.map_err(failed("list"))?;
    if listed != [(key.to_owned(), len)] {
        return wrong("list", "an object that was put is not listed as it is");
    }
    store.delete(key).await.map_err(failed("delete"))?;
    match store.head(key).await.map_err(failed("delete"))? {
        None => Ok(()),
        Some(_) => wrong("delete", "an object that was deleted is still there"),
    }
}

fn failed(step: &'static str) -> impl Fn(ObjectError) -> CheckError {
    move |error| CheckError {
        step,
        why: error.to_string(),
    }
}

fn wrong(step: &'static str, why: &str) -> Result<(), CheckError> {
    Err(CheckError {
        step,
        why: why.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Failing, Fault, LocalDir, Memory, Step};

    #[tokio::test]
    async fn a_sound_store_passes_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = LocalDir::open(dir.path()).expect("opens");
        check_store(&store).await.expect("sound");
        assert_eq!(store.list("", "", 10).await.expect("listed"), []);
    }

    #[tokio::test]
    async fn the_step_that_fails_is_named() {
        let cases = [
            (Step::Put, Fault::NoSpace, "put"),
            (Step::Get, Fault::Fail, "get"),
            (Step::Get, Fault::FlipBit, "get"),
            (Step::Get, Fault::Short, "get"),
            (Step::List, Fault::Fail, "list"),
            (Step::Delete, Fault::Fail, "delete"),
            (Step::Head, Fault::Fail, "delete"),
        ];
        for (step, fault, named) in cases {
            let store = Failing::new(Memory::default());
            store.script(step, [fault]);
            let error = check_store(&store).await.expect_err("it fails");
            assert_eq!(error.step, named, "{step:?} {fault:?}");
            assert_eq!(store.inner().list("", "", 9).await.expect("listed"), []);
        }
    }
}
