//! Answers that may be cached.

use super::core::Core;
use crate::failure::Failure;
use crate::leases::Way;
use meta_core::attr::{Attr, Caller};
use meta_core::changes::Changes;
use meta_core::command::{Command, CommandBody};
use meta_core::ids::{Ino, SessionId, VolumeId};
use meta_core::kv::KvRead;
use meta_core::outcome::{Fatal, Outcome, Refusal, Reply, Success, Token};
use meta_core::query::{Answer, Query, QueryBody};
use meta_core::read::{attr_of, with_xattrs};
use meta_core::seeded::{Bug, has};
use proto::v1;
use std::collections::BTreeSet;
use std::sync::Arc;

/// An answer, and what else of the same instant can be cached.
struct Found {
    token: Token,
    result: Result<Answer, Refusal>,
    /// The attributes of the directory of a lookup.
    directory: Option<Attr>,
    /// Those files of a listing with attributes that have extended ones.
    with_xattrs: Option<Vec<Ino>>,
    /// The attributes of the files asked about, for a client that gets no leases where an ACL decides:
    /// not every answer has them.
    asked: Vec<Attr>,
}

impl Found {
    fn plain((token, result): (Token, Result<Answer, Refusal>)) -> Self {
        Self {
            token,
            result,
            directory: None,
            with_xattrs: None,
            asked: Vec::new(),
        }
    }
}

impl Core {
    /// Answers a client's query, with leases for its session on what the answer shows.
    pub(crate) async fn leased_query(
        self: &Arc<Self>,
        query: Query,
        session: SessionId,
        way: &Way,
    ) -> Result<v1::LeasedAnswer, Failure> {
        let answered = self.leased_query_inner(query, session, way).await;
        self.metrics.query(match &answered {
            Ok((_, true)) => "answered",
            Ok((_, false)) => "refused",
            Err(failure) => failure.label(),
        });
        answered.map(|(answer, _)| answer)
    }

    async fn leased_query_inner(
        self: &Arc<Self>,
        query: Query,
        session: SessionId,
        way: &Way,
    ) -> Result<(v1::LeasedAnswer, bool), Failure> {
        self.check_leading()?;
        if !has(Bug::StaleRead) {
            self.reads.pass().await?;
        }
        self.check_initialised()?;
        let term = self.leading_term();
        // Before the view: what changes from here on meets the lease, or keeps it from being given.
        let seen = term.and_then(|term| self.leases.last_event(term));
        let volume = query.volume;
        let named = named(&query.body);
        let looked_at = match &named {
            Some(inos) if !way.knows_acls => inos.clone(),
            _ => Vec::new(),
        };
        let Found {
            token,
            result,
            directory,
            with_xattrs,
            asked,
        } = self.find(query, looked_at).await?;
        let mut grant = None;
        if let (Some(term), Some(seen), Some(named)) = (term, seen, named)
            && let Some(mut inos) = shown(named, &result)
            && self.is_origin(volume)?
        {
            let withheld = withheld(way, attrs(&result).chain(&directory).chain(&asked));
            inos.retain(|ino| !withheld.contains(ino));
            let leases = &self.leases;
            grant = leases.grant(term, session, volume, way, seen, &inos);
            refuse(&mut grant, withheld);
        }
        if let Some(grant) = &mut grant {
            grant.directory = directory.as_ref().map(v1::Attr::from);
            grant.xattrs_told = with_xattrs.is_some();
            let with_xattrs = with_xattrs.unwrap_or_default().into_iter();
            grant.with_xattrs = with_xattrs.map(|ino| ino.0).collect();
        }
        let done = result.is_ok();
        let answer = proto::convert::query_answer(token, result.as_ref().map_err(|r| *r));
        let answer = v1::LeasedAnswer {
            answer: Some(answer),
            grant,
        };
        Ok((answer, done))
    }

    /// The answer, what else its view shows that will be asked for next, and the attributes of files
    /// that are to be looked at.
    async fn find(self: &Arc<Self>, query: Query, looked_at: Vec<Ino>) -> Result<Found, Failure> {
        match &query.body {
            QueryBody::Lookup { parent, .. } => {
                let directory = Query {
                    volume: query.volume,
                    caller: Caller::root(),
                    body: QueryBody::GetAttr { ino: *parent },
                };
                let (answer, directory) = self.answer_both(&query, &directory)?;
                let mut found = Found::plain(answer);
                if let (_, Ok(Answer::Attr(attr))) = directory {
                    found.directory = Some(attr);
                }
                Ok(found)
            }
            QueryBody::ReadDir { .. } => self.list(query, looked_at).await,
            _ if looked_at.is_empty() => self.answer(query).await.map(Found::plain),
            _ => {
                let (answer, asked) =
                    self.answer_and(&query, |view, _| attrs_of(view, query.volume, &looked_at))?;
                Ok(Found {
                    asked,
                    ..Found::plain(answer)
                })
            }
        }
    }

