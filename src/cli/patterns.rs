//! Patterns from a file (`--exclude-from`): one a line.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Doing, ErrorKind, Result};
use crate::path::Escaped;

/// A list of patterns that is longer is another file given by mistake.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads the patterns of a file. Empty lines do not count, nor do lines that begin with `#`; `\#` begins a pattern
/// that begins so.
pub fn read(path: &Path) -> Result<Vec<String>> {
    let doing = || {
        format!(
            "reading patterns from {}",
            Escaped(path.as_os_str().as_bytes())
        )
    };
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content))
        .map_err(|error| {
            ErrorKind::Usage(crate::error::Error::from(ErrorKind::Disk(error)).to_string())
        })
        .doing(doing)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        let text = format!("the file is larger than {MAX_FILE_BYTES} bytes");
        return Err(ErrorKind::Usage(text)).doing(doing);
    }
    let text = String::from_utf8(content)
        .map_err(|_| ErrorKind::Usage("the file is not UTF-8".to_owned()))
        .doing(doing)?;
    let patterns = parse(&text);
    patterns
        .iter()
        .try_for_each(|pattern| check(pattern))
        .doing(doing)?;
    Ok(patterns)
}

/// Refuses a pattern that can never match, whose writer meant something else.
pub fn check(pattern: &str) -> Result<()> {
    let body = pattern.strip_prefix('!').unwrap_or(pattern);
    let hint = if body.starts_with("./") || body.contains("/./") {
        "leave the . out: a path begins at the root of each side"
    } else if body.split('/').any(|part| part == "..") {
        "a path cannot lead out of the root"
    } else if body.trim_matches('/').is_empty() {
        "it is empty"
    } else if body.contains(" # ") {
        "a comment needs a line of its own"
    } else {
        return Ok(());
    };
    let shown = Escaped(pattern.as_bytes());
    Err(ErrorKind::Usage(format!("the pattern '{shown}' can never match; {hint}")).into())
}

fn parse(text: &str) -> Vec<String> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| match line.strip_prefix('\\') {
            Some(rest) if rest.starts_with('#') => rest.to_owned(),
            _ => line.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_pattern_a_line() {
        assert_eq!(parse("*.bak\r\n\n  a b  \nx,y"), ["*.bak", "a b", "x,y"]);
        assert_eq!(parse("\u{feff}*.bak\n"), ["*.bak"]);
    }

    #[test]
    fn comments_do_not_count_and_can_be_escaped() {
        assert_eq!(parse("# why\n\\#recycle\n\\*"), ["#recycle", "\\*"]);
    }

    #[test]
    fn a_pattern_that_can_never_match_is_refused() {
        for bad in ["./x", "!./x", "a/../b", "/", "!", "*.tmp # scratch files"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        for good in ["x", "/x", "a/b/", "!a", "#recycle", ".x", "Song #1", "**"] {
            assert!(check(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn names_the_file_that_cannot_be_read() {
        let error = read(Path::new("/nonexistent/list")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "reading patterns from /nonexistent/list: no such file or directory"
        );
        assert!(matches!(error.kind(), ErrorKind::Usage(_)));
    }
}
