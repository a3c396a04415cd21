//! Paths of many components, walked from one directory as POSIX has it.
//!
//! [`Walk`] is the walk itself, without anybody who answers: it says which question comes next, and is
//! told the answer. The engine walks so through one view, a client through what it has cached, and,
//! where a node does not know [`crate::query::QueryBody::Resolve`], through one question after the
//! other. So all three find the same. Where mode bits do not decide whether a directory may be passed, the
//! walk asks for its access ACL.

use crate::acl::{self, Acl, needs_acl};
use crate::attr::{Attr, Caller, FileKind};
use crate::ids::Ino;
use crate::limits::{PATH_BYTES_MAX, PATH_LINKS_MAX, PATH_STEPS_MAX};
use crate::name::Name;
use crate::outcome::Refusal;
use crate::query::{Answer, QueryBody};
use crate::read::{may_open, may_search};

/// A path to be walked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolve {
    /// Where it begins, also if the path begins with a slash: nobody but a client knows what else
    /// a slash may stand for. Nothing but a directory leads anywhere.
    pub from: Ino,
    /// Components between slashes, up to [`PATH_BYTES_MAX`] bytes; none lead to `from` itself. `.`
    /// and `..` are what they are elsewhere, and a slash at the end wants a directory.
    pub path: Vec<u8>,
    /// What becomes of symlinks.
    pub links: Links,
    /// What the file that the path leads to must let the caller do.
    pub open: Option<Access>,
}

/// Bytes of a path that is short.
const SHORT_BYTES: usize = 256;

impl Resolve {
    /// Whether it takes few steps: symlinks may make many of it.
    pub fn is_short(&self) -> bool {
        self.links == Links::Stop && self.path.len() <= SHORT_BYTES
    }
}

/// Which symlinks are followed. One whose target begins with a slash never is: it leads to a place
/// on the machine of whoever reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Links {
    /// None: the first one that is in the way ends the walk. One at the path's end is what it leads to.
    Stop,
    /// Those in the way, as `lstat` does.
    Above,
    /// All, as `stat` does.
    All,
}

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// To read.
    pub read: bool,
    /// To write.
    pub write: bool,
}

/// One step of a walk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathStep {
    /// The directory that it was made from.
    pub parent: Ino,
    /// The name that was looked up there. None for `..`, and where a symlink led to the directory itself
    /// that it is in: then `attr` is that directory's.
    pub name: Option<Name>,
    /// The file.
    pub attr: Attr,
}

/// How a walk ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathEnd {
    /// The path leads to the last step's file; without steps, to where the walk began.
    Reached,
    /// The last step's file is a symlink that was not followed. The path goes on with the target,
    /// from the step's parent or the root of a machine, and `rest` behind it.
    Symlink {
        /// The target.
        target: Vec<u8>,
        /// What follows the symlink, with the slash before it.
        rest: Vec<u8>,
    },
    /// A `..` leads out of the volume's root. What is there, who mounted it knows.
    Above {
        /// The path from that `..` on.
        rest: Vec<u8>,
    },
    /// A component was refused: those before it are the steps.
    Refused {
        /// Why, as a lookup of it would be. [`Refusal::Loop`] for one symlink too many;
        /// [`Refusal::NameTooLong`] also where symlinks make the path too long.
        refusal: Refusal,
        /// The path from that component on; empty if all were found, and where they lead is no
        /// directory or must not be opened so.
        rest: Vec<u8>,
    },
}

/// What a walk found, all of one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// Where it began.
    pub directory: Attr,
    /// Its steps, symlinks that were followed among them.
    pub steps: Vec<PathStep>,
    /// How it ended.
    pub end: PathEnd,
}

impl Resolved {
    /// The file of the last step.
    pub fn last(&self) -> &Attr {
        self.steps.last().map_or(&self.directory, |step| &step.attr)
    }

    /// The directory that the walk was in when it ended: where a further component would be looked
    /// up, or a symlink's target begins.
    pub fn place(&self) -> Ino {
        match self.steps.last() {
            Some(step) if step.attr.kind == FileKind::Symlink => step.parent,
            Some(step) => step.attr.ino,
            None => self.directory.ino,
        }
    }
}

/// An answer that is none to the question of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an answer to another question")]
pub struct OtherAnswer;

/// What a walk has asked.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    /// For a name, or for the directory above.
    Step(Option<Name>),
    /// For the target of the last step's symlink.
    Target,
    /// For the access ACL of the place that the walk is at.
    Acl,
}

