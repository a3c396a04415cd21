//! The messages that Curlew stores and sends: generated from `proto/curlew/v1/*.proto`, and
//! converted from and to `meta-core`'s words.
//!
//! What this crate does not know: what a command does, who leads, where bytes are kept. It has no
//! logic but checks: a conversion from a message refuses numbers that it does not know, missing
//! fields, and anything past `meta_core::limits`.
//!
//! Start reading at [`codec`], then at the `.proto` files.
#![warn(missing_docs)]

pub mod codec;
pub mod convert;
pub mod error;
pub mod frame;
pub mod limits;

pub use codec::ProstCodec;
pub use error::ConvertError;

/// Generated messages and services, as in `proto/curlew/v1/*.proto`.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("curlew.v1");
}
