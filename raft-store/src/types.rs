//! The words that Raft and this store share.

use bytes::Bytes;
use meta_core::outcome::Reply;
use openraft::type_config::alias;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A member of the cluster.
pub type NodeId = u64;

/// How a member is reached.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NodeInfo {
    /// `host:port` of its service.
    pub addr: String,
}

/// An encoded command. Nothing in Raft or in the log looks inside.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CommandBytes(pub Bytes);

impl fmt::Debug for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandBytes({})", self.0.len())
    }
}

impl fmt::Display for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl Serialize for CommandBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for CommandBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = CommandBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a command")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<CommandBytes, E> {
                Ok(CommandBytes(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<CommandBytes, E> {
                Ok(CommandBytes(bytes.into()))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

/// What applying one log entry gave to whoever proposed it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Applied {
    /// The entry held no command.
    Nothing,
    /// The command's reply. It never travels in this form: `proto` encodes it for the wire, so
    /// serde refuses it.
    #[serde(skip)]
    Reply(Reply),
}

openraft::declare_raft_types!(
    /// The types that openraft is given.
    pub TypeConfig:
        D = CommandBytes,
        R = Applied,
        NodeId = NodeId,
        Node = NodeInfo,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, NodeId>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

/// A position in the log.
pub type LogId = alias::LogIdOf<TypeConfig>;
/// An entry of the log.
pub type Entry = alias::EntryOf<TypeConfig>;
/// A vote given, with its term.
pub type Vote = alias::VoteOf<TypeConfig>;
/// The members of the cluster.
pub type Membership = openraft::Membership<NodeId, NodeInfo>;
/// The members of the cluster and where in the log they were decided.
pub type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
/// Which part of the log a snapshot stands for.
pub type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
