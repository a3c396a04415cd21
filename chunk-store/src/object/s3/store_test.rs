//! What is particular to S3: prefixes, pages, and what is in a bucket beside our objects.

use super::testing::{BUCKET, Server, store_at};
use super::*;
use std::io::{self, Write as _};

fn data(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn stores_under_two_prefixes_of_a_bucket_do_not_see_each_other() {
    let server = Server::start().await;
    let one = store_at(server.addr(), &format!("{BUCKET}/p/one"));
    let other = store_at(server.addr(), &format!("{BUCKET}/p/one2"));
    one.put("a/b", data("one")).await.expect("put");
    other.put("a/b", data("other")).await.expect("put");
    let there = std::fs::read(server.file("p/one/a/b")).expect("a file");
    assert_eq!(there, b"one");
    for (store, text) in [(&one, "one"), (&other, "other")] {
        let len = text.len() as u64;
        assert_eq!(store.get("a/b", 0..len).await, Ok(data(text)));
        let all = store.list("", "", 9).await.expect("listed");
        assert_eq!(all, [("a/b".to_owned(), len)]);
        assert_eq!(store.list("a/", "a/b", 9).await, Ok(Vec::new()));
    }
    one.delete("a/b").await.expect("deleted");
    assert_eq!(one.head("a/b").await, Ok(None));
    assert_eq!(other.head("a/b").await, Ok(Some(5)));
    crate::check_store(&one).await.expect("sound");
}

#[tokio::test]
async fn lists_go_on_over_pages_of_the_store_and_past_what_is_not_ours() {
    let server = Server::start().await;
    let mut store = server.store();
    store.page_keys = 3;
    let mut keys = Vec::new();
    for n in 0..10 {
        let key = format!("a/{n}");
        store.put(&key, data("x")).await.expect("put");
        keys.push((key, 1));
        // What somebody else put there.
        std::fs::write(server.file(&format!("a/{n} copy")), "y").expect("a file");
    }
    assert_eq!(store.list("", "", 100).await, Ok(keys.clone()));
    assert_eq!(store.list("a/", "", 10).await, Ok(keys.clone()));
    assert_eq!(store.list("a/", "a/2", 4).await, Ok(keys[3..7].to_vec()));
    assert_eq!(store.list("a/", "a/8", 4).await, Ok(keys[9..].to_vec()));
}

#[tokio::test]
async fn a_key_that_is_too_long_with_its_prefix_is_refused() {
    let server = Server::start().await;
    let part = "p".repeat(200);
    let store = store_at(
        server.addr(),
        &format!("{BUCKET}/{part}/{part}/{part}/{part}"),
    );
    let key = format!("{part}/{part}");
    let put = store.put(&key, data("x")).await;
    assert!(matches!(put, Err(ObjectError::BadKey { .. })));
}

#[test]
fn a_list_that_cannot_be_right_is_refused() {
    let object = |key: &str| {
        let object = aws_sdk_s3::types::Object::builder();
        object.key(key).size(1).build()
    };
    let page = |keys: &[&str], next: Option<&str>| {
        let mut page = ListObjectsV2Output::builder();
        for key in keys {
            page = page.contents(object(key));
        }
        page.is_truncated(next.is_some())
            .set_next_continuation_token(next.map(str::to_owned))
            .build()
    };
    let take = |page, asked_with| take_page(page, "p/", asked_with, &mut Vec::new());
    assert_eq!(take(page(&["p/a", "p/b"], None), None), Ok(None));
    let more = take(page(&["p/a", "elsewhere"], Some("t")), None);
    assert_eq!(more, Ok(Some("t".to_owned())));
    assert!(take(page(&["p/b", "p/a"], None), None).is_err());
    assert!(take(page(&["p/a", "p/a"], None), None).is_err());
    assert!(take(page(&["p/a"], Some("t")), Some("t")).is_err());
    let endless = page(&["p/a"], Some("t"));
    let endless = ListObjectsV2Output::builder()
        .set_contents(endless.contents)
        .is_truncated(true);
    assert!(take(endless.build(), None).is_err());
}

/// Set to a bucket's URL, it lets that store be tested, too, with the keys of the environment.
const OWN_BUCKET: &str = "CURLEW_TEST_BUCKET";

#[tokio::test]
async fn a_bucket_of_your_own_does_what_a_volume_needs() {
    let Ok(url) = std::env::var(OWN_BUCKET) else {
        // Not by the macro, whose output is shown only if the test fails.
        let said = writeln!(
            io::stderr(),
            "SKIPPED test of a store of your own: {OWN_BUCKET} is not set"
        );
        return said.expect("stderr");
    };
    let mut bucket = S3Bucket::parse(&url).expect("a URL");
    let run = uuid::Uuid::new_v4();
    bucket.prefix = format!("{}curlew-test-{run}/", bucket.prefix);
    let mut store = S3Store::open(&bucket).expect("keys");
    crate::check_store(&store).await.expect("sound");
    let block = Bytes::from(vec![7; 4 << 20]);
    store.put("a/block", block.clone()).await.expect("put");
    store.put("a/block", block.clone()).await.expect("again");
    let replaced = store.put("a/block", data("other")).await;
    assert!(matches!(replaced, Err(ObjectError::Conflict { .. })));
    let len = block.len() as u64;
    assert_eq!(store.get("a/block", 0..len).await, Ok(block.clone()));
    assert_eq!(store.get("a/block", len..len).await, Ok(Bytes::new()));
    for range in [len - 1..len + 1, len..len + 1, len + 5..len + 9] {
        let short = ObjectError::Short {
            key: "a/block".to_owned(),
            wanted: range.end,
            have: len,
        };
        assert_eq!(store.get("a/block", range).await, Err(short));
    }
    let missing = store.get("a/none", 0..1).await;
    assert!(matches!(missing, Err(ObjectError::Missing { .. })));
    assert_eq!(store.head("a/none").await, Ok(None));
    for key in ["a/b", "a-b", "a0"] {
        store.put(key, data("")).await.expect("put");
    }
    store.page_keys = 2;
    let listed = store.list("", "", 9).await.expect("listed");
    let expected = [("a-b", 0), ("a/b", 0), ("a/block", len), ("a0", 0)];
    let expected = expected.map(|(key, len)| (key.to_owned(), len));
    assert_eq!(listed, expected);
    for (key, _) in &listed {
        store.delete(key).await.expect("deleted");
        store.delete(key).await.expect("deleted again");
    }
    assert_eq!(store.list("", "", 9).await, Ok(Vec::new()));
}
