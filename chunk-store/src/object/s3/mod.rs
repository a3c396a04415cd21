//! Objects in a bucket of S3, or of a store that speaks its protocol.
//!
//! Each operation is one attempt: it is bounded in time, and whoever called decides whether to try
//! again. What a failure means is decided in `failure`; what a bucket's URL may be in `bucket`.

mod body;
mod bucket;
mod client;
mod credentials;
mod environment;
mod failure;
mod multipart;

pub use bucket::S3Bucket;

use super::ObjectStore;
use super::content::{file_len, read_part};
use super::name::check_key;
use crate::error::{ObjectError, StorageError};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use body::Found;
use bytes::Bytes;
use client::Timeouts;
use credentials::Credentials;
use environment::Environment;
use failure::Failure;
use multipart::{PART_BYTES, PartsUpload};
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Keys of one page of a list: the most that S3 gives.
const PAGE_KEYS_MAX: usize = 1000;

/// A bucket whose objects are the objects. A put asks the store to refuse another object under the
/// same key; a store that knows no such condition replaces it.
pub struct S3Store {
    client: Client,
    bucket: S3Bucket,
    timeouts: Timeouts,
    page_keys: usize,
    /// The store has shown that it does not know conditions on a put.
    unconditional: AtomicBool,
}

impl fmt::Debug for S3Store {
    // The client has the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store")
            .field("bucket", &self.bucket)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl S3Store {
    /// A store over a bucket, with keys from the environment: `ACCESS_KEY`, `SECRET_KEY` and
    /// `SESSION_TOKEN`, else `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    /// Nothing is sent before the first operation.
    ///
    /// # Errors
    /// [`StorageError`] if keys are missing or cannot be used.
    pub fn open(bucket: &S3Bucket) -> Result<Self, StorageError> {
        let keys = Credentials::read(&Environment::process())?;
        Ok(Self::new(bucket.clone(), keys, Timeouts::default()))
    }

    fn new(bucket: S3Bucket, keys: Credentials, timeouts: Timeouts) -> Self {
        Self {
            client: client::client(&bucket, keys, timeouts),
            bucket,
            timeouts,
            page_keys: PAGE_KEYS_MAX,
            unconditional: AtomicBool::new(false),
        }
    }

    /// The name of an object in the bucket.
    fn name(&self, key: &str) -> Result<String, ObjectError> {
        check_key(key)?;
        let name = format!("{}{key}", self.bucket.prefix);
        // With the prefix it may be too long.
        check_key(&name)?;
        Ok(name)
    }

    /// An answer to a request without a body, which comes soon or is given up.
    async fn answer<T, E>(
        &self,
        sent: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let silence = self.timeouts.silence;
        match tokio::time::timeout(silence, sent).await {
            Ok(answer) => answer.map_err(Failure::from),
            Err(_elapsed) => Err(Failure::Silent(format!("no answer within {silence:?}"))),
        }
    }

    async fn put_once(&self, name: &str, data: Bytes, only_new: bool) -> Result<(), Failure> {
        let mut request = self
            .client
            .put_object()
            .bucket(&self.bucket.bucket)
            .key(name)
            .body(data.into());
        if only_new {
            request = request.if_none_match("*");
        }
        // Its time is bounded by the client: a body may be long under way.
        let answer = request.send().await.map_err(Failure::from)?;
        if answer.e_tag().is_none() {
            // A portal or a proxy on the way may say 200 to anything, and then nothing is stored.
            return Err(Failure::Silent(
                "the answer is not one of S3: it names no ETag".to_owned(),
            ));
        }
        Ok(())
    }

    /// What a put means that found an object under its key: an earlier attempt whose answer was
    /// lost, or a conflict.
    async fn compare(&self, key: &str, data: &Bytes) -> Result<(), ObjectError> {
        let conflict = || ObjectError::Conflict {
            key: key.to_owned(),
        };
        let len = data.len() as u64;
        match self.head(key).await? {
            None => Err(ObjectError::Failed {
                action: "put",
                key: key.to_owned(),
                why: "the object was there, and then it was not".to_owned(),
            }),
            Some(there) if there != len => Err(conflict()),
            Some(_) if self.get(key, 0..len).await? != data => Err(conflict()),
            Some(_) => Ok(()),
        }
    }

    async fn get_once(&self, name: &str, range: &Range<u64>) -> Result<Found, Failure> {
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket.bucket)
            .key(name)
            .range(format!("bytes={}-{}", range.start, range.end - 1));
        let read = async {
            let answer = self.answer(request.send()).await?;
            body::read(answer, range, self.timeouts.silence).await
        };
        match tokio::time::timeout(self.timeouts.attempt, read).await {
            Ok(read) => read,
            Err(_elapsed) => Err(Failure::Silent(format!(
                "no whole answer within {:?}",
                self.timeouts.attempt
            ))),
        }
    }

