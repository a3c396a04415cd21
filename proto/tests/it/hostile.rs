//! Bytes from outside never panic, and what decodes was within its limits.

use crate::words;
use meta_core::codec::Codec;
use meta_core::outcome::Fatal;
use meta_core::query::Query;
use proptest::prelude::*;
use prost::Message;
use proto::convert::Convert;
use proto::{ProstCodec, v1};

/// All readers take the bytes; whatever they say, they come back.
fn read_all(bytes: &[u8]) {
    let _command = ProstCodec.decode_command(bytes);
    let _reply = ProstCodec.decode_reply(bytes);
    let _record = ProstCodec.decode_record(bytes);
    let _query: Option<Result<Query, _>> = v1::Query::decode(bytes).ok().map(Convert::convert);
    let _answer = v1::QueryAnswer::decode(bytes).ok().map(Convert::convert);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_all(&bytes);
        bytes.insert(0, proto::codec::FORMAT_VERSION);
        read_all(&bytes);
    }

    #[test]
    fn a_flipped_bit_never_panics_and_never_loses_its_type(
        command in words::command::command(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut bytes = ProstCodec.encode_command(&command);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        read_all(&bytes);
        if let Err(error) = ProstCodec.decode_command(&bytes) {
            prop_assert!(matches!(error, Fatal::Command(_)), "{error:?}");
        }
    }

    #[test]
    fn a_cut_reply_is_damaged_or_lacks_a_field(
        reply in words::reply::reply(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = ProstCodec.encode_reply(&reply);
        let cut = cut.index(bytes.len());
        match ProstCodec.decode_reply(&bytes[..cut]) {
            Ok(short) => prop_assert_ne!(short, reply),
            Err(error) => {
                prop_assert!(matches!(error, Fatal::Damaged { what: "reply", .. }), "{error:?}");
            }
        }
    }
}
