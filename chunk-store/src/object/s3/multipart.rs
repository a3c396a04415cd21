//! Large objects go up in parts. None of them is there before all of them are: then the store makes
//! the object of them at once.

use super::S3Store;
use super::failure::Failure;
use crate::error::ObjectError;
use crate::object::ObjectStore as _;
use crate::object::content::read_part;
use crate::retry::RetryBudget;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a part, but for very large objects. S3 takes no fewer than 5 MiB.
pub(super) const PART_BYTES: u64 = 16 << 20;
/// Parts that S3 makes an object of.
const PARTS_MAX: u64 = 10_000;
/// How long after its first failure one request is tried again: a long upload must not fail for one
/// of its thousands of requests.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// A file on its way up under a name of the bucket. One part of it is in memory at once.
pub(super) struct PartsUpload<'s> {
    store: &'s S3Store,
    key: &'s str,
    name: &'s str,
    file: &'s Arc<File>,
    len: u64,
}

impl<'s> PartsUpload<'s> {
    pub(super) fn new(
        store: &'s S3Store,
        key: &'s str,
        name: &'s str,
        file: &'s Arc<File>,
        len: u64,
    ) -> Self {
        Self {
            store,
            key,
            name,
            file,
            len,
        }
    }

    /// Sends the file. What was sent is dropped if it fails.
    pub(super) async fn run(&self) -> Result<(), ObjectError> {
        let id = self.again(|| self.begin()).await?;
        let sent = match self.send(&id).await {
            Ok(parts) => self.complete(&id, parts).await,
            Err(error) => Err(error),
        };
        if sent.is_err()
            && let Err(failure) = self.abort(&id).await
        {
            let error = self.told(failure);
            tracing::warn!(%error, "parts of an upload that failed stay in the bucket");
        }
        sent
    }

    /// Whether the object is there as it should be; an error if another content has its name.
    pub(super) async fn is_there(&self) -> Result<bool, ObjectError> {
        match self.head().await? {
            None => Ok(false),
            Some(len) if len == self.len && self.is_equal().await? => Ok(true),
            Some(_) => Err(ObjectError::Conflict {
                key: self.key.to_owned(),
            }),
        }
    }

    async fn head(&self) -> Result<Option<u64>, ObjectError> {
        self.again(|| self.store.head_once(self.name)).await
    }

    async fn is_equal(&self) -> Result<bool, ObjectError> {
        for range in ranges(self.len, PART_BYTES) {
            let there = self.store.get(self.key, range.clone()).await?;
            if self.part(range).await? != there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn begin(&self) -> Result<String, Failure> {
        let request = self.store.client.create_multipart_upload();
        let request = request.bucket(&self.store.bucket.bucket).key(self.name);
        let answer = self.store.answer(request.send()).await?;
        let id = answer.upload_id.filter(|id| !id.is_empty());
        id.ok_or_else(|| Failure::Silent("the answer names no upload".to_owned()))
    }

    async fn send(&self, id: &str) -> Result<Vec<CompletedPart>, ObjectError> {
        let mut parts = Vec::new();
        for (number, range) in (1..).zip(ranges(self.len, part_bytes(self.len))) {
            let part = self.part(range).await?;
            let tag = self.again(|| self.send_part(id, number, part.clone()));
            let done = CompletedPart::builder().part_number(number);
            parts.push(done.e_tag(tag.await?).build());
        }
        Ok(parts)
    }

    async fn send_part(&self, id: &str, number: i32, part: Bytes) -> Result<String, Failure> {
        let request = self.store.client.upload_part();
        let request = request.bucket(&self.store.bucket.bucket).key(self.name);
        let request = request.upload_id(id).part_number(number);
        // Its time is bounded by the client: a body may be long under way.
        let answer = request.body(part.into()).send().await;
        let tag = answer.map_err(Failure::from)?.e_tag;
        tag.ok_or_else(|| Failure::Silent("the answer names no ETag".to_owned()))
    }

    /// Makes the object of its parts. An answer that was lost is looked for.
    async fn complete(&self, id: &str, parts: Vec<CompletedPart>) -> Result<(), ObjectError> {
        let failed = match self.again(|| self.complete_once(id, parts.clone())).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // Nobody else makes an object of that name.
        match self.head().await {
            Ok(Some(len)) if len == self.len => Ok(()),
            _ => Err(failed),
        }
    }

    async fn complete_once(&self, id: &str, parts: Vec<CompletedPart>) -> Result<(), Failure> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
        let request = self.store.client.complete_multipart_upload();
        let request = request.bucket(&self.store.bucket.bucket).key(self.name);
        let request = request.upload_id(id).multipart_upload(parts.build());
        // A store may copy all parts before it answers.
        let answer = request.send().await.map_err(Failure::from)?;
        match answer.e_tag() {
            Some(_) => Ok(()),
            None => Err(Failure::Silent("the answer names no ETag".to_owned())),
        }
    }

    async fn abort(&self, id: &str) -> Result<(), Failure> {
        let request = self.store.client.abort_multipart_upload();
        let request = request.bucket(&self.store.bucket.bucket).key(self.name);
        let sent = request.upload_id(id).send();
        self.store.answer(sent).await.map(drop)
    }

    async fn part(&self, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let read = read_part(self.file, range).await;
        read.map_err(|error| ObjectError::io("put", self.key, &error))
    }

    /// Does one request until it works, or fails for good, or its time is over.
    async fn again<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, ObjectError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        // Of a short object there is no long upload to be lost: whoever called tries again.
        let short = self.len <= PART_BYTES;
        let budget = RetryBudget::new(if short { Duration::ZERO } else { RETRY_FOR });
        let mut attempts = 1;
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(failure) => self.told(failure),
            };
            let Some(pause) = budget.pause(attempts).filter(|_| error.may_pass()) else {
                return Err(error);
            };
            tracing::debug!(attempts, %error, "a part of an upload is tried again");
            tokio::time::sleep(pause).await;
            attempts += 1;
        }
    }

    fn told(&self, failure: Failure) -> ObjectError {
        failure.of("put", self.key, &self.store.bucket)
    }
}

/// Bytes of a part of an object of `len`.
fn part_bytes(len: u64) -> u64 {
    len.div_ceil(PARTS_MAX).max(PART_BYTES)
}

/// The parts of an object of `len`, in order.
fn ranges(len: u64, part: u64) -> impl Iterator<Item = Range<u64>> {
    let step = usize::try_from(part).unwrap_or(usize::MAX);
    let starts = (0..len).step_by(step);
    starts.map(move |start| start..start.saturating_add(part).min(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_an_object_and_are_never_too_many() {
        let of = |len, part| -> Vec<(u64, u64)> {
            ranges(len, part)
                .map(|range| (range.start, range.end))
                .collect()
        };
        assert_eq!(of(0, 4), []);
        assert_eq!(of(4, 4), [(0, 4)]);
        assert_eq!(of(9, 4), [(0, 4), (4, 8), (8, 9)]);
        for len in [1, PART_BYTES + 1, PART_BYTES * PARTS_MAX + 1, 5 << 40] {
            let parts = ranges(len, part_bytes(len)).count() as u64;
            assert!((1..=PARTS_MAX).contains(&parts), "{len}: {parts}");
        }
    }
}