    async fn head_once(&self, name: &str) -> Result<Option<u64>, Failure> {
        let request = self.client.head_object();
        let request = request.bucket(&self.bucket.bucket).key(name);
        let len = match self.answer(request.send()).await {
            Ok(answer) => answer.content_length,
            Err(Failure::Answered(answer)) if answer.lacks_object() => {
                // The answer to a HEAD has no body, so it does not say what is missing.
                self.find_bucket().await?;
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        match len.and_then(|len| u64::try_from(len).ok()) {
            Some(len) => Ok(Some(len)),
            None => Err(Failure::Silent("the answer tells no length".to_owned())),
        }
    }

    /// Fails only if the store says that there is no such bucket.
    async fn find_bucket(&self) -> Result<(), Failure> {
        let request = self.client.head_bucket().bucket(&self.bucket.bucket);
        match self.answer(request.send()).await {
            Err(Failure::Answered(mut answer)) if answer.status == 404 => {
                answer.code = "NoSuchBucket".to_owned();
                Err(Failure::Answered(answer))
            }
            _ => Ok(()),
        }
    }

    async fn list_once(
        &self,
        prefix: &str,
        after: &str,
        count_max: usize,
        token: Option<String>,
    ) -> Result<ListObjectsV2Output, Failure> {
        let own = &self.bucket.prefix;
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket.bucket)
            .prefix(format!("{own}{prefix}"))
            .set_start_after((!after.is_empty()).then(|| format!("{own}{after}")))
            .max_keys(i32::try_from(count_max).unwrap_or(i32::MAX))
            .set_continuation_token(token);
        self.answer(request.send()).await
    }

    fn told(&self, action: &'static str, key: &str) -> impl FnOnce(Failure) -> ObjectError {
        move |failure| failure.of(action, key, &self.bucket)
    }
}

/// Takes the objects of a page; tells what the next page is asked for with.
fn take_page(
    page: ListObjectsV2Output,
    own: &str,
    asked_with: Option<&str>,
    found: &mut Vec<(String, u64)>,
) -> Result<Option<String>, Failure> {
    let odd = |why: &str| Failure::Unsent(format!("its list cannot be used: {why}"));
    for object in page.contents.unwrap_or_default() {
        let name = object.key.as_deref().unwrap_or_default();
        let key = name.strip_prefix(own).unwrap_or_default();
        if check_key(key).is_err() {
            // What no key could name is not an object of ours.
            continue;
        }
        if found.last().is_some_and(|(last, _)| last.as_str() >= key) {
            return Err(odd("keys do not come in their order"));
        }
        let len = object.size.and_then(|len| u64::try_from(len).ok());
        let len = len.ok_or_else(|| odd("a length is missing"))?;
        found.push((key.to_owned(), len));
    }
    if page.is_truncated != Some(true) {
        return Ok(None);
    }
    let next = page.next_continuation_token;
    if next.is_none() || next.as_deref() == asked_with {
        return Err(odd("it has more, and does not say how to ask for it"));
    }
    Ok(next)
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError> {
        let name = self.name(key)?;
        let only_new = !self.unconditional.load(Ordering::Relaxed);
        match self.put_once(&name, data.clone(), only_new).await {
            Err(Failure::Answered(answer)) if only_new && answer.status == 412 => {
                self.compare(key, &data).await
            }
            Err(Failure::Answered(answer)) if only_new && answer.refuses_conditions() => {
                let put = self.put_once(&name, data, false).await;
                put.map_err(self.told("put", key))?;
                // It was the condition that it refused.
                self.unconditional.store(true, Ordering::Relaxed);
                Ok(())
            }
            put => put.map_err(self.told("put", key)),
        }
    }

    async fn put_file(&self, key: &str, file: Arc<File>) -> Result<(), ObjectError> {
        let name = self.name(key)?;
        let failed = |error: io::Error| ObjectError::io("put", key, &error);
        let len = file_len(&file).await.map_err(failed)?;
        // Looked at first: a store that refuses a long body for what is there may do so by closing
        // the connection while the body is under way.
        let upload = PartsUpload::new(self, key, &name, &file, len);
        if upload.is_there().await? {
            return Ok(());
        }
        if len > PART_BYTES {
            return upload.run().await;
        }
        let data = read_part(&file, 0..len).await.map_err(failed)?;
        self.put(key, data).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let name = self.name(key)?;
        let short = |have| ObjectError::Short {
            key: key.to_owned(),
            wanted: range.end,
            have,
        };
        if range.start < range.end {
            match self.get_once(&name, &range).await {
                Ok(Found::Data(data)) => return Ok(data),
                Ok(Found::Short(have)) => return Err(short(have)),
                // Nothing of the range is there; how long the object is has to be asked.
                Err(Failure::Answered(answer)) if answer.status == 416 => {}
                Err(failure) => return Err(self.told("get", key)(failure)),
            }
        }
        // S3 has no way to ask for no bytes.
        let len = self.head_once(&name).await.map_err(self.told("get", key))?;
        match len {
            None => Err(ObjectError::Missing {
                key: key.to_owned(),
            }),
            Some(have) if have < range.end => Err(short(have)),
            Some(_) if range.is_empty() => Ok(Bytes::new()),
            Some(have) => Err(ObjectError::Failed {
                action: "get",
                key: key.to_owned(),
                why: format!("the store refuses a range of an object of {have} bytes"),
            }),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<u64>, ObjectError> {
        let name = self.name(key)?;
        self.head_once(&name).await.map_err(self.told("head", key))
    }

    async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        let name = self.name(key)?;
        let request = self.client.delete_object();
        let request = request.bucket(&self.bucket.bucket).key(name);
        match self.answer(request.send()).await {
            Err(Failure::Answered(answer)) if answer.lacks_object() => Ok(()),
            deleted => deleted.map(drop).map_err(self.told("delete", key)),
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: &str,
        count_max: usize,
    ) -> Result<Vec<(String, u64)>, ObjectError> {
        let (mut found, mut token) = (Vec::new(), None);
        while found.len() < count_max {
            let count = self.page_keys.min(count_max - found.len());
            let page = self.list_once(prefix, after, count, token.clone()).await;
            let page = page.map_err(self.told("list", prefix))?;
            token = take_page(page, &self.bucket.prefix, token.as_deref(), &mut found)
                .map_err(self.told("list", prefix))?;
            if token.is_none() {
                break;
            }
        }
        // More than was asked for is no error, but the caller counts on its bound.
        found.truncate(count_max);
        Ok(found)
    }
}

#[cfg(test)]
mod testing;

#[cfg(test)]
pub(crate) use testing::Server;

#[cfg(test)]
#[path = "faults_test.rs"]
mod faults;

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
