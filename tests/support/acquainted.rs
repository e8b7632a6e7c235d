//! A memory of a server that was met before, and was found to bear what a stranger is not asked to bear.

use std::sync::Arc;

use coracle::replica::Memory;

/// The test servers greet so.
const KNOWN: &[u8] =
    b"server ready\nbears commands ahead\nbears port in hand\nbears port at the end\n\
    bears command first\nbears denials believed\nbears whole MLSD\n";

struct Acquainted;

impl Memory for Acquainted {
    fn recall(&self, _place: &str) -> Option<Vec<u8>> {
        Some(KNOWN.to_vec())
    }

    fn keep(&self, _place: &str, _text: &[u8]) {}
}

/// Remembers every server that greets with "ready".
pub fn acquainted() -> Arc<dyn Memory> {
    Arc::new(Acquainted)
}
