//! An S3 server on loopback: it checks signatures and keeps objects as files.

use crate::object::s3::client::Timeouts;
use crate::object::s3::credentials::Credentials;
use crate::object::s3::{S3Bucket, S3Store};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput, HeadBucketInput,
    HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output,
    PutObjectInput, PutObjectOutput, UploadPartInput, UploadPartOutput,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) const ACCESS_KEY: &str = "the-access-key";
pub(crate) const SECRET_KEY: &str = "the-secret-key";
pub(crate) const BUCKET: &str = "blocks";

/// A server; it ends with this.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    /// Where the bucket's objects are files.
    root: TempDir,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join(BUCKET)).expect("a bucket");
        let files = FileSystem::new(root.path()).expect("a server");
        let mut builder = S3ServiceBuilder::new(Strict {
            files,
            root: root.path().to_owned(),
        });
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, builder.build()));
        Self {
            addr,
            root,
            _tasks: tasks,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where an object is, or would be.
    pub(crate) fn file(&self, key: &str) -> PathBuf {
        self.root.path().join(BUCKET).join(key)
    }

    /// A store over the whole bucket.
    pub(crate) fn store(&self) -> S3Store {
        store_at(self.addr, BUCKET)
    }
}

/// A store that reaches a bucket, and perhaps a prefix, by some address.
pub(crate) fn store_at(addr: SocketAddr, path: &str) -> S3Store {
    store_with(addr, path, [ACCESS_KEY, SECRET_KEY], Timeouts::default())
}

pub(crate) fn store_with(
    addr: SocketAddr,
    path: &str,
    [access_key, secret_key]: [&str; 2],
    timeouts: Timeouts,
) -> S3Store {
    let bucket = S3Bucket::parse(&format!("http://{addr}/{path}")).expect("a URL");
    let keys = Credentials {
        access_key: access_key.to_owned(),
        secret_key: secret_key.to_owned(),
        session_token: None,
    };
    S3Store::new(bucket, keys, timeouts)
}

async fn serve(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let service = service.clone();
        connections.spawn(async move {
            let http = Builder::new(TokioExecutor::new());
            // A client that went away is none of the server's business.
            let _gone = http.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The file server, but told apart as S3 does: what is in no bucket from what is in one, and
/// directories from objects.
struct Strict {
    files: FileSystem,
    root: PathBuf,
}

impl Strict {
    fn bucket(&self, name: &str) -> S3Result<()> {
        if self.root.join(name).is_dir() {
            Ok(())
        } else {
            Err(s3_error!(NoSuchBucket))
        }
    }

    fn object(&self, bucket: &str, key: &str) -> S3Result<()> {
        self.bucket(bucket)?;
        if self.root.join(bucket).join(key).is_dir() {
            Err(s3_error!(NoSuchKey))
        } else {
            Ok(())
        }
    }
}

#[async_trait::async_trait]
impl S3 for Strict {
    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.bucket(&request.input.bucket)?;
        self.files.put_object(request).await
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.object(&request.input.bucket, &request.input.key)?;
        self.files.get_object(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.object(&request.input.bucket, &request.input.key)?;
        self.files.head_object(request).await
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.bucket(&request.input.bucket)?;
        self.files.delete_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.bucket(&request.input.bucket)?;
        self.files.create_multipart_upload(request).await
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.bucket(&request.input.bucket)?;
        self.files.upload_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.bucket(&request.input.bucket)?;
        self.files.complete_multipart_upload(request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.bucket(&request.input.bucket)?;
        self.files.abort_multipart_upload(request).await
    }
}
