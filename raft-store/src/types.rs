//! The words that Raft and this store share.

use bytes::Bytes;
use meta_core::outcome::Reply;
use openraft::type_config::alias;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A member of the cluster.
pub type NodeId = u64;

/// A member's data, from when they were made until they are lost. 0 is that of a member that was
/// added before there were incarnations: any will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// Whether a member that is known by this one may have data of `other`.
    pub fn admits(self, other: Self) -> bool {
        self.0 == 0 || self == other
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How a member is reached, and which data it must have: one that lost them must not vote, because
/// it may have forgotten what it acknowledged.
///
/// Encoded as a struct of one text, `host:port`, followed by `#` and the incarnation in 16
/// hexadecimal digits unless it is 0.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeInfo {
    /// `host:port` of its service.
    pub addr: String,
    /// Of its data.
    pub incarnation: Incarnation,
}

/// [`NodeInfo`] as it is encoded.
#[derive(Serialize, Deserialize)]
#[serde(rename = "NodeInfo")]
struct EncodedNode {
    addr: String,
}

impl Serialize for NodeInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut addr = self.addr.clone();
        if self.incarnation != Incarnation::default() {
            addr = format!("{addr}#{}", self.incarnation);
        }
        EncodedNode { addr }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NodeInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let EncodedNode { addr } = EncodedNode::deserialize(deserializer)?;
        let Some((addr, digits)) = addr.split_once('#') else {
            let incarnation = Incarnation::default();
            return Ok(Self { addr, incarnation });
        };
        let number = (digits.len() == 16).then(|| u64::from_str_radix(digits, 16));
        match number {
            Some(Ok(number)) => Ok(Self {
                addr: addr.to_owned(),
                incarnation: Incarnation(number),
            }),
            _ => Err(de::Error::custom("a member's incarnation is no number")),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn a_member_of_the_time_before_incarnations_is_read() {
        let member = |incarnation| {
            let addr = "h:1".to_owned();
            let info = NodeInfo { addr, incarnation };
            let voters = vec![BTreeSet::from([1])];
            Membership::new(voters, BTreeMap::from([(1, info)])).unwrap()
        };
        let old = member(Incarnation::default());
        let new = member(Incarnation(0xab));
        let bytes = |members: &Membership| wire::encode(members).unwrap();
        assert_eq!(wire::decode::<Membership>(&bytes(&old)).unwrap(), old);
        assert_eq!(wire::decode::<Membership>(&bytes(&new)).unwrap(), new);
        // All that was added is text behind the address.
        assert_eq!(
            bytes(&new).len() - bytes(&old).len(),
            "#00000000000000ab".len()
        );
    }

    #[test]
    fn a_member_that_was_made_without_one_admits_any_incarnation() {
        assert!(Incarnation(0).admits(Incarnation(5)));
        assert!(Incarnation(5).admits(Incarnation(5)));
        assert!(!Incarnation(5).admits(Incarnation(6)));
        assert!(!Incarnation(5).admits(Incarnation(0)));
    }
}
