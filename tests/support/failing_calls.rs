//! A library to be loaded before a program (`LD_PRELOAD`), in which the call `FAIL_AT` of those that concern files fails with
//! the error `FAIL_WITH`. The file `FAIL_NOTE` tells which it was, or at the end how many calls there were.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn getenv(name: *const c_char) -> *const c_char;
    fn lseek64(file: c_int, offset: i64, whence: c_int) -> i64;
    fn __errno_location() -> *mut c_int;
}

/// The next library that has the name.
const RTLD_NEXT: *mut c_void = usize::MAX as *mut c_void;

/// Pipes, sockets and terminals do not fail so: what writes to them fails by closing them.
fn is_file(file: c_int) -> bool {
    const CURRENT: c_int = 1;
    unsafe { lseek64(file, 0, CURRENT) >= 0 }
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

fn setting(name: &CStr) -> Option<&'static str> {
    let value = unsafe { getenv(name.as_ptr()) };
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) }.to_str().unwrap_or_default())
}

fn number(name: &CStr) -> usize {
    setting(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Writes with calls that are not counted.
fn note(text: &str) {
    if let Some(path) = setting(c"FAIL_NOTE") {
        // A failure shows as a note that is missing.
        let _ = std::fs::write(path, text);
    }
}

/// Counts a call; whether it is to fail.
fn strikes(name: &str) -> bool {
    let call = CALLS.fetch_add(1, Ordering::SeqCst) + 1;
    if call != number(c"FAIL_AT") {
        return false;
    }
    note(name);
    unsafe { *__errno_location() = number(c"FAIL_WITH") as c_int };
    true
}

/// Puts a function before the one of the same name that comes next.
macro_rules! fail {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty $(, if $condition:expr)?;)*) => {$(
        /// # Safety
        ///
        /// As the one that it stands before.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            if true $(&& $condition)? && strikes(stringify!($name)) {
                return Failed::FAILED;
            }
            const NAME: &str = concat!(stringify!($name), "\0");
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let mut next = NEXT.load(Ordering::Relaxed);
            if next == 0 {
                next = unsafe { dlsym(RTLD_NEXT, NAME.as_ptr().cast()) } as usize;
                NEXT.store(next, Ordering::Relaxed);
            }
            type Next = unsafe extern "C" fn($($type),*) -> $result;
            let next: Next = unsafe { std::mem::transmute(next) };
            unsafe { next($($argument),*) }
        }
    )*};
}

/// What a call returns when it fails.
trait Failed {
    const FAILED: Self;
}

impl Failed for c_int {
    const FAILED: Self = -1;
}

impl Failed for isize {
    const FAILED: Self = -1;
}

impl Failed for *mut c_void {
    const FAILED: Self = std::ptr::null_mut();
}

fail! {
    open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int;
    open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int;
    openat(dir: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int;
    openat64(dir: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int;
    opendir(path: *const c_char) -> *mut c_void;
    readdir64(dir: *mut c_void) -> *mut c_void;
    read(file: c_int, buffer: *mut c_void, count: usize) -> isize, if is_file(file);
    pread64(file: c_int, buffer: *mut c_void, count: usize, offset: i64) -> isize;
    write(file: c_int, buffer: *const c_void, count: usize) -> isize, if is_file(file);
    writev(file: c_int, parts: *const c_void, count: c_int) -> isize, if is_file(file);
    pwrite64(file: c_int, buffer: *const c_void, count: usize, offset: i64) -> isize;
    splice(from: c_int, at: *mut i64, to: c_int, there: *mut i64, count: usize, flags: c_uint) -> isize;
    sendfile(to: c_int, from: c_int, offset: *mut i64, count: usize) -> isize;
    fsync(file: c_int) -> c_int;
    fdatasync(file: c_int) -> c_int;
    syncfs(file: c_int) -> c_int;
    ftruncate64(file: c_int, length: i64) -> c_int;
    fallocate(file: c_int, mode: c_int, offset: i64, length: i64) -> c_int;
    rename(from: *const c_char, to: *const c_char) -> c_int;
    renameat(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char) -> c_int;
    unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int;
    mkdir(path: *const c_char, mode: c_uint) -> c_int;
    mkdirat(dir: c_int, path: *const c_char, mode: c_uint) -> c_int;
    futimens(file: c_int, times: *const c_void) -> c_int;
    fchmod(file: c_int, mode: c_uint) -> c_int;
    fchown(file: c_int, user: c_uint, group: c_uint) -> c_int;
    flock(file: c_int, operation: c_int) -> c_int;
    stat64(path: *const c_char, status: *mut c_void) -> c_int;
    lstat(path: *const c_char, status: *mut c_void) -> c_int;
    fstat64(file: c_int, status: *mut c_void) -> c_int;
    fstatat(dir: c_int, path: *const c_char, status: *mut c_void, flags: c_int) -> c_int;
    fstatat64(dir: c_int, path: *const c_char, status: *mut c_void, flags: c_int) -> c_int;
    fstatfs64(file: c_int, status: *mut c_void) -> c_int;
    fstatvfs64(file: c_int, status: *mut c_void) -> c_int;
    statx(dir: c_int, path: *const c_char, flags: c_int, mask: c_uint, status: *mut c_void) -> c_int;
    readlink(path: *const c_char, buffer: *mut c_char, count: usize) -> isize;
    readlinkat(dir: c_int, path: *const c_char, buffer: *mut c_char, count: usize) -> isize;
    pipe2(ends: *mut c_int, flags: c_int) -> c_int;
    dup(file: c_int) -> c_int;
    socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
}

extern "C" fn count() {
    if number(c"FAIL_AT") == 0 {
        note(&CALLS.load(Ordering::SeqCst).to_string());
    }
}

/// Called at the end of the program.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_END: extern "C" fn() = count;