/// A walk along a path.
#[derive(Debug)]
pub struct Walk<'c> {
    caller: &'c Caller,
    links: Links,
    open: Option<Access>,
    /// What is to be walked yet, from `at` on.
    path: Vec<u8>,
    at: usize,
    /// Where the component begins that was asked for last.
    component: usize,
    /// The directory that the next component is looked up in, or what was found in its place.
    place: Attr,
    /// The place's access ACL, once it was asked for.
    acl: Option<Acl>,
    followed: u32,
    /// Whether the target of the last step's symlink is wanted.
    at_link: bool,
    /// The last step's symlink was followed, and no step made since.
    past_link: bool,
    directory: Attr,
    steps: Vec<PathStep>,
    asked: Option<Asked>,
    end: Option<PathEnd>,
}

impl<'c> Walk<'c> {
    /// One that begins at a file with these attributes.
    pub fn new(caller: &'c Caller, directory: Attr, asked: &Resolve) -> Self {
        let too_long = asked.path.len() > PATH_BYTES_MAX;
        Self {
            caller,
            links: asked.links,
            open: asked.open,
            path: asked.path.clone(),
            at: 0,
            component: 0,
            place: directory.clone(),
            acl: None,
            followed: 0,
            at_link: false,
            past_link: false,
            directory,
            steps: Vec::new(),
            asked: None,
            end: too_long.then(|| PathEnd::Refused {
                refusal: Refusal::NameTooLong,
                rest: asked.path.clone(),
            }),
        }
    }

    /// The next question, on behalf of the same caller; `None` at the end. That the caller may search
    /// the directory of a lookup was checked.
    pub fn question(&mut self) -> Option<QueryBody> {
        while self.end.is_none() {
            if let Some(question) = self.go_on() {
                return Some(question);
            }
        }
        None
    }

    /// Takes in the answer to the last question.
    ///
    /// # Errors
    /// [`OtherAnswer`] if it is none.
    pub fn answer(&mut self, answer: Result<Answer, Refusal>) -> Result<(), OtherAnswer> {
        match (self.asked.take(), answer) {
            (Some(Asked::Step(name)), Ok(Answer::Attr(attr))) => self.step(name, attr),
            (Some(Asked::Target), Ok(Answer::Bytes(target))) => self.target(target),
            (Some(Asked::Acl), Ok(Answer::Bytes(value))) => return self.learn_acl(&value),
            // A directory that is gone loses it with all else: then nobody may do anything.
            (Some(Asked::Acl), Err(Refusal::NoAttribute)) if self.place_is_gone() => {
                self.refuse(Refusal::AccessDenied);
            }
            // It lost it between two questions: its mode bits decide again.
            (Some(Asked::Acl), Err(Refusal::NoAttribute)) => self.place.access_acl = false,
            (Some(Asked::Step(_) | Asked::Acl), Err(refusal)) => self.refuse(refusal),
            // Its file went between two questions: so did its name.
            (Some(Asked::Target), Err(refusal)) => self.refuse_link(refusal),
            (_, _) => return Err(OtherAnswer),
        }
        Ok(())
    }

    /// What was found, once there are no more questions.
    pub fn found(self) -> Resolved {
        Resolved {
            directory: self.directory,
            steps: self.steps,
            end: self.end.unwrap_or(PathEnd::Reached),
        }
    }

    /// Whether the place is a directory without a name. Of a file without one [`opened`] decides.
    fn place_is_gone(&self) -> bool {
        self.place.nlink == 0 && self.place.kind == FileKind::Directory
    }

    fn ask(&mut self, asked: Asked, question: QueryBody) -> Option<QueryBody> {
        self.asked = Some(asked);
        Some(question)
    }

    /// Takes the next component.
    fn go_on(&mut self) -> Option<QueryBody> {
        if let Some(step) = self.steps.last().filter(|_| self.at_link) {
            let ino = step.attr.ino;
            return self.ask(Asked::Target, QueryBody::ReadLink { ino });
        }
        let begin = self.at;
        let left = self.path.get(begin..).unwrap_or_default();
        let slashes = left.iter().take_while(|byte| **byte == b'/').count();
        let left = left.get(slashes..).unwrap_or_default();
        let length = left.iter().take_while(|byte| **byte != b'/').count();
        let component = left.get(..length).unwrap_or_default().to_vec();
        self.component = self.at + slashes;
        self.at = self.component + length;
        if let Some(question) = self.acl_question(component.is_empty()) {
            // With the answer the walk comes here again.
            self.at = begin;
            return Some(question);
        }
        if component.is_empty() {
            self.arrive(slashes > 0);
            return None;
        }
        match self.enter(component) {
            Ok(question) => question,
            Err(refusal) => {
                self.refuse(refusal);
                None
            }
        }
    }

