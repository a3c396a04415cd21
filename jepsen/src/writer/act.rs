//! One random operation of a writer, and what its answer may be.

use super::{Appended, Writer, name};
use meta_client::ClientError;
use meta_client::meta_core::command::{
    Append, AppendSlice, Create, Existing, NewNode, Operation, RenameMode,
};
use meta_client::meta_core::ids::{Ino, SliceId};
use meta_client::meta_core::name::Name;
use meta_client::meta_core::outcome::Success;
use rand::Rng as _;

/// Names in a writer's directory, about; above it removing is more likely.
const NAMES_AIM: usize = 300;
/// Slice ids asked for at once.
const GRANT: u32 = 64;

impl Writer {
    pub(super) async fn act(&mut self) {
        let removing = if self.ledger.names.len() > NAMES_AIM {
            40
        } else {
            15
        };
        let dice = self.rng.random_range(0..100);
        if dice < removing {
            self.unlink().await;
        } else if dice < removing + 12 {
            self.rename().await;
        } else if dice < removing + 24 {
            self.link().await;
        } else if dice < removing + 40 {
            self.append().await;
        } else {
            self.create().await;
        }
    }

    /// A name that this writer never used.
    fn fresh(&mut self) -> Option<(String, Name)> {
        self.next += 1;
        let text = format!("f{}", self.next);
        name(&text).ok().map(|name| (text, name))
    }

    /// A name that is there, but not the append file's.
    fn pick(&mut self) -> Option<(String, Name, Ino)> {
        let count = self.ledger.names.len();
        let index = self.rng.random_range(0..count.max(1));
        let (text, ino) = self.ledger.names.iter().nth(index)?;
        let usable = *ino != self.log && !self.ledger.unknown.contains(text);
        let picked = (text.clone(), name(text).ok()?, *ino);
        usable.then_some(picked)
    }

    async fn create(&mut self) {
        let Some((text, name)) = self.fresh() else {
            return;
        };
        let answer = self
            .execute(Operation::Create(Create {
                parent: self.dir,
                name,
                mode: 0o644,
                node: NewNode::Regular,
                masked: 0,
                existing: Existing::Refuse,
            }))
            .await;
        match answer {
            Ok(Success::Entry {
                attr,
                created: true,
            }) if attr.nlink == 1 => {
                self.ledger.names.insert(text, attr.ino);
            }
            Err(ClientError::Unknown(_)) => {
                self.ledger.unknown.insert(text);
            }
            other => self.violation(&format!("create {text}"), &other),
        }
    }

    async fn unlink(&mut self) {
        let Some((text, name, ino)) = self.pick() else {
            return;
        };
        let (left, certain) = (self.ledger.links(ino) - 1, self.ledger.certain());
        let answer = self
            .execute(Operation::Unlink {
                parent: self.dir,
                name,
            })
            .await;
        match answer {
            Ok(Success::Removed { ino: gone, nlink })
                if gone == ino && (nlink == left || !certain) =>
            {
                self.ledger.names.remove(&text);
            }
            Err(ClientError::Unknown(_)) => {
                self.ledger.unknown.insert(text);
            }
            other => self.violation(&format!("unlink {text} ({left} links left)"), &other),
        }
    }

    async fn rename(&mut self) {
        let Some((text, name, ino)) = self.pick() else {
            return;
        };
        let Some((new_text, new_name)) = self.fresh() else {
            return;
        };
        let answer = self
            .execute(Operation::Rename {
                parent: self.dir,
                name,
                new_parent: self.dir,
                new_name,
                mode: RenameMode::NoReplace,
            })
            .await;
        match answer {
            Ok(Success::Renamed {
                ino: moved,
                replaced: None,
            }) if moved == ino => {
                self.ledger.names.remove(&text);
                self.ledger.names.insert(new_text, ino);
            }
            Err(ClientError::Unknown(_)) => {
                self.ledger.unknown.extend([text, new_text]);
            }
            other => self.violation(&format!("rename {text} to {new_text}"), &other),
        }
    }

    async fn link(&mut self) {
        let Some((_, _, ino)) = self.pick() else {
            return;
        };
        let Some((text, name)) = self.fresh() else {
            return;
        };
        let (links, certain) = (self.ledger.links(ino) + 1, self.ledger.certain());
        let answer = self
            .execute(Operation::Link {
                ino,
                parent: self.dir,
                name,
            })
            .await;
        match answer {
            Ok(Success::Entry { attr, .. })
                if attr.ino == ino && (attr.nlink == links || !certain) =>
            {
                self.ledger.names.insert(text, ino);
            }
            Err(ClientError::Unknown(_)) => {
                self.ledger.unknown.insert(text);
            }
            other => self.violation(&format!("link {text} ({links} links expected)"), &other),
        }
    }

    async fn append(&mut self) {
        if self.granted.is_empty() {
            match self.execute(Operation::GrantSlices { count: GRANT }).await {
                Ok(Success::Granted { first, count }) if count == GRANT => {
                    self.granted.extend(first.0..first.0 + u64::from(count));
                }
                Err(ClientError::Unknown(_)) => return,
                other => return self.violation("grant", &other),
            }
        }
        let Some(id) = self.granted.pop_front().map(SliceId) else {
            return;
        };
        let len = self.rng.random_range(1..60_000);
        // Only metadata is checked here: nobody reads the blocks, so none are uploaded.
        let slices = vec![AppendSlice {
            id,
            len,
            frame_crcs: vec![0],
        }];
        let end = self
            .ledger
            .appended
            .last()
            .map_or(0, |a| a.offset + u64::from(a.len));
        let certain = self.ledger.certain();
        let answer = self
            .execute(Operation::Append(Append {
                ino: self.log,
                slices,
            }))
            .await;
        match answer {
            Ok(Success::Appended { offset, .. }) if offset == end || !certain => {
                self.ledger.appended.push(Appended { offset, len, id });
            }
            Err(ClientError::Unknown(_)) => {
                self.ledger.appended_unknown.insert(id);
            }
            other => self.violation(&format!("append at {end}"), &other),
        }
    }
}
