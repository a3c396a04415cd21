//! Ranges of files that become what other ranges are, without their data being read: both then show the
//! same slices.

use super::VfsError;
use super::handle::HandleId;
use super::vfs_core::Vfs;
use meta_core::attr::{Attr, Caller};
use meta_core::command::{CopyRange, Operation};
use meta_core::ids::SessionId;
use meta_core::limits::CHUNK_BYTES;
use meta_core::outcome::{Refusal, Success};

impl Vfs {
    /// Makes `len` bytes of a file from `to_offset` on what those of a file from `offset` on are. It may be
    /// the same file, if the ranges are apart. What was written to either before is stored and committed
    /// first. Gives how many bytes were copied: fewer where the source ends, none behind its end, and fewer
    /// where something is in the way of the rest, as whoever asks for the rest is told.
    ///
    /// # Errors
    /// [`VfsError::BadHandle`] unless `from` is open to be read and `to` to be written;
    /// [`Refusal::NotSupported`] if the bytes must be read and written instead: on a volume that nodes or
    /// mirrors of an earlier version share, and where a chunk has too many slices or holes;
    /// [`Refusal::InvalidArgument`] for ranges of one file that are not apart; [`Refusal::FileTooLarge`]; what
    /// went wrong with an earlier write to either file, if its handle was not told yet.
    pub async fn copy_range(
        &self,
        from: HandleId,
        offset: u64,
        caller: &Caller,
        to: HandleId,
        to_offset: u64,
        len: u64,
    ) -> Result<u64, VfsError> {
        let source = self.core.handles.file(from)?;
        let target = self.core.handles.file(to)?;
        if !source.read || !target.write {
            return Err(VfsError::BadHandle);
        }
        self.core.check_fence(to, &target)?;
        // The engine copies what is committed, and over what is committed.
        tokio::join!(
            self.core.drain(&source.inode),
            self.core.drain(&target.inode)
        );
        // What could not be stored would be missing from the copy.
        source.tell()?;
        target.tell()?;
        let (from, to) = (&source.inode, &target.inode);
        let len = if from.ino == to.ino {
            // What a first command puts behind the end, a second one must not take for the source.
            let there = self.get_attr(&Caller::root(), from.ino).await?.length;
            len.min(there.saturating_sub(offset))
        } else {
            len
        };
        let sets = from.lock().accesses.sets();
        let mut done = 0;
        // A command that comes to a chunk with too many slices or holes is refused as a whole.
        let mut by_chunks = false;
        while done < len {
            let (at, to_at) = (offset + done, to_offset + done);
            let (rest, room) = (len - done, chunk_room(at, to_at));
            let asked = CopyRange {
                from: from.ino,
                offset: at,
                to: to.ino,
                to_offset: to_at,
                len: if by_chunks { rest.min(room) } else { rest },
            };
            let under = self.core.locked_in(to);
            match self.core.meta.copy_range(under, caller, asked).await {
                Ok((0, _)) => break,
                Ok((copied, attr)) if copied <= asked.len => {
                    // What is read through the handle from now on is of this state.
                    to.learn(attr);
                    done += copied;
                }
                Ok(_) => return Err(VfsError::Unexpected("more copied than asked for")),
                Err(VfsError::Refused(Refusal::LimitReached)) if asked.len > room => {
                    by_chunks = true;
                }
                // What is done must be told: the kernel then drops its pages of that.
                Err(error) if done > 0 => {
                    tracing::debug!(ino = to.ino.0, done, %error, "a copy ends early");
                    break;
                }
                Err(error) => return Err(by_bytes(error)),
            }
        }
        if done > 0 {
            self.core.accessed(&source, sets);
        }
        Ok(done)
    }
}

/// Bytes from two places on that lie in one chunk of either file.
fn chunk_room(at: u64, to_at: u64) -> u64 {
    CHUNK_BYTES - (at % CHUNK_BYTES).max(to_at % CHUNK_BYTES)
}

/// The error of a copy that was not begun. Too many slices or holes are in nobody's way who copies the bytes.
fn by_bytes(error: VfsError) -> VfsError {
    match error {
        VfsError::Refused(Refusal::LimitReached) | VfsError::NotUnderstood(_) => {
            Refusal::NotSupported.into()
        }
        error => error,
    }
}

impl super::meta::Meta {
    /// Gives how many bytes were copied, none where the source has none, and what the target is then. In
    /// one session alone if one is given.
    async fn copy_range(
        &self,
        under: Option<SessionId>,
        caller: &Caller,
        asked: CopyRange,
    ) -> Result<(u64, Attr), VfsError> {
        let operation = Operation::CopyRange(asked);
        let done = match under {
            Some(session) => {
                self.api()
                    .execute_in(session, caller.clone(), operation)
                    .await
            }
            None => self.execute(caller, operation).await,
        };
        match done? {
            Success::Copied { len, attr } => {
                self.saw(&attr);
                Ok((len, attr))
            }
            _ => Err(VfsError::Unexpected("a copied range")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_ends_at_the_next_border_of_a_chunk_of_either_file() {
        assert_eq!(chunk_room(0, 0), CHUNK_BYTES);
        assert_eq!(chunk_room(CHUNK_BYTES - 1, 5), 1);
        assert_eq!(chunk_room(3, 7 * CHUNK_BYTES + 10), CHUNK_BYTES - 10);
    }

    #[test]
    fn what_only_sharing_cannot_do_is_left_to_whoever_copies_bytes() {
        let left = VfsError::Refused(Refusal::NotSupported);
        assert_eq!(by_bytes(Refusal::LimitReached.into()), left);
        assert_eq!(by_bytes(VfsError::NotUnderstood("new".into())), left);
        let full = VfsError::Refused(Refusal::OverQuota);
        assert_eq!(by_bytes(full.clone()), full);
    }
}