    fn enter(&mut self, component: Vec<u8>) -> Result<Option<QueryBody>, Refusal> {
        may_search(&self.place, self.acl.as_ref(), self.caller)?;
        let (parent, above) = (self.place.ino, self.place.parent);
        match &component[..] {
            b"." => Ok(None),
            b".." if parent == Ino::ROOT => {
                let rest = self.rest_from(self.component);
                self.end = Some(PathEnd::Above { rest });
                Ok(None)
            }
            b".." => Ok(self.ask(Asked::Step(None), QueryBody::GetAttr { ino: above })),
            _ => {
                let name = Name::new(component)?;
                let step = Asked::Step(Some(name.clone()));
                Ok(self.ask(step, QueryBody::Lookup { parent, name }))
            }
        }
    }

    /// The question for the ACL of the place, if it is needed for the next step and not known.
    fn acl_question(&mut self, at_end: bool) -> Option<QueryBody> {
        let is_checked = if at_end {
            let last = self.steps.last().map(|step| step.attr.kind);
            let stopped = last == Some(FileKind::Symlink) && !self.past_link;
            self.open.is_some() && !stopped
        } else {
            self.place.kind == FileKind::Directory
        };
        if !is_checked || self.acl.is_some() || !needs_acl(&self.place, self.caller) {
            return None;
        }
        let (ino, name) = (self.place.ino, acl::ACCESS.to_vec());
        self.ask(Asked::Acl, QueryBody::GetXattr { ino, name })
    }

    fn learn_acl(&mut self, value: &[u8]) -> Result<(), OtherAnswer> {
        match Acl::parse(value) {
            Ok(Some(acl)) => self.acl = Some(acl),
            Ok(None) | Err(_) => return Err(OtherAnswer),
        }
        Ok(())
    }

    fn step(&mut self, name: Option<Name>, attr: Attr) {
        if self.steps.len() >= PATH_STEPS_MAX {
            return self.refuse(Refusal::NameTooLong);
        }
        self.past_link = false;
        let parent = self.place.ino;
        if attr.kind == FileKind::Symlink {
            // The walk stays where it is: the target begins there.
            self.at_link = self.at < self.path.len() || self.links == Links::All;
        } else {
            self.place = attr.clone();
            self.acl = None;
        }
        self.steps.push(PathStep { parent, name, attr });
    }

    fn target(&mut self, target: Vec<u8>) {
        self.at_link = false;
        let rest = self.rest_from(self.at);
        if self.links == Links::Stop || target.starts_with(b"/") {
            self.end = Some(PathEnd::Symlink { target, rest });
        } else if self.followed >= PATH_LINKS_MAX {
            self.refuse_link(Refusal::Loop);
        } else if target.len() + rest.len() > PATH_BYTES_MAX {
            self.refuse_link(Refusal::NameTooLong);
        } else {
            self.followed += 1;
            self.past_link = true;
            self.path = target;
            self.path.extend(rest);
            self.at = 0;
        }
    }

    /// No components are left. `wants_directory`: a slash is.
    fn arrive(&mut self, wants_directory: bool) {
        if self.past_link {
            // What was followed had nothing but `.` in it: not the symlink was arrived at.
            let acl = self.acl.take();
            self.step(None, self.place.clone());
            self.acl = acl;
            if self.end.is_some() {
                return;
            }
        }
        let last = self.steps.last().map_or(&self.directory, |step| &step.attr);
        let arrived = if wants_directory && last.kind != FileKind::Directory {
            Err(Refusal::NotDirectory)
        } else if let Some(open) = self.open {
            // A symlink, which is not the walk's place, has no ACL.
            let last = if last.kind == FileKind::Symlink {
                last
            } else {
                &self.place
            };
            opened(last, self.acl.as_ref(), self.caller, open)
        } else {
            Ok(())
        };
        self.end = Some(match arrived {
            Ok(()) => PathEnd::Reached,
            Err(refusal) => PathEnd::Refused {
                refusal,
                rest: Vec::new(),
            },
        });
    }

    fn refuse(&mut self, refusal: Refusal) {
        let rest = self.rest_from(self.component);
        self.end = Some(PathEnd::Refused { refusal, rest });
    }

    /// The symlink that was found last is not passed.
    fn refuse_link(&mut self, refusal: Refusal) {
        self.steps.pop();
        self.refuse(refusal);
    }

    fn rest_from(&self, at: usize) -> Vec<u8> {
        self.path.get(at..).unwrap_or_default().to_vec()
    }
}

/// Whether a caller may open a file, as [`QueryBody::Open`] says it.
fn opened(attr: &Attr, acl: Option<&Acl>, caller: &Caller, open: Access) -> Result<(), Refusal> {
    if attr.nlink == 0 && attr.kind != FileKind::Directory {
        return Err(Refusal::Stale);
    }
    may_open(attr, acl, caller, open.read, open.write)
}

#[cfg(test)]
#[path = "path_test.rs"]
mod tests;
