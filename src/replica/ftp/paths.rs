//! Full paths on the server, as bytes.

use crate::error::{Error, ErrorKind, Result};
use crate::job::ServerPath;

/// The root's full path: the login directory comes from the server.
pub(super) fn root_path(path: &ServerPath, login_dir: Option<&[u8]>) -> Result<Vec<u8>> {
    match path {
        ServerPath::Absolute(path) => Ok(join(b"/", path.as_bytes())),
        ServerPath::FromLogin(path) => match login_dir {
            Some(dir) => Ok(join(dir, path.as_bytes())),
            None => Err(Error::new(ErrorKind::Unsupported(
                "the server does not tell the login directory; give the full path without ~",
            ))),
        },
    }
}

pub(super) fn join(dir: &[u8], path: &[u8]) -> Vec<u8> {
    let mut full = dir.to_vec();
    if !path.is_empty() {
        if !full.ends_with(b"/") {
            full.push(b'/');
        }
        full.extend_from_slice(path);
    }
    full
}

/// The directory that a full path lies in; none for the server's root.
pub(super) fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    match slash {
        0 if path.len() == 1 => None,
        0 => Some(b"/"),
        _ => Some(&path[..slash]),
    }
}

/// The last name of a full path.
pub(super) fn last_name(path: &[u8]) -> &[u8] {
    let start = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    &path[start..]
}

/// The directories above a full path, the topmost first, without the server's root.
pub(super) fn ancestors(path: &[u8]) -> Vec<Vec<u8>> {
    let mut above = Vec::new();
    let mut dir = parent(path);
    while let Some(path) = dir
        && path != b"/"
    {
        above.push(path.to_vec());
        dir = parent(path);
    }
    above.reverse();
    above
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_up_to_the_root() {
        assert_eq!(parent(b"/a/b"), Some(&b"/a"[..]));
        assert_eq!(parent(b"/a"), Some(&b"/"[..]));
        assert_eq!(parent(b"/"), None);
        assert_eq!(ancestors(b"/a/b/c"), [b"/a".to_vec(), b"/a/b".to_vec()]);
        assert_eq!(last_name(b"/a/b c"), b"b c");
        assert_eq!(join(b"/", b"a"), b"/a");
        assert_eq!(join(b"/a", b""), b"/a");
    }
}
