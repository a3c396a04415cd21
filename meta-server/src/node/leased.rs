//! Answers that may be cached.

use super::core::Core;
use crate::failure::Failure;
use crate::leases::Way;
use meta_core::attr::{Attr, Caller};
use meta_core::ids::{Ino, SessionId, VolumeId};
use meta_core::outcome::{Refusal, Token};
use meta_core::query::{Answer, Query, QueryBody};
use meta_core::seeded::{Bug, has};
use proto::v1;
use std::sync::Arc;

/// An answer, and the attributes of the directory of a lookup.
type Found = (Token, Result<Answer, Refusal>, Option<Attr>);

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
        let parent = match &query.body {
            QueryBody::Lookup { parent, .. } => Some(*parent),
            _ => None,
        };
        let asked = named(&query.body);
        let (token, result, directory) = self.find(query, parent).await?;
        let mut grant = None;
        if let (Some(term), Some(seen), Some(asked)) = (term, seen, asked)
            && let Some(inos) = shown(asked, &result)
            && self.is_origin(volume)?
        {
            let leases = &self.leases;
            grant = leases.grant(term, session, volume, way, seen, &inos);
        }
        if let Some(grant) = &mut grant {
            grant.directory = directory.as_ref().map(v1::Attr::from);
        }
        let done = result.is_ok();
        let answer = proto::convert::query_answer(token, result.as_ref().map_err(|r| *r));
        let answer = v1::LeasedAnswer {
            answer: Some(answer),
            grant,
        };
        Ok((answer, done))
    }

    /// The answer, with the directory of a lookup from the same view.
    async fn find(self: &Arc<Self>, query: Query, parent: Option<Ino>) -> Result<Found, Failure> {
        let Some(ino) = parent else {
            let (token, result) = self.answer(query).await?;
            return Ok((token, result, None));
        };
        let directory = Query {
            volume: query.volume,
            caller: Caller::root(),
            body: QueryBody::GetAttr { ino },
        };
        let (answer, directory) = self.answer_both(&query, &directory)?;
        let directory = match directory.1 {
            Ok(Answer::Attr(attr)) => Some(attr),
            Ok(_) | Err(_) => None,
        };
        Ok((answer.0, answer.1, directory))
    }

    /// More time for a session's leases.
    pub(crate) async fn renew_lease(
        &self,
        ask: v1::RenewLease,
    ) -> Result<v1::LeaseRenewed, Failure> {
        self.check_leading()?;
        // A majority says that nobody else leads: what is renewed is over before a successor that
        // is elected from now on changes anything.
        self.reads.pass().await?;
        let term = self.leading_term();
        Ok(term.map_or_else(v1::LeaseRenewed::default, |term| {
            self.leases.renew(term, ask)
        }))
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

/// The file or directory that a question is about, if its answer can be cached.
fn named(body: &QueryBody) -> Option<Ino> {
    match body {
        QueryBody::Lookup { parent, .. } => Some(*parent),
        QueryBody::GetAttr { ino }
        | QueryBody::Open { ino, .. }
        | QueryBody::ReadDir { ino, .. } => Some(*ino),
        _ => None,
    }
}

/// All files that an answer shows, the one that was asked about first.
fn shown(asked: Ino, result: &Result<Answer, Refusal>) -> Option<Vec<Ino>> {
    let mut inos = vec![asked];
    match result {
        Ok(Answer::Attr(attr)) => inos.push(attr.ino),
        Ok(Answer::Entries { entries, .. }) => {
            let with_attrs = entries.iter().filter(|entry| entry.attr.is_some());
            inos.extend(with_attrs.map(|entry| entry.ino));
        }
        // A name that is not there.
        Err(Refusal::NotFound) => {}
        Ok(_) | Err(_) => return None,
    }
    Some(inos)
}
