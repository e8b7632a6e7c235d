//! Copies are what they are copies of, as far as digests tell.

use crate::error::{Error, ErrorKind, Result};
use crate::path::RelPath;
use crate::replica::{Algorithm, Hasher, Removal, Replica};

/// Compares digests where the server can compute one. A copy that differs is removed: its source is still good, and
/// with the same size and time it would pass for equal from now on.
pub(super) fn verify_digest(
    source: &mut dyn Replica,
    source_path: &RelPath,
    copy: &mut dyn Replica,
    copy_path: &RelPath,
) -> Result<()> {
    let all = Algorithm::ALL;
    let (first, second) = match source.digest(source_path, &all)? {
        None => return Ok(()),
        Some(digest) => {
            let algorithm = [digest.algorithm];
            (digest, copy.digest(copy_path, &algorithm)?)
        }
    };
    match second {
        None => {
            // The side that knows fewer algorithms chooses.
            let Some(of_copy) = copy.digest(copy_path, &all)? else {
                return Ok(());
            };
            let of_source = source.digest(source_path, &[of_copy.algorithm])?;
            if of_source.is_none_or(|of_source| of_source == of_copy) {
                return Ok(());
            }
        }
        Some(second) if second == first => return Ok(()),
        Some(_) => {}
    }
    let removed = copy.remove(&[Removal::File(copy_path.clone())]);
    removed.into_iter().collect::<Result<()>>()?;
    Err(Error::new(ErrorKind::Verify(
        "the copy's digest differs from the source's; the copy was removed, the source is untouched".to_owned(),
    )))
}

/// The digest of a small file that is remembered with it.
pub(super) fn digest_of(content: &[u8]) -> Option<u64> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(content);
    hasher.finish().short()
}
