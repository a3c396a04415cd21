//! Paths and many files at once: answered from memory if all of it is known at one moment, and learnt
//! from as lookups and attributes are.

use super::State;
use super::events::Moment;
use super::file::File;
use meta_core::attr::{Attr, Caller};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use meta_core::path::{PathEnd, Resolve, Resolved, Walk};
use meta_core::query::Answer;

impl State {
    pub(super) fn attrs(&mut self, inos: &[Ino]) -> Option<Result<Answer, Refusal>> {
        let each = inos.iter().map(|ino| self.attr(*ino).map(Ok));
        each.collect::<Option<_>>()
            .map(|each| Ok(Answer::Attrs(each)))
    }

    pub(super) fn resolve(
        &mut self,
        caller: &Caller,
        asked: &Resolve,
    ) -> Option<Result<Answer, Refusal>> {
        let directory = self.attr(asked.from)?;
        let mut walk = Walk::new(caller, directory, asked);
        while let Some(question) = walk.question() {
            let answer = self.answer(caller, &question)?;
            walk.answer(answer).ok()?;
        }
        let found = walk.found();
        // The leader knows who may hold what has no name.
        if asked.open.is_some() && found.last().nlink == 0 {
            return None;
        }
        Some(Ok(Answer::Resolved(found)))
    }

    /// What was found along a path, as far as it is leased: names, attributes, the target of a symlink
    /// that ended the walk, and that a name is not there.
    pub(super) fn learn_path(
        &mut self,
        begun: Moment,
        found: &Resolved,
        leased: &impl Fn(Ino) -> bool,
    ) {
        let mut directory = &found.directory;
        self.learn_leased(begun, directory, leased);
        for step in &found.steps {
            self.learn_leased(begun, &step.attr, leased);
            if let Some(name) = step.name.as_ref().filter(|_| leased(step.parent)) {
                let answer = Ok(Answer::Attr(step.attr.clone()));
                self.learn_name(begun, step.parent, name, &answer, None);
            }
            if step.attr.ino == found.place() {
                directory = &step.attr;
            }
        }
        match &found.end {
            PathEnd::Symlink { target, .. } if leased(found.last().ino) => {
                self.learn_more(begun, found.last().ino, |file: &mut File| {
                    file.learn_target(target);
                });
            }
            PathEnd::Refused {
                refusal: Refusal::NotFound,
                rest,
            } if leased(found.place()) => {
                let name = rest.split(|byte| *byte == b'/').next();
                if let Some(Ok(name)) = name.map(Name::new) {
                    let directory = (directory.ino == found.place()).then(|| directory.clone());
                    let missing = Err(Refusal::NotFound);
                    self.learn_name(begun, found.place(), &name, &missing, directory);
                }
            }
            PathEnd::Reached
            | PathEnd::Symlink { .. }
            | PathEnd::Above { .. }
            | PathEnd::Refused { .. } => {}
        }
    }

    fn learn_leased(&mut self, begun: Moment, attr: &Attr, leased: &impl Fn(Ino) -> bool) {
        if leased(attr.ino) {
            self.learn_attr(begun, attr);
        }
    }
}

#[cfg(test)]
#[path = "paths_test.rs"]
mod tests;
