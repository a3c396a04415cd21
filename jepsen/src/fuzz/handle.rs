//! Does operations on what is open.

use super::act::{owners, timestamps};
use super::facts::Facts;
use super::op::{Act, Hold, LockKind, Whence};
use super::outcome::Outcome;
use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{
    FallocateFlags, FlockOperation, Mode, OFlags, SeekFrom, copy_file_range, fallocate, fchmod,
    fchown, fdatasync, flock, fsync, ftruncate, futimens, seek, tell,
};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

/// What direct I/O is aligned to.
const ALIGNMENT: usize = 4_096;
/// The longest file on ext4, in bytes.
const EXT4_BYTES_MAX: i64 = 1 << 44;
/// Names in one read of a directory.
const DIR_BYTES: usize = 1_024;

/// Something that is open.
#[derive(Debug)]
pub(super) struct Slot {
    file: File,
    flags: OFlags,
    directory: Option<Stream>,
}

/// A listing under way.
#[derive(Debug)]
struct Stream {
    /// What was there when it began.
    first: BTreeMap<Vec<u8>, u64>,
    /// What it has told, and the places behind.
    told: Vec<(Vec<u8>, u64)>,
    ended: bool,
}

/// Bytes to be written.
pub(super) fn pattern(fill: u8, length: usize) -> Vec<u8> {
    // So that a piece in a wrong place shows.
    (0..length)
        .map(|at| fill.wrapping_add((at >> 9) as u8) | 1)
        .collect()
}

fn number(count: usize) -> Outcome {
    Outcome::Number(i64::try_from(count).unwrap_or(i64::MAX))
}

impl Slot {
    pub(super) fn open(path: &Path, flags: i32, mode: u32) -> io::Result<Self> {
        let flags = OFlags::from_bits_retain(flags.cast_unsigned());
        // Nobody is waited for at the other end of a fifo.
        let opened = flags | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file: File = rustix::fs::open(path, opened, Mode::from_bits_retain(mode))?.into();
        let directory = if file.metadata()?.is_dir() {
            Some(Stream::begin(&file))
        } else {
            None
        };
        Ok(Self {
            file,
            flags,
            directory,
        })
    }

    pub(super) fn act(&mut self, act: &Act, touched: &[String]) -> io::Result<Outcome> {
        match *act {
            Act::Read { .. } | Act::Write { .. } | Act::ReadAt { .. } | Act::WriteAt { .. } => {
                self.data(act)
            }
            Act::Seek { at, whence } => self.seek(at, whence),
            Act::Map { at, length, fill } => self.map(at, length, fill),
            Act::Stat => Ok(Outcome::Facts(Facts::of(&self.file.metadata()?))),
            Act::Lock {
                kind,
                hold,
                at,
                length,
            } => self.lock(kind, hold, at, length),
            Act::Entries { count } => match &mut self.directory {
                Some(stream) => stream.read(&self.file, count, touched),
                None => Ok(Outcome::Nothing),
            },
            Act::Back { to } => match &mut self.directory {
                Some(stream) => stream.back(&self.file, to),
                None => Ok(Outcome::Nothing),
            },
            _ => self.change(act).map(|()| Outcome::Done),
        }
    }

    fn change(&self, act: &Act) -> io::Result<()> {
        let file = &self.file;
        match *act {
            Act::Truncate { length } => ftruncate(file, length.cast_unsigned())?,
            Act::Fallocate { mode, at, length } => {
                let mode = FallocateFlags::from_bits_retain(mode);
                fallocate(file, mode, at.cast_unsigned(), length.cast_unsigned())?;
            }
            Act::Sync { data_only: true } => fdatasync(file)?,
            Act::Sync { .. } => fsync(file)?,
            Act::Chmod { mode } => fchmod(file, Mode::from_bits_retain(mode))?,
            Act::Chown { uid, gid } => {
                let (uid, gid) = owners(uid, gid);
                fchown(file, uid, gid)?;
            }
            Act::Utimes { atime, mtime } => futimens(file, &timestamps(atime, mtime))?,
            _ => return Err(io::Error::other("no change")),
        }
        Ok(())
    }

