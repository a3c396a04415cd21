use super::super::tests::{DIR, FILE, LINK, attr, cache, granted, name, recall};
use super::*;
use meta_core::attr::FileKind;
use meta_core::ids::Seq;
use tokio::time::Instant;

fn lookup(text: &str) -> QueryBody {
    let (parent, name) = (DIR, name(text));
    QueryBody::Lookup { parent, name }
}

fn asked(cache: &LeaseCache, body: &QueryBody) -> bool {
    cache.answer(&Caller::root(), body).is_some()
}

fn file() -> Attr {
    attr(FILE, FileKind::Regular, 0)
}

fn directory() -> Attr {
    attr(DIR, FileKind::Directory, 3)
}

/// A cache that knows two names of a directory, and that a third is not there, and has used them.
fn known() -> Arc<LeaseCache> {
    let cache = cache();
    let none = Err(Refusal::NotFound);
    for (text, answer) in [
        ("a", Ok(Answer::Attr(file()))),
        ("b", Ok(Answer::Attr(file()))),
        ("none", none),
    ] {
        let leased = granted(Instant::now(), Some(3), &[]);
        cache.learn(cache.begin(), &lookup(text), &answer, leased);
        assert!(asked(&cache, &lookup(text)));
    }
    cache
}

/// The stream breaks, and another one comes.
fn another_stream(cache: &LeaseCache) {
    cache.detach(LINK);
    cache.attach(LINK);
    for text in ["a", "b", "none"] {
        assert!(!asked(cache, &lookup(text)), "{text} is leased no more");
    }
}

fn told(attrs: &[Attr], epoch: u16) -> (Token, Result<Answer, Refusal>) {
    let token = Token {
        epoch: Epoch(epoch),
        seq: Seq(9),
    };
    let each = attrs.iter().cloned().map(Ok).collect();
    (token, Ok(Answer::Attrs(each)))
}

fn confirm(cache: &LeaseCache, begun: Moment, attrs: &[Attr], refused: &[Ino]) {
    let mut leased = granted(Instant::now(), None, refused);
    leased.grant.generation = 10;
    cache.confirm(begun, &told(attrs, 0), &leased);
}

#[tokio::test(start_paused = true)]
async fn what_is_as_it_was_is_known_again_with_all_its_names() {
    let cache = known();
    another_stream(&cache);
    let (mut inos, epoch) = cache.retained().expect("something is worth a question");
    inos.sort_unstable();
    assert_eq!((inos, epoch), (vec![DIR, FILE], Epoch(0)));
    confirm(&cache, cache.begin(), &[directory(), file()], &[]);
    for text in ["a", "b", "none"] {
        assert!(asked(&cache, &lookup(text)), "{text}");
    }
    assert!(!asked(&cache, &lookup("c")), "it was never known");
    recall(&cache, DIR, &["a"]);
    assert!(!asked(&cache, &lookup("a")));
    assert!(asked(&cache, &lookup("none")));
    let state = cache.state.lock();
    let sum: usize = state.files.values().map(File::weight).sum();
    assert_eq!(state.weight, sum);
    drop(state);
    assert_eq!(cache.retained(), None, "asked once");
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_is_not_taken_for_what_it_was() {
    let cache = known();
    another_stream(&cache);
    let mut changed = directory();
    changed.ctime.nanos += 1;
    confirm(&cache, cache.begin(), &[changed, file()], &[]);
    for text in ["a", "b", "none"] {
        assert!(!asked(&cache, &lookup(text)), "{text}");
    }
    assert!(asked(&cache, &QueryBody::GetAttr { ino: DIR }));

    // A lease that was refused, a recall that came first, and a file that is gone.
    for case in ["refused", "recalled", "gone"] {
        let cache = known();
        another_stream(&cache);
        let begun = cache.begin();
        match case {
            "refused" => confirm(&cache, begun, &[directory(), file()], &[DIR]),
            "recalled" => {
                recall(&cache, DIR, &["a"]);
                confirm(&cache, begun, &[directory(), file()], &[]);
            }
            _ => confirm(&cache, begun, &[file()], &[]),
        }
        for text in ["a", "b", "none"] {
            assert!(!asked(&cache, &lookup(text)), "{case}: {text}");
        }
        assert!(asked(&cache, &QueryBody::GetAttr { ino: FILE }), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_epoch_or_another_session_tells_nothing_of_what_was_known() {
    let cache = known();
    another_stream(&cache);
    let attrs = [directory(), file()];
    let leased = granted(Instant::now(), None, &[]);
    cache.confirm(cache.begin(), &told(&attrs, 1), &leased);
    assert!(!asked(&cache, &lookup("a")));
    // Seen before the stream broke: what was known may be older.
    let cache = known();
    cache.saw(Epoch(1));
    another_stream(&cache);
    assert_eq!(cache.retained().expect("kept").1, Epoch(1));
    confirm(&cache, cache.begin(), &attrs, &[]);
    assert!(!asked(&cache, &lookup("a")));

    let cache = known();
    another_stream(&cache);
    cache.begin_anew();
    assert_eq!(cache.retained(), None);
    confirm(&cache, cache.begin(), &attrs, &[]);
    assert!(!asked(&cache, &lookup("a")));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_from_a_time_before_a_change_of_this_client() {
    use meta_core::command::Operation;
    let cache = known();
    another_stream(&cache);
    let begun = cache.begin();
    let unlink = Operation::Unlink {
        parent: DIR,
        name: name("a"),
    };
    let change = cache.change(&unlink);
    confirm(&cache, begun, &[directory()], &[]);
    assert!(!asked(&cache, &lookup("b")));
    drop(change);
    let change = cache.change(&unlink);
    drop(change);
    confirm(&cache, begun, &[directory()], &[]);
    assert!(!asked(&cache, &lookup("b")));
}

#[tokio::test(start_paused = true)]
async fn what_was_of_no_use_is_not_asked_for_and_directories_come_first() {
    let cache = cache();
    let answer = Ok(Answer::Attr(file()));
    let leased = granted(Instant::now(), Some(3), &[]);
    cache.learn(cache.begin(), &lookup("a"), &answer, leased);
    cache.detach(LINK);
    cache.attach(LINK);
    assert_eq!(cache.retained(), None, "nobody asked for it");

    let many = 100..200 + RETAINED_MAX as u64;
    let attrs = many.map(|ino| {
        let kind = match ino % 100 {
            0 => FileKind::Directory,
            _ => FileKind::Regular,
        };
        attr(Ino(ino), kind, 1)
    });
    let attrs: Vec<Attr> = attrs.collect();
    for attrs in attrs.chunks(GET_ATTRS_MAX) {
        let inos = attrs.iter().map(|attr| attr.ino).collect();
        let body = QueryBody::GetAttrs { inos };
        let leased = granted(Instant::now(), None, &[]);
        cache.learn(cache.begin(), &body, &told(attrs, 0).1, leased);
        assert!(asked(&cache, &body));
    }
    cache.detach(LINK);
    cache.attach(LINK);
    let (kept, _) = cache.retained().expect("kept");
    assert_eq!(kept.len(), RETAINED_MAX);
    let directories = |inos: &[Ino]| inos.iter().filter(|ino| ino.0 % 100 == 0).count();
    let all: Vec<Ino> = attrs.iter().map(|attr| attr.ino).collect();
    assert_eq!(directories(&kept), directories(&all));
}