    /// A listing. One with attributes is followed by a question for an extended attribute of each
    /// file (`ls -l` asks), unless it is known to have none.
    async fn list(self: &Arc<Self>, query: Query, looked_at: Vec<Ino>) -> Result<Found, Failure> {
        let with_attrs = matches!(
            query.body,
            QueryBody::ReadDir {
                with_attrs: true,
                ..
            }
        );
        self.offloaded(move |core| {
            core.answer_and(&query, |view, result| {
                let asked = attrs_of(view, query.volume, &looked_at)?;
                let with_xattrs = match result {
                    Ok(Answer::Entries { entries, .. }) if with_attrs => {
                        let inos = entries.iter().map(|entry| entry.ino).collect();
                        Some(with_xattrs(view, query.volume, inos)?)
                    }
                    _ => None,
                };
                Ok((asked, with_xattrs))
            })
        })
        .await
        .map(|(answer, (asked, with_xattrs))| Found {
            with_xattrs,
            asked,
            ..Found::plain(answer)
        })
    }

    /// More time for a session's leases.
    pub(crate) async fn renew_lease(
        self: &Arc<Self>,
        ask: v1::RenewLease,
    ) -> Result<v1::LeaseRenewed, Failure> {
        self.check_leading()?;
        // A majority says, or the leader's lease, that nobody else can have been elected before this
        // was asked: what is renewed is over before a successor changes anything.
        self.reads.pass().await?;
        let Some(term) = self.leading_term() else {
            return Ok(v1::LeaseRenewed::default());
        };
        let volume = self.leases.volume_of(SessionId(ask.session));
        let mut renewed = self.leases.renew(term, ask);
        if let Some(volume) = volume.filter(|_| ask.totals) {
            let totals = Query {
                volume,
                caller: Caller::root(),
                body: QueryBody::StatVolume,
            };
            if let (_, Ok(Answer::Stat(stat))) = self.answer(totals).await? {
                renewed.totals = Some((&stat).into());
            }
        }
        Ok(renewed)
    }

    /// Whether a volume is written here. What follows another cluster changes without asking.
    fn is_origin(&self, volume: VolumeId) -> Result<bool, Failure> {
        let read = self
            .reader
            .with_view(|view| meta_core::read::mirror_place(view, volume));
        let place = read.and_then(|place| place);
        Ok(place.map_err(|fatal| self.fatal(&fatal))?.is_none())
    }
}

/// A change of a session that caches, which may make a file or change directories.
pub(crate) struct Making {
    session: SessionId,
    way: Way,
    volume: VolumeId,
    term: u64,
    /// What meets the file later is found by the lease, or keeps it from being given.
    seen: u64,
    directories: Vec<Ino>,
}

impl Core {
    /// What must be known before a change so that its reply can give leases.
    pub(crate) fn making(&self, command: &Command, session: SessionId, way: Way) -> Option<Making> {
        let CommandBody::Request(request) = &command.body else {
            return None;
        };
        let directories = Changes::of(&request.operation).directories;
        if directories.is_empty() {
            return None;
        }
        let term = self.leading_term()?;
        Some(Making {
            session,
            way,
            volume: command.volume,
            term,
            seen: self.leases.last_event(term)?,
            directories,
        })
    }

    /// The reply, with what the session would ask for next: the file that it made, and directories
    /// that it has leases on, and that nobody was about to change when they were read: then whoever
    /// does later asks it.
    pub(crate) fn made(&self, making: Making, reply: &Reply, bytes: Vec<u8>) -> v1::LeasedReply {
        let mut leased = v1::LeasedReply {
            reply: bytes,
            ..v1::LeasedReply::default()
        };
        let Outcome::Done(success) = &reply.outcome else {
            return leased;
        };
        let (session, volume) = (making.session, making.volume);
        if let Success::Entry { attr, created } = success
            && attr.nlink > 0
        {
            let (term, seen, way) = (making.term, making.seen, &making.way);
            if withheld(way, [attr]).is_empty() {
                let inos = [attr.ino];
                leased.grant = self.leases.grant(term, session, volume, way, seen, &inos);
            }
            if let Some(grant) = &mut leased.grant {
                // It begins with the ACLs that its directory hands on, and nothing else.
                grant.xattrs_told = *created && !attr.access_acl && !attr.default_acl;
            }
        }
        let mut directories = making.directories;
        directories.retain(|ino| self.leases.holds_quietly(session, volume, *ino));
        if !directories.is_empty() {
            let read = self.reader.with_view(|view| {
                let attrs = directories.iter().map(|ino| attr_of(view, volume, *ino));
                attrs.collect::<Result<Vec<_>, Fatal>>()
            });
            match read.and_then(|attrs| attrs) {
                Ok(attrs) => {
                    let told = attrs.iter().flatten();
                    let told = told.filter(|attr| withheld(&making.way, [*attr]).is_empty());
                    leased.directories = told.map(v1::Attr::from).collect();
                }
                // The node stops. What was done was done, and is answered.
                Err(fatal) => drop(self.fatal(&fatal)),
            }
        }
        leased
    }
}