    fn data(&self, act: &Act) -> io::Result<Outcome> {
        let direct = self.flags.contains(OFlags::DIRECT);
        let whole = |at: usize| {
            if direct {
                at.next_multiple_of(ALIGNMENT)
            } else {
                at
            }
        };
        let place = |at: i64| {
            if direct {
                at & !(ALIGNMENT as i64 - 1)
            } else {
                at
            }
        };
        match *act {
            // The position would be where direct I/O cannot go on.
            // Each file system has places of its own in a directory, and some are too far to be read at.
            Act::Read { .. } if self.directory.is_some() => {
                rustix::io::pread(&self.file, &mut [0_u8; 1][..], 0)?;
                Ok(Outcome::Wrong("a directory was read".to_owned()))
            }
            Act::Read { length } if !direct => {
                let mut bytes = vec![0; length];
                let read = rustix::io::read(&self.file, &mut bytes[..])?;
                Ok(Outcome::bytes(&bytes[..read]))
            }
            Act::Write { length, fill } if !direct => {
                let written = rustix::io::write(&self.file, &pattern(fill, length))?;
                Ok(number(written))
            }
            Act::ReadAt { at, length } => {
                let mut room = Aligned::new(whole(length));
                let at = place(at).cast_unsigned();
                let read = rustix::io::pread(&self.file, room.bytes(), at)?;
                Ok(Outcome::bytes(&room.bytes()[..read]))
            }
            Act::WriteAt { at, length, fill } => {
                let mut room = Aligned::new(whole(length));
                let bytes = pattern(fill, whole(length));
                room.bytes().copy_from_slice(&bytes);
                let at = place(at).cast_unsigned();
                let written = rustix::io::pwrite(&self.file, room.bytes(), at)?;
                Ok(number(written))
            }
            _ => Ok(Outcome::Nothing),
        }
    }

    fn seek(&self, at: i64, whence: Whence) -> io::Result<Outcome> {
        if self.directory.is_some() || at >= EXT4_BYTES_MAX {
            return Ok(Outcome::Nothing);
        }
        let to = match whence {
            Whence::Start => SeekFrom::Start(at.cast_unsigned()),
            Whence::Current => SeekFrom::Current(at),
            Whence::End => SeekFrom::End(at),
            Whence::Data | Whence::Hole => return self.seek_hole(at, whence),
        };
        let found = seek(&self.file, to)?;
        Ok(Outcome::Number(i64::try_from(found).unwrap_or(-1)))
    }

    /// What is a hole is the file system's affair: it is only told where it may not be one.
    fn seek_hole(&self, at: i64, whence: Whence) -> io::Result<Outcome> {
        let Ok(start) = u64::try_from(at) else {
            return Ok(Outcome::Nothing);
        };
        let before = tell(&self.file)?;
        let length = self.file.metadata()?.size();
        let data = |from: u64| match seek(&self.file, SeekFrom::Data(from)) {
            Err(Errno::NXIO) if from < length => Ok(length),
            other => other.map_err(io::Error::from),
        };
        let (from, to) = if whence == Whence::Data {
            (start, data(start)?)
        } else {
            let hole = seek(&self.file, SeekFrom::Hole(start))?;
            (hole, if hole < length { data(hole)? } else { hole })
        };
        seek(&self.file, SeekFrom::Start(before))?;
        if from < start || to < from || to > length {
            let why = format!("{whence:?} {at} of {length}: {from}..{to}");
            return Ok(Outcome::Wrong(why));
        }
        // Who may only write cannot look.
        if self.flags.bits().cast_signed() & libc::O_ACCMODE == libc::O_WRONLY {
            return Ok(Outcome::Done);
        }
        let mut hole = vec![0; usize::try_from((to - from).min(1 << 20)).unwrap_or(0)];
        if !self.flags.contains(OFlags::DIRECT) {
            self.file.read_exact_at(&mut hole, from)?;
        }
        Ok(match hole.iter().position(|byte| *byte != 0) {
            Some(place) => {
                let place = from + place as u64;
                Outcome::Wrong(format!("data at {place} in the hole {from}..{to}"))
            }
            None => Outcome::Done,
        })
    }

    #[expect(
        unsafe_code,
        reason = "there is no safe way to map memory among our dependencies"
    )]
    fn map(&self, at: i64, length: usize, fill: u8) -> io::Result<Outcome> {
        // Each file system gives directories lengths of its own.
        if self.directory.is_some() {
            return Ok(Outcome::Nothing);
        }
        let size = self.file.metadata()?.size();
        let at = at.cast_unsigned() & !(ALIGNMENT as u64 - 1);
        // Behind the end there is nothing to be mapped.
        let room = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX);
        let length = length.min(room);
        if length == 0 {
            return Ok(Outcome::Nothing);
        }
        // SAFETY: a new mapping of an open file, chosen by the system.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                self.file.as_raw_fd(),
                at.cast_signed(),
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping is of `length` bytes of the file, which nobody cuts meanwhile, as
        // operations on it follow each other; nothing else refers to it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(address.cast::<u8>(), length) };
        let before = Outcome::bytes(bytes);
        bytes.copy_from_slice(&pattern(fill, length));
        // SAFETY: address and length of the mapping, which is not used after munmap.
        let (synced, unmapped) = unsafe {
            let synced = libc::msync(address, length, libc::MS_SYNC);
            let synced = (synced != 0).then(io::Error::last_os_error);
            let unmapped = libc::munmap(address, length);
            (synced, (unmapped != 0).then(io::Error::last_os_error))
        };
        match synced.or(unmapped) {
            Some(error) => Err(error),
            None => Ok(before),
        }
    }

    fn lock(&self, kind: LockKind, hold: Hold, at: i64, length: i64) -> io::Result<Outcome> {
        if kind == LockKind::Flock {
            let operation = match hold {
                Hold::Shared => FlockOperation::NonBlockingLockShared,
                Hold::Exclusive => FlockOperation::NonBlockingLockExclusive,
                Hold::Unlock => FlockOperation::NonBlockingUnlock,
            };
            flock(&self.file, operation)?;
            return Ok(Outcome::Done);
        }
        let l_type = match hold {
            Hold::Shared => libc::F_RDLCK,
            Hold::Exclusive => libc::F_WRLCK,
            Hold::Unlock => libc::F_UNLCK,
        };
        let mut lock = libc::flock {
            l_type: l_type as i16,
            l_whence: libc::SEEK_SET as i16,
            l_start: at,
            l_len: length,
            l_pid: 0,
        };
        let call = match kind {
            LockKind::Ask => FcntlArg::F_GETLK(&mut lock),
            LockKind::Description => FcntlArg::F_OFD_SETLK(&lock),
            LockKind::Record | LockKind::Flock => FcntlArg::F_SETLK(&lock),
        };
        fcntl(&self.file, call)?;
        Ok(
            if kind == LockKind::Ask && i32::from(lock.l_type) != libc::F_UNLCK {
                let (kind, start, length, pid) =
                    (lock.l_type, lock.l_start, lock.l_len, lock.l_pid);
                Outcome::Text(format!("{kind} {start} {length} {pid}"))
            } else {
                Outcome::Done
            },
        )
    }
}

