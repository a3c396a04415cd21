//! The functions that stand in for those of the C library. `sync_file_range` is not among them: it
//! promises nothing, and RocksDB calls it to see whether it is there.

use crate::plan::{Call, fails, fails_at};
use libc::{c_char, c_int, c_uint, c_void, iovec, off_t, off64_t, size_t, ssize_t};
use std::ffi::CStr;
use std::sync::OnceLock;

/// Defines functions of the C library: each fails if it is to, and else calls the real one.
macro_rules! calls {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty, $call:ident on $fd:ident;)*) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                type Real = unsafe extern "C" fn($($type),*) -> $result;
                static REAL: OnceLock<Real> = OnceLock::new();
                if fails(Call::$call, $fd) {
                    return io_error() as $result;
                }
                // SAFETY: the next library that has this name is the C library, where it has this
                // type.
                let real = REAL.get_or_init(|| unsafe {
                    std::mem::transmute::<*mut c_void, Real>(next(concat!(stringify!($name), "\0")))
                });
                // SAFETY: the arguments are passed on as they came.
                unsafe { real($($argument),*) }
            }
        )*
    };
}

calls! {
    fsync(fd: c_int) -> c_int, Sync on fd;
    fdatasync(fd: c_int) -> c_int, Sync on fd;
    write(fd: c_int, from: *const c_void, len: size_t) -> ssize_t, Write on fd;
    pwrite(fd: c_int, from: *const c_void, len: size_t, at: off_t) -> ssize_t, Write on fd;
    pwrite64(fd: c_int, from: *const c_void, len: size_t, at: off64_t) -> ssize_t, Write on fd;
    writev(fd: c_int, from: *const iovec, count: c_int) -> ssize_t, Write on fd;
    pwritev(fd: c_int, from: *const iovec, count: c_int, at: off_t) -> ssize_t, Write on fd;
    pwritev64(fd: c_int, from: *const iovec, count: c_int, at: off64_t) -> ssize_t, Write on fd;
    copy_file_range(
        from: c_int,
        from_at: *mut off64_t,
        fd: c_int,
        at: *mut off64_t,
        len: size_t,
        flags: c_uint
    ) -> ssize_t, Write on fd;
    sendfile64(fd: c_int, from: c_int, at: *mut off64_t, len: size_t) -> ssize_t, Write on fd;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    type Real = unsafe extern "C" fn(*const c_char, *const c_char) -> c_int;
    static REAL: OnceLock<Real> = OnceLock::new();
    // SAFETY: rename(2) is given strings that end with a zero.
    if fails_at(Call::Rename, unsafe { CStr::from_ptr(to) }) {
        return io_error();
    }
    // SAFETY: as in the macro above.
    let real =
        REAL.get_or_init(|| unsafe { std::mem::transmute::<*mut c_void, Real>(next("rename\0")) });
    // SAFETY: the arguments are passed on as they came.
    unsafe { real(from, to) }
}

/// The function of this name in the libraries after this one.
fn next(name: &'static str) -> *mut c_void {
    // SAFETY: the name ends with a zero.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr().cast()) };
    if found.is_null() {
        // Without it the program cannot go on, and a panic must not cross into C.
        std::process::abort();
    }
    found
}

/// Tells EIO.
fn io_error() -> c_int {
    // SAFETY: the C library gives each thread a valid place.
    unsafe { *libc::__errno_location() = libc::EIO };
    -1
}

/// Writes to the standard error.
pub(crate) fn say(text: &str) {
    // SAFETY: the bytes are there for the length given.
    let _gone = unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}

/// Adds to the end of a file.
pub(crate) fn append(file: &CStr, text: &str) {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    // SAFETY: the path ends with a zero, and the bytes are there for the length given.
    unsafe {
        let fd = libc::open(file.as_ptr(), flags, 0o644);
        if fd >= 0 {
            let _short = libc::write(fd, text.as_ptr().cast(), text.len());
            libc::close(fd);
        }
    }
}
