use super::*;
use crate::testing::{blank, id};

const ENTRY_BYTES: usize = 10;

fn filled(tail_bytes_max: usize, indexes: Range<u64>) -> Image {
    let mut image = Image::new(tail_bytes_max);
    for index in indexes {
        let ticket = image.issue();
        image.push(blank(1, index), ENTRY_BYTES, ticket).unwrap();
    }
    image
}

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.log_id.index).collect()
}

#[test]
fn an_entry_leaves_memory_only_when_it_is_written() {
    let mut image = filled(0, 0..4);
    assert_eq!(image.split(&(0..4)).0, 0..0);
    image.complete(Ticket(2));
    let (below, recent) = image.split(&(0..4));
    assert_eq!((below, indexes(&recent)), (0..2, vec![2, 3]));
}

#[test]
fn a_tail_within_its_bound_stays() {
    let mut image = filled(2 * ENTRY_BYTES, 0..4);
    image.complete(Ticket(4));
    let (below, recent) = image.split(&(1..4));
    assert_eq!((below, indexes(&recent)), (1..2, vec![2, 3]));
    let (below, recent) = image.split(&(0..1));
    assert_eq!((below, indexes(&recent)), (0..1, vec![]));
}

#[test]
fn a_gap_or_an_older_term_is_refused() {
    let mut image = filled(100, 3..5);
    let ticket = image.issue();
    assert!(image.push(blank(1, 6), ENTRY_BYTES, ticket).is_err());
    assert!(image.push(blank(0, 5), ENTRY_BYTES, ticket).is_err());
    assert!(image.push(blank(2, 5), ENTRY_BYTES, ticket).is_ok());
    assert_eq!(image.indexes(), 3..6);
}

#[test]
fn entries_appended_after_a_cut_are_not_mistaken_for_written_ones() {
    let mut image = filled(0, 0..6);
    let cut = image.issue();
    assert_eq!(image.truncate(Some(id(1, 2))), 3..6);
    let again = image.issue();
    image.push(blank(2, 3), ENTRY_BYTES, again).unwrap();
    // The first appends are done, up to index 5 of the old entries; the new entry 3 is not.
    image.complete(Ticket(6));
    let (below, recent) = image.split(&(0..4));
    assert_eq!((below, indexes(&recent)), (0..3, vec![3]));
    image.complete(cut);
    assert_eq!(image.split(&(0..4)).0, 0..3);
    image.complete(again);
    assert_eq!(image.split(&(0..4)).0, 0..4);
}

#[test]
fn a_cut_to_nothing_leaves_what_was_purged_as_the_last() {
    let mut image = filled(100, 0..6);
    assert_eq!(image.truncate(None), 0..6);
    assert_eq!((image.last, image.indexes()), (None, 0..0));
    let mut image = filled(100, 0..6);
    image.purge(id(1, 2));
    assert_eq!(image.truncate(Some(id(1, 2))), 3..6);
    assert_eq!((image.last, image.indexes()), (Some(id(1, 2)), 3..3));
}

#[test]
fn a_purge_may_go_beyond_the_end() {
    let mut image = filled(100, 0..6);
    assert_eq!(image.purge(id(1, 2)), Some(0..3));
    assert_eq!(image.purge(id(1, 1)), None);
    assert_eq!(image.indexes(), 3..6);
    assert_eq!(image.purge(id(3, 20)), Some(3..21));
    assert_eq!((image.last, image.indexes()), (Some(id(3, 20)), 21..21));
    let ticket = image.issue();
    image.push(blank(3, 21), ENTRY_BYTES, ticket).unwrap();
    assert_eq!(indexes(&image.split(&(21..22)).1), vec![21]);
}

#[test]
fn the_tip_tells_where_log_and_vote_end() {
    let mut image = filled(100, 0..2);
    image.vote = Some(Vote::new(4, 1));
    assert_eq!(
        image.tip(),
        Tip {
            last: Some(id(1, 1)),
            vote_term: 4
        }
    );
}