/// Copies, however small the pieces are that the system likes.
pub(super) fn copy(
    from: &Slot,
    mut from_at: Option<u64>,
    to: &Slot,
    mut to_at: Option<u64>,
    length: usize,
) -> io::Result<Outcome> {
    // Where direct I/O may begin and end differs.
    if (from.flags | to.flags).contains(OFlags::DIRECT) {
        return Ok(Outcome::Nothing);
    }
    let mut copied = 0;
    loop {
        let (source, target) = (from_at.as_mut(), to_at.as_mut());
        let rest = length - copied;
        match copy_file_range(&from.file, source, &to.file, target, rest) {
            Ok(0) => break,
            Ok(more) => copied += more,
            // Of a part that is done the amount is told.
            Err(_) if copied > 0 => break,
            Err(error) => return Err(error.into()),
        }
        if copied == length {
            break;
        }
    }
    Ok(number(copied))
}

/// Bytes at an address that direct I/O takes.
#[derive(Debug)]
struct Aligned {
    room: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        let room = vec![0; length + ALIGNMENT];
        let start = room.as_ptr().align_offset(ALIGNMENT);
        Self {
            room,
            start,
            length,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.start + self.length]
    }
}

impl Stream {
    fn begin(file: &File) -> Self {
        Self {
            first: Self::there(file),
            told: Vec::new(),
            ended: false,
        }
    }

    /// What is there now, by another listing. Nothing, where that may not be looked at.
    fn there(directory: &File) -> BTreeMap<Vec<u8>, u64> {
        let mut found = BTreeMap::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(directory, ".", flags, Mode::empty()) else {
            return found;
        };
        let mut buffer = [MaybeUninit::uninit(); 32 * DIR_BYTES];
        let mut entries = rustix::fs::RawDir::new(&file, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            found.insert(entry.file_name().to_bytes().to_vec(), entry.ino());
        }
        found
    }

    /// The next entries. At the end: whether all that stayed was told once.
    fn read(&mut self, file: &File, count: usize, touched: &[String]) -> io::Result<Outcome> {
        let mut buffer = [MaybeUninit::uninit(); DIR_BYTES];
        let mut entries = rustix::fs::RawDir::new(file, &mut buffer);
        let mut read = 0;
        while !self.ended && (count == 0 || read < count) {
            match entries.next() {
                Some(entry) => {
                    let entry = entry?;
                    let name = entry.file_name().to_bytes().to_vec();
                    self.told.push((name, entry.next_entry_cookie()));
                    read += 1;
                }
                None => self.ended = true,
            }
        }
        // What the buffer holds beyond that is asked for again.
        let place = self.told.last().map_or(0, |(_, behind)| *behind);
        if !self.ended {
            seek(file, SeekFrom::Start(place))?;
            return Ok(Outcome::Done);
        }
        let now = Self::there(file);
        for (name, ino) in &self.first {
            let stayed = now.get(name) == Some(ino) && !touched.contains(&super::op::text(name));
            let times = self.told.iter().filter(|(told, _)| told == name).count();
            if stayed && times != 1 {
                let name = super::op::text(name);
                return Ok(Outcome::Wrong(format!(
                    "{name} stayed and was told {times} times"
                )));
            }
        }
        Ok(Outcome::Done)
    }

    fn back(&mut self, file: &File, to: usize) -> io::Result<Outcome> {
        let to = to.min(self.told.len());
        self.told.truncate(to);
        self.ended = false;
        if to == 0 {
            // From the start it is a new listing.
            self.first = Self::there(file);
        }
        let place = self.told.last().map_or(0, |(_, behind)| *behind);
        seek(file, SeekFrom::Start(place))?;
        Ok(Outcome::Done)
    }
}
