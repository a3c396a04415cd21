use super::*;
use crate::snapshot::Source;
use crate::state::AppliedState;

fn snapshot(files: &[(&str, &[u8])]) -> SnapshotFiles {
    let entries = files.iter().map(|(name, bytes)| FileEntry {
        name: (*name).into(),
        bytes: bytes.len() as u64,
        crc32: crc32fast::hash(bytes),
    });
    let manifest = Manifest::new(Source::Rows, AppliedState::default(), entries.collect());
    let content = files
        .iter()
        .map(|(name, bytes)| ((*name).into(), Bytes::copy_from_slice(bytes)));
    SnapshotFiles::in_memory(manifest, content.collect())
}

fn chunks(files: &SnapshotFiles) -> Vec<SnapshotChunk> {
    files.chunks(1).collect::<Result<_, _>>().unwrap()
}

fn sample() -> SnapshotFiles {
    snapshot(&[("a", &[1; 10_000]), ("empty", b""), ("b", b"xyz")])
}

fn feed(chunks: Vec<SnapshotChunk>) -> Result<SnapshotFiles, StoreError> {
    let mut receiver = SnapshotReceiver::in_memory();
    for chunk in chunks {
        receiver.push(chunk)?;
    }
    receiver.finish()
}

fn refused(chunks: Vec<SnapshotChunk>) -> String {
    match feed(chunks) {
        Err(StoreError::Snapshot(why)) => why,
        other => panic!("it was taken: {other:?}"),
    }
}

#[test]
fn what_is_sent_arrives() {
    let sent = sample();
    let pieces = chunks(&sent);
    assert_eq!(
        pieces.len(),
        1 + 3 + 1 + 1,
        "manifest, three pieces of a, empty, b"
    );
    let got = feed(pieces).unwrap();
    assert_eq!(got.meta(), sent.meta());
    assert_eq!(got.total_bytes(), 10_003);
    got.verify().unwrap();
    assert_eq!(got.memory_file("a"), sent.memory_file("a"));
}

#[test]
fn a_damaged_gap_or_repeated_chunk_is_refused() {
    let pieces = chunks(&sample());
    let mut damaged = pieces.clone();
    damaged[1].crc32 ^= 1;
    assert!(refused(damaged).contains("damaged"));
    let mut gap = pieces.clone();
    gap.remove(2);
    assert!(refused(gap).contains("was expected"));
    let mut repeated = pieces.clone();
    repeated.insert(2, pieces[1].clone());
    assert!(refused(repeated).contains("was expected"));
    let mut swapped = pieces.clone();
    swapped.swap(4, 5);
    assert!(refused(swapped).contains("was expected"));
}

#[test]
fn too_little_or_too_much_is_refused() {
    let pieces = chunks(&sample());
    for length in 0..pieces.len() {
        refused(pieces[..length].to_vec());
    }
    let mut more = pieces.clone();
    more.push(pieces[5].clone());
    assert!(refused(more).contains("more came"));
    let mut longer = pieces.clone();
    let data = Bytes::from(vec![1; 20_000]);
    longer[1].crc32 = crc32fast::hash(&data);
    longer[1].data = data;
    assert!(refused(longer).contains("longer"));
}

#[test]
fn a_file_with_other_bytes_of_the_same_length_is_refused() {
    let mut pieces = chunks(&sample());
    let data = Bytes::from_static(b"xyw");
    pieces[5].crc32 = crc32fast::hash(&data);
    pieces[5].data = data;
    assert!(refused(pieces).contains("damaged"));
}

#[test]
fn a_manifest_that_names_a_path_is_refused() {
    for name in [
        "../a",
        "/etc/passwd",
        "a/b",
        "",
        ".hidden",
        "a\0b",
        MANIFEST_FILE,
    ] {
        let why = refused(chunks(&snapshot(&[(name, b"x")])));
        assert!(why.contains("is no name"), "{name:?}: {why}");
    }
    assert!(refused(chunks(&snapshot(&[]))).contains("0 files"));
}

#[test]
fn files_before_the_manifest_are_refused() {
    let mut pieces = chunks(&sample());
    pieces.remove(0);
    assert!(refused(pieces).contains("before the manifest"));
}

#[test]
fn a_sender_whose_file_is_damaged_stops() {
    let mut files = BTreeMap::new();
    files.insert(String::from("a"), Bytes::from_static(b"abc"));
    let entry = FileEntry {
        name: "a".into(),
        bytes: 3,
        crc32: crc32fast::hash(b"abd"),
    };
    let manifest = Manifest::new(Source::Rows, AppliedState::default(), vec![entry]);
    let sent: Vec<_> = SnapshotFiles::in_memory(manifest, files)
        .chunks(1)
        .collect();
    assert!(sent.last().unwrap().is_err());
    assert_eq!(sent.iter().filter(|piece| piece.is_err()).count(), 1);
}
