//! Where the two sides are, of what the targets and the options for servers say. No I/O.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use super::options::{Options, TlsMode};
use super::url::{Address, Scheme, ServerUrl};
use super::usage;
use crate::error::Result;
use crate::job::{
    ANONYMOUS, FTPS_PORT, FtpLocation, Habits, HostKeys, Identity, Location, Protection,
    SftpLocation, TlsSettings, Trust,
};
use crate::net::BACKEND;

/// The root on this machine.
pub(super) fn local_root(text: &OsStr) -> Result<PathBuf> {
    let swapped = || {
        usage("LOCAL comes before REMOTE in every command, and must be a directory on this machine")
    };
    match Address::parse(text) {
        Ok(Address::Path(path)) => Ok(path),
        Ok(Address::Server(_)) => Err(swapped()),
        Err(error) if text.is_empty() => Err(error),
        Err(_) => Err(swapped()),
    }
}

/// The server of a URL, reached as the options say.
pub(super) fn server(url: ServerUrl, options: &Options) -> Result<Location> {
    let protection = match url.scheme {
        Scheme::Ftp => Protection::Clear,
        Scheme::Ftps => protection_of(url.port, options)?,
        Scheme::Sftp => return sftp_server(url, options).map(Location::Sftp),
    };
    Ok(Location::Ftp(FtpLocation {
        host: url.host,
        port: url.port.unwrap_or(protection.default_port()),
        protection,
        user: url.user.unwrap_or_else(|| ANONYMOUS.to_owned()),
        password: url.password.unwrap_or_default(),
        path: url.path,
        habits: Habits {
            encoding: options.encoding,
            passive: options
                .passive
                .clone()
                .map_or_else(Vec::new, |order| order.0),
            unclean_ends: options.tls_unclean_ends,
            in_place: options.inplace,
        },
    }))
}

fn sftp_server(url: ServerUrl, options: &Options) -> Result<SftpLocation> {
    if !cfg!(feature = "sftp") {
        return Err(usage(
            "this build of coracle cannot follow sftp:// (see coracle -Vv)",
        ));
    }
    let host_keys = if options.accept_new_host_key {
        HostKeys::AcceptNew
    } else if options.no_verify_host_keys {
        HostKeys::Anyone
    } else if options.pin.is_empty() {
        HostKeys::Known
    } else {
        HostKeys::Pins(options.pin.clone())
    };
    Ok(SftpLocation {
        host: url.host,
        port: url.port,
        user: url.user,
        password: url.password,
        path: url.path,
        host_keys,
        ssh_command: options.ssh_command.clone(),
    })
}

fn protection_of(port: Option<u16>, options: &Options) -> Result<Protection> {
    if BACKEND.is_none() {
        return Err(usage(
            "this build of coracle has no TLS, so it cannot follow ftps:// (see coracle -Vv)",
        ));
    }
    let mode = options.tls.unwrap_or(match port {
        Some(FTPS_PORT) => TlsMode::Implicit,
        Some(_) | None => TlsMode::Explicit,
    });
    let trust = if let Some(file) = &options.ca_file {
        Trust::CaFile(file.clone())
    } else if options.insecure {
        Trust::Anyone
    } else if options.pin.is_empty() {
        Trust::System
    } else {
        Trust::Pins(options.pin.clone())
    };
    let identity = options.client_cert.clone().zip(options.client_key.clone());
    let identity = identity.map(|(cert, key)| Identity { cert, key });
    let settings = TlsSettings { trust, identity };
    Ok(match mode {
        TlsMode::Explicit => Protection::Explicit(settings),
        TlsMode::Implicit => Protection::Implicit(settings),
    })
}

/// Refuses two directories of this machine of which one holds the other.
pub(super) fn refuse_overlap(local: &Path, remote: &Path) -> Result<()> {
    if remote.components().all(|part| part == Component::CurDir) {
        return Err(usage(
            "REMOTE is '.', which is meant for LOCAL; LOCAL comes first",
        ));
    }
    if overlap(local, remote) {
        return Err(usage(
            "LOCAL and REMOTE are the same directory, or one lies inside the other",
        ));
    }
    Ok(())
}

/// Whether one directory is the other or lies inside it, as far as their paths tell: links are not followed, and a
/// relative path is not compared with an absolute one. For certainty, give canonical paths.
pub fn overlap(one: &Path, other: &Path) -> bool {
    let plain = |path: &Path| -> Option<PathBuf> {
        path.components()
            .filter(|part| *part != Component::CurDir)
            // What `..` means depends on links.
            .map(|part| (part != Component::ParentDir).then_some(part))
            .collect()
    };
    match (plain(one), plain(other)) {
        (Some(a), Some(b)) => {
            a.is_absolute() == b.is_absolute() && (a.starts_with(&b) || b.starts_with(&a))
        }
        _ => false,
    }
}
