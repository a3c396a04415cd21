use super::*;
use crate::answers::Outgoing;
use meta_core::name::Name;
use tokio::sync::mpsc;

const TTL: Duration = Duration::from_secs(2);
const VOLUME: VolumeId = VolumeId(1);
const DIR: Ino = Ino(1);
const FILE: Ino = Ino(7);

struct Client {
    session: SessionId,
    way: Way,
    _frames: mpsc::Receiver<Outgoing>,
    _out: mpsc::Sender<Outgoing>,
}

fn client(number: u64) -> Client {
    let (out, frames) = mpsc::channel(8);
    Client {
        session: SessionId(number),
        way: Way {
            knows_acls: true,
            stream: number,
            out: out.downgrade(),
        },
        _frames: frames,
        _out: out,
    }
}

fn table() -> Table {
    let mut table = Table::new(TTL);
    table.reset(Some(1));
    table.open = true;
    table.granting = true;
    table
}

/// Leases on what a view taken now shows.
fn grant(table: &mut Table, client: &Client, inos: &[Ino], now: Instant) -> v1::LeaseGrant {
    let seen = table.last_event();
    let granted = table.grant(client.session, VOLUME, &client.way, seen, inos, now);
    granted.expect("leases").0
}

fn nobody() -> Own<'static> {
    Own {
        session: SessionId(0),
        stream: 0,
        dropped: &[],
    }
}

fn entry(name: &str) -> Entry {
    Entry {
        volume: VOLUME,
        parent: DIR,
        name: Name::new(name).unwrap(),
    }
}

fn asked(asks: &[Ask]) -> Vec<u64> {
    asks.iter().map(|ask| ask.session.0).collect()
}

fn answer(table: &mut Table, client: &Client, ask: &Ask, released: &[Ino]) {
    let recalled = v1::Recalled {
        session: client.session.0,
        number: ask.number,
        released: released.iter().map(|ino| ino.0).collect(),
    };
    table.recalled(&recalled, client.way.stream);
}

#[test]
fn a_change_asks_all_who_hold_the_file_and_nobody_else() {
    let mut table = table();
    let now = Instant::now();
    let (one, two, three) = (client(1), client(2), client(3));
    grant(&mut table, &one, &[DIR, FILE], now);
    grant(&mut table, &two, &[DIR], now);
    grant(&mut table, &three, &[Ino(9)], now);
    let keys = [(VOLUME, DIR), (VOLUME, FILE)];
    table.latch(&keys);
    let asks = table.recall(&keys, &[entry("a")], false, &nobody(), now);
    assert_eq!(asked(&asks), [1, 2]);
    let Some(v1::server_frame::Body::Recall(recall)) = &asks[1].frame.body else {
        panic!("a recall");
    };
    assert_eq!(recall.files[0].names, [b"a".to_vec()]);
    // Who gives a lease up is not asked again, who keeps it is.
    answer(&mut table, &one, &asks[0], &[DIR, FILE]);
    answer(&mut table, &two, &asks[1], &[]);
    table.unlatch(&keys, true, now);
    assert_eq!(asked(&table.recall(&keys, &[], false, &nobody(), now)), [2]);
    assert_eq!(table.leases(), 2);
}

