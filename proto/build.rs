//! Compiles the `.proto` files with protox, so that no protoc is needed on the machine.

use std::error::Error;

const FILES: [&str; 9] = [
    "proto/curlew/v1/types.proto",
    "proto/curlew/v1/command.proto",
    "proto/curlew/v1/reply.proto",
    "proto/curlew/v1/record.proto",
    "proto/curlew/v1/query.proto",
    "proto/curlew/v1/client.proto",
    "proto/curlew/v1/raft.proto",
    "proto/curlew/v1/admin.proto",
    "proto/curlew/v1/changelog.proto",
];

/// Payloads that are passed on without a copy.
const SHARED_BYTES: [&str; 9] = [
    ".curlew.v1.CheckedFrame.frame",
    ".curlew.v1.ClientFrame.execute",
    ".curlew.v1.LeasedExecute.command",
    ".curlew.v1.ServerFrame.reply",
    ".curlew.v1.RaftRequest.payload",
    ".curlew.v1.RaftResponse.payload",
    ".curlew.v1.SnapshotHead.payload",
    ".curlew.v1.SnapshotChunk.data",
    ".curlew.v1.SnapshotDone.payload",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    // Without the generated `connect` functions, which would clash with the rpc of that name.
    let mut builder = tonic_prost_build::configure().build_transport(false);
    for path in SHARED_BYTES {
        builder = builder.bytes(path);
    }
    builder.compile_fds(protox::compile(FILES, ["proto"])?)?;
    Ok(())
}
