//! The SDK's client, set up so that it waits and retries only as this crate decides.

use super::bucket::S3Bucket;
use super::credentials::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use std::time::Duration;

/// How long one attempt waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timeouts {
    /// For a connection.
    pub(super) connect: Duration,
    /// While no byte of an answer's body comes, and for the answer to a request that has no body.
    pub(super) silence: Duration,
    /// For all of it: also what a put may take whose block goes slowly, beside all the others
    /// that share the line. 20 blocks of 4 MiB in this time are 4 Mbit/s.
    pub(super) attempt: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            attempt: Duration::from_secs(180),
        }
    }
}

/// A client for one bucket. Nothing is sent yet.
pub(super) fn client(bucket: &S3Bucket, keys: Credentials, timeouts: Timeouts) -> Client {
    let Credentials {
        access_key,
        secret_key,
        session_token,
    } = keys;
    let keys = aws_sdk_s3::config::Credentials::new(
        access_key,
        secret_key,
        session_token,
        None,
        "environment",
    );
    // Downloads are watched where their bytes are read. Of uploads the SDK sees only that it has
    // given the one frame of a block away, so it could tell nothing.
    let stalled = StalledStreamProtectionConfig::disabled();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(timeouts.connect)
        .operation_attempt_timeout(timeouts.attempt)
        .build();
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&bucket.endpoint)
        .force_path_style(bucket.path_style)
        .region(Region::new(bucket.region.clone()))
        .credentials_provider(keys)
        .timeout_config(timeouts)
        .stalled_stream_protection(stalled)
        // Every retry comes out of the one budget of an upload or a read.
        .retry_config(RetryConfig::disabled())
        // Many stores refuse or mangle the SDK's own checksums. What is sent is covered by the
        // signature, and what is read is checked against the crcs in the metadata.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    Client::from_conf(config.build())
}
