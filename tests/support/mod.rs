//! What the integration tests share: targets in memory, servers in process and real ones, temporary directories.
// Every test binary compiles all of this and uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod acquainted;
pub mod couple;
pub mod faulty;
pub mod ftp_server;
pub mod keyring;
pub mod memory;
pub mod program;
pub mod random;
pub mod scenario;
#[cfg(feature = "sftp")]
pub mod served;
#[cfg(not(feature = "sftp"))]
#[path = "not_served.rs"]
pub mod served;
pub mod servers;
pub mod ssh;
pub mod temp;
pub mod terminal;
pub mod tls;
#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
pub mod tls_front;
pub mod tree;
pub mod world;

/// How many connections runs have: as many as `CORACLE_CONNECTIONS` says, else `usual`.
pub fn connections(usual: u8) -> u8 {
    std::env::var("CORACLE_CONNECTIONS").map_or(usual, |text| {
        text.parse().expect("CORACLE_CONNECTIONS is a number")
    })
}

/// Whether the tests that go through random or many cases go through all of them: `tests/run --long` sets `CORACLE_LONG`.
pub fn is_long() -> bool {
    std::env::var_os("CORACLE_LONG").is_some()
}

/// All that a source yields, if it ends well.
pub fn read_all(source: &mut dyn coracle::replica::Source) -> coracle::error::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut buffer = [0; 5000];
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            count => content.extend_from_slice(&buffer[..count]),
        }
    }
    source.finish()?;
    Ok(content)
}