#[test]
fn who_does_not_know_acls_keeps_nothing_of_a_file_that_may_get_one() {
    let mut table = table();
    let now = Instant::now();
    let (one, mut two) = (client(1), client(2));
    two.way.knows_acls = false;
    grant(&mut table, &one, &[DIR], now);
    grant(&mut table, &two, &[DIR], now);
    for guards in [false, true] {
        let asks = table.recall(&[(VOLUME, DIR)], &[], guards, &nobody(), now);
        let all: Vec<bool> = asks
            .iter()
            .map(|ask| match &ask.frame.body {
                Some(v1::server_frame::Body::Recall(recall)) => recall.files[0].all,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(all, [false, guards]);
    }
}

#[test]
fn who_makes_the_change_is_not_asked_for_what_it_dropped_on_this_stream() {
    let mut table = table();
    let now = Instant::now();
    let one = client(1);
    grant(&mut table, &one, &[DIR, FILE], now);
    let keys = [(VOLUME, DIR), (VOLUME, FILE)];
    let mut own = Own {
        session: one.session,
        stream: one.way.stream,
        dropped: &[DIR.0, FILE.0],
    };
    assert!(table.recall(&keys, &[], false, &own, now).is_empty());
    own.dropped = &[DIR.0];
    assert_eq!(table.recall(&keys, &[], false, &own, now).len(), 1);
    own.dropped = &[DIR.0, FILE.0];
    own.stream = 99;
    assert_eq!(
        table.recall(&keys, &[], false, &own, now).len(),
        1,
        "an old stream"
    );
}

#[test]
fn nothing_is_leased_that_changed_since_the_view_or_is_about_to() {
    let mut table = table();
    let now = Instant::now();
    let one = client(1);
    // Latched.
    table.latch(&[(VOLUME, FILE)]);
    assert_eq!(grant(&mut table, &one, &[DIR, FILE], now).refused, [FILE.0]);
    // The view is from before the change, and the change is over.
    let seen = table.last_event();
    table.unlatch(&[(VOLUME, FILE)], false, now);
    let late = table.grant(one.session, VOLUME, &one.way, seen, &[FILE], now);
    assert_eq!(late.unwrap().0.refused, [FILE.0]);
    assert!(grant(&mut table, &one, &[FILE], now).refused.is_empty());
    // Somebody had to be asked: for a while it is not worth a lease.
    table.latch(&[(VOLUME, FILE)]);
    table.unlatch(&[(VOLUME, FILE)], true, now);
    assert_eq!(grant(&mut table, &one, &[FILE], now).refused, [FILE.0]);
    let later = now + COOLING;
    assert!(grant(&mut table, &one, &[FILE], later).refused.is_empty());
}

#[test]
fn nothing_is_leased_while_changes_run_that_were_not_looked_at() {
    let mut table = table();
    let now = Instant::now();
    let one = client(1);
    table.unseen = 1;
    let seen = table.last_event();
    let none = table.grant(one.session, VOLUME, &one.way, seen, &[FILE], now);
    assert!(none.is_none());
    assert!(table.has_lessees(), "the next changes are looked at");
    table.unseen = 0;
    table.forget();
    let late = table.grant(one.session, VOLUME, &one.way, seen, &[FILE], now);
    assert!(late.is_none(), "the view is from before their end");
    assert!(grant(&mut table, &one, &[FILE], now).refused.is_empty());
}

#[test]
fn leases_end_by_time_and_a_session_that_owes_an_answer_gets_no_more_of_it() {
    let mut table = table();
    let now = Instant::now();
    let one = client(1);
    let generation = grant(&mut table, &one, &[FILE], now).generation;
    let renewal = v1::RenewLease {
        totals: false,
        session: 1,
        generation,
    };
    let renewed = table.renew(renewal, now + TTL / 2);
    assert_eq!((renewed.generation, renewed.ttl_ms), (generation, 2000));
    let ask = table.recall(&[(VOLUME, FILE)], &[], false, &nobody(), now + TTL / 2);
    let owed = table.owed_until(one.session, ask[0].number).unwrap();
    assert_eq!(owed, now + TTL / 2 + TTL + TTL / 20);
    let renewed = table.renew(renewal, now + TTL / 2 + OWING);
    assert_eq!((renewed.generation, renewed.ttl_ms), (generation, 0));
    assert_eq!(table.owed_until(one.session, ask[0].number), Some(owed));
    // The change went on without the answer.
    table.end(one.session);
    assert_eq!(table.leases(), 0);
    assert_eq!(table.renew(renewal, owed).generation, 0);
    assert_ne!(
        grant(&mut table, &one, &[FILE], owed).generation,
        generation
    );
}

#[test]
fn a_session_on_another_stream_begins_anew_and_a_new_leadership_knows_nobody() {
    let mut table = table();
    let now = Instant::now();
    let (one, mut again) = (client(1), client(1));
    let first = grant(&mut table, &one, &[FILE], now).generation;
    again.way.stream = 5;
    let second = grant(&mut table, &again, &[DIR], now).generation;
    assert!(second > first);
    assert_eq!(table.leases(), 1);
    let seen = table.last_event();
    table.reset(Some(2));
    table.granting = true;
    assert_eq!(table.leases(), 0);
    let late = table.grant(again.session, VOLUME, &again.way, seen, &[DIR], now);
    assert!(late.is_none(), "a view of the last leadership");
}

#[test]
fn a_session_with_too_many_leases_is_asked_for_its_oldest() {
    let mut table = table();
    let now = Instant::now();
    let one = client(1);
    let all: Vec<Ino> = (0..PER_SESSION_MAX as u64 + 1).map(Ino).collect();
    let seen = table.last_event();
    let granted = table.grant(one.session, VOLUME, &one.way, seen, &all, now);
    let ask = granted.unwrap().1.expect("a recall");
    let Some(v1::server_frame::Body::Recall(recall)) = &ask.frame.body else {
        panic!("a recall");
    };
    let oldest: Vec<u64> = recall.files.iter().map(|file| file.ino).collect();
    assert_eq!(oldest, (0..EVICTED as u64).collect::<Vec<_>>());
    assert!(recall.files.iter().all(|file| file.all));
    let released: Vec<Ino> = oldest.into_iter().map(Ino).collect();
    answer(&mut table, &one, &ask, &released);
    assert_eq!(table.leases(), PER_SESSION_MAX + 1 - EVICTED);
    // One that never answers does not get without end.
    let more: Vec<Ino> = (1 << 20..(1 << 20) + 3 * PER_SESSION_SLACK as u64)
        .map(Ino)
        .collect();
    assert!(!grant(&mut table, &one, &more, now).refused.is_empty());
    assert!(table.leases() <= PER_SESSION_MAX + PER_SESSION_SLACK);
}

#[test]
fn a_name_is_for_one_change_at_a_time() {
    let mut table = table();
    assert!(table.take_name(&entry("a")).is_none());
    let mut second = table.take_name(&entry("a")).expect("taken");
    let third = table.take_name(&entry("a")).expect("taken");
    assert!(table.take_name(&entry("b")).is_none());
    assert!(second.try_recv().is_err());
    drop(third);
    table.give_name(&entry("a"));
    assert!(second.try_recv().is_ok());
    // The third one has gone away.
    table.give_name(&entry("a"));
    assert!(table.take_name(&entry("a")).is_none());
}

/// A holder may have answered the recall of a change that is not done yet, and keep its lease: the
/// reply to a change of its own must not show it the directory as it was before.
#[test]
fn a_directory_that_somebody_is_about_to_change_is_not_shown_with_a_reply() {
    let mut table = table();
    let now = Instant::now();
    let one = client(1);
    grant(&mut table, &one, &[DIR], now);
    let key = (VOLUME, DIR);
    assert!(table.holds_quietly(one.session, key));
    table.latch(&[key]);
    assert!(!table.holds_quietly(one.session, key));
    table.unlatch(&[key], true, now);
    assert!(table.holds_quietly(one.session, key));
    table.unseen = 1;
    assert!(!table.holds_quietly(one.session, key));
}

#[test]
fn a_view_from_before_the_end_of_a_change_that_nobody_was_asked_about_gives_no_lease() {
    let mut table = table();
    let (now, one) = (Instant::now(), client(1));
    let seen = table.last_event();
    // A change that began while nobody held a lease ends after the view was taken.
    table.unseen = 1;
    table.unseen = 0;
    table.forget();
    assert!(
        table
            .grant(one.session, VOLUME, &one.way, seen, &[FILE], now)
            .is_none()
    );
}