/// The files that a question is about, if its answer can be cached, as far as it names them.
fn named(body: &QueryBody) -> Option<Vec<Ino>> {
    match body {
        QueryBody::Lookup { parent: ino, .. }
        | QueryBody::GetAttr { ino }
        | QueryBody::Open { ino, .. }
        | QueryBody::ReadDir { ino, .. }
        | QueryBody::GetXattr { ino, .. }
        | QueryBody::ListXattr { ino }
        | QueryBody::ReadLink { ino } => Some(vec![*ino]),
        // Those that are there are in the answer.
        QueryBody::GetAttrs { .. } | QueryBody::Resolve(_) => Some(Vec::new()),
        _ => None,
    }
}

/// The attributes of those files that are there.
fn attrs_of<K: KvRead>(view: &K, volume: VolumeId, inos: &[Ino]) -> Result<Vec<Attr>, Fatal> {
    let attrs = inos.iter().map(|ino| attr_of(view, volume, *ino));
    attrs.filter_map(Result::transpose).collect()
}

/// The files that a client gets no leases on: those with an ACL, if it would answer by their mode bits.
fn withheld<'a>(way: &Way, shown: impl IntoIterator<Item = &'a Attr>) -> BTreeSet<Ino> {
    if way.knows_acls {
        return BTreeSet::new();
    }
    let guarded = shown.into_iter().filter(|attr| attr.access_acl);
    guarded.map(|attr| attr.ino).collect()
}

/// Says that nothing was leased on some files.
fn refuse(grant: &mut Option<v1::LeaseGrant>, withheld: BTreeSet<Ino>) {
    if let Some(grant) = grant {
        grant.refused.extend(withheld.into_iter().map(|ino| ino.0));
    }
}

/// All attributes in an answer.
fn attrs(result: &Result<Answer, Refusal>) -> Box<dyn Iterator<Item = &Attr> + '_> {
    match result {
        Ok(Answer::Attr(attr)) => Box::new(std::iter::once(attr)),
        Ok(Answer::Attrs(each)) => Box::new(each.iter().flatten()),
        Ok(Answer::Resolved(found)) => {
            let steps = found.steps.iter().map(|step| &step.attr);
            Box::new(std::iter::once(&found.directory).chain(steps))
        }
        Ok(Answer::Entries { entries, .. }) => {
            Box::new(entries.iter().filter_map(|entry| entry.attr.as_ref()))
        }
        Ok(_) | Err(_) => Box::new(std::iter::empty()),
    }
}

/// All files that an answer shows, those that were asked about first.
fn shown(asked: Vec<Ino>, result: &Result<Answer, Refusal>) -> Option<Vec<Ino>> {
    let mut inos = asked;
    match result {
        Ok(Answer::Attr(attr)) => inos.push(attr.ino),
        Ok(Answer::Attrs(each)) => inos.extend(each.iter().flatten().map(|attr| attr.ino)),
        // Directories, and with them that the name is not there at which the path ended.
        Ok(Answer::Resolved(found)) => {
            inos.push(found.directory.ino);
            inos.extend(found.steps.iter().map(|step| step.attr.ino));
        }
        Ok(Answer::Entries { entries, .. }) => {
            let with_attrs = entries.iter().filter(|entry| entry.attr.is_some());
            inos.extend(with_attrs.map(|entry| entry.ino));
        }
        // A target, an extended attribute, their names.
        Ok(Answer::Bytes(_) | Answer::Names(_)) => {}
        // A name or an extended attribute that is not there.
        Err(Refusal::NotFound | Refusal::NoAttribute) => {}
        Ok(_) | Err(_) => return None,
    }
    Some(inos)
}
