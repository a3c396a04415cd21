//! Every word comes back as it was, through its bytes.

use crate::words;
use meta_core::attr::FileKind;
use meta_core::codec::Codec;
use meta_core::outcome::{Refusal, Token};
use meta_core::query::{Answer, Query};
use proptest::prelude::*;
use prost::Message;
use proto::convert::{Convert, query_answer};
use proto::{ProstCodec, v1};

proptest! {
    #[test]
    fn a_command_comes_back(command in words::command::command()) {
        let bytes = ProstCodec.encode_command(&command);
        prop_assert_eq!(ProstCodec.decode_command(&bytes).expect("decodes"), command);
    }

    #[test]
    fn a_reply_comes_back(reply in words::reply::reply()) {
        let bytes = ProstCodec.encode_reply(&reply);
        prop_assert_eq!(ProstCodec.decode_reply(&bytes).expect("decodes"), reply);
    }

    #[test]
    fn a_record_comes_back_and_encodes_to_the_same_bytes(record in words::reply::record()) {
        let bytes = ProstCodec.encode_record(&record);
        let decoded = ProstCodec.decode_record(&bytes).expect("decodes");
        prop_assert_eq!(&ProstCodec.encode_record(&decoded), &bytes);
        let message = v1::Record::from(&record).encode_to_vec();
        prop_assert_eq!(&bytes[1..], message);
        prop_assert_eq!(decoded, record);
    }

    #[test]
    fn a_query_comes_back(query in words::query::query()) {
        let bytes = v1::Query::from(&query).encode_to_vec();
        let decoded: Query =
            v1::Query::decode(&bytes[..]).expect("decodes").convert().expect("converts");
        prop_assert_eq!(decoded, query);
    }

    #[test]
    fn an_answer_comes_back_with_its_token(
        token in words::token(),
        answer in words::query::answer(),
        refusal in words::refusal(),
    ) {
        let bytes = query_answer(token, Ok(&answer)).encode_to_vec();
        let decoded: (Token, Result<Answer, Refusal>) =
            v1::QueryAnswer::decode(&bytes[..]).expect("decodes").convert().expect("converts");
        prop_assert_eq!(decoded, (token, Ok(answer)));
        let refused = query_answer(token, Err(refusal)).convert().expect("converts");
        prop_assert_eq!(refused, (token, Err(refusal)));
    }
}

#[test]
fn the_wire_has_the_stored_numbers() {
    for number in 1..=28_u16 {
        let refusal = Refusal::from_number(number).expect("1 to 28 are refusals");
        assert_eq!(
            v1::Refusal::from(refusal) as i32,
            i32::from(number),
            "{refusal:?}"
        );
    }
    for number in 1..=7_u8 {
        let kind = FileKind::from_number(number).expect("1 to 7 are kinds");
        assert_eq!(
            v1::FileKind::from(kind) as i32,
            i32::from(number),
            "{kind:?}"
        );
    }
}
