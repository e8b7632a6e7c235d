//! TLS by rustls with ring's cryptography.
//!
//! TLS 1.2 is offered alone at first: its sessions can be resumed any number of times, while rustls uses a ticket of
//! TLS 1.3 once and ProFTPD gives none on uploads; and resuming it costs no key exchange, which weak CPUs feel.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
    WebPkiServerVerifier, verify_server_name,
};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    HandshakeKind, NamedGroup, OtherError, RootCertStore, SignatureScheme, version,
};

use super::{ALPN, Failure, Rejection, Why, check_dates, check_pins, check_strength};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::job::{Identity, Pin, TlsSettings, Trust};
use crate::net::stream::Wire;
use crate::path::Escaped;

pub(super) const NAME: Option<&str> = Some("rustls");

/// Where systems keep the authorities they trust, in one file: Debian and OpenWrt; OpenWrt and Alpine; Entware on QNAP
/// and Synology; Fedora; SUSE.
const ROOT_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
    "/opt/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// Where they keep them in a file each.
const ROOT_DIRS: &[&str] = &["/etc/ssl/certs", "/opt/etc/ssl/certs"];

/// So many tickets of a control connection are kept: two come with the login, one with each download.
const MAX_TICKETS: usize = 16;

pub(super) struct Client {
    name: ServerName<'static>,
    /// TLS 1.2 alone.
    older: ClientConfig,
    /// TLS 1.2 and 1.3.
    newer: ClientConfig,
}

impl Client {
    pub(super) fn new(settings: &TlsSettings, host: &str) -> Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ErrorKind::Usage(format!("'{host}' is no name that TLS can check")))?;
        let provider = Arc::new(provider());
        let verifier = Arc::new(Verifier::new(&settings.trust, host, &provider)?);
        let config = |versions| -> Result<ClientConfig> {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(versions)
                .map_err(failed)?
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
            let mut config = match &settings.identity {
                None => builder.with_no_client_auth(),
                Some(identity) => with_identity(identity, |certs, key| {
                    builder.with_client_auth_cert(certs, key)
                })?,
            };
            config.alpn_protocols = vec![ALPN.as_bytes().to_vec()];
            Ok(config)
        };
        Ok(Self {
            name,
            older: config(&[&version::TLS12])?,
            newer: config(&[&version::TLS13, &version::TLS12])?,
        })
    }

    pub(super) fn tickets(&self, newer: bool) -> Result<Tickets> {
        let store = Arc::new(Store::default());
        let mut config = if newer { &self.newer } else { &self.older }.clone();
        config.resumption = Resumption::store(Arc::clone(&store) as _);
        Ok(Tickets {
            config: Arc::new(config),
            store,
        })
    }

    pub(super) fn connect(
        &self,
        mut wire: Wire,
        tickets: &mut Tickets,
    ) -> Result<Connection, Failure> {
        let config = Arc::clone(&tickets.config);
        let mut tls = ClientConnection::new(config, self.name.clone()).map_err(failure)?;
        while tls.is_handshaking() {
            step(&mut tls, &mut wire)?;
        }
        // The last flight: without it the peer would wait for us.
        while tls.wants_write() {
            tls.write_tls(&mut wire).map_err(Failure::Io)?;
        }
        Ok(Connection { tls, wire })
    }
}

/// ring, with the ciphers in the order that suits this CPU: without instructions for AES, ChaCha20 is several times as
/// fast.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    if !has_aes() {
        provider.cipher_suites.sort_by_key(|suite| {
            let name = format!("{:?}", suite.suite());
            !name.contains("CHACHA20")
        });
    }
    provider
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
const fn has_aes() -> bool {
    false
}

/// Sends what is to be sent, or takes what has come.
fn step(tls: &mut ClientConnection, wire: &mut Wire) -> Result<(), Failure> {
    while tls.wants_write() {
        tls.write_tls(wire).map_err(Failure::Io)?;
    }
    if !tls.is_handshaking() {
        return Ok(());
    }
    match tls.read_tls(wire) {
        Ok(0) => return Err(Failure::Io(io::ErrorKind::UnexpectedEof.into())),
        Ok(_) => {}
        Err(error) => return Err(Failure::Io(error)),
    }
    tls.process_new_packets().map(drop).map_err(|error| {
        // The alert that tells the server why; nobody waits for it to arrive.
        let _ = tls.write_tls(wire);
        failure(error)
    })
}

fn failure(error: rustls::Error) -> Failure {
    match &error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            match other.downcast_ref::<Rejection>() {
                Some(rejection) => Failure::Rejected(rejection.clone()),
                None => Failure::Tls(error.to_string()),
            }
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13,
        ) => Failure::Version,
        rustls::Error::AlertReceived(alert) => {
            Failure::Tls(format!("the server refused it ({alert:?})"))
        }
        _ => Failure::Tls(error.to_string()),
    }
}

pub(super) struct Connection {
    tls: ClientConnection,
    wire: Wire,
}

impl Connection {
    pub(super) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(super) fn leaf(&self) -> Option<Vec<u8>> {
        let leaf = self.tls.peer_certificates()?.first()?;
        Some(leaf.to_vec())
    }

    pub(super) fn summary(&self) -> String {
        let version = self.tls.protocol_version();
        let suite = self.tls.negotiated_cipher_suite();
        format!(
            "{}, {}, {}",
            version
                .and_then(|version| version.as_str())
                .unwrap_or("TLS")
                .replace('_', "."),
            suite.map_or("", |suite| suite.suite().as_str().unwrap_or("")),
            if self.is_resumed() {
                "resumed"
            } else {
                "not resumed"
            }
        )
    }

    pub(super) const fn wire(&self) -> &Wire {
        &self.wire
    }

    pub(super) const fn wire_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            // An end of the socket shows above: with or without the peer's word.
            self.tls.read_tls(&mut self.wire)?;
            self.tls.process_new_packets().map_err(damaged)?;
            // Answers of TLS itself, as to a key update.
            while self.tls.wants_write() {
                self.tls.write_tls(&mut self.wire)?;
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.tls.writer().write(bytes)?;
        self.flush()?;
        Ok(count)
    }

    pub(super) fn close_notify(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.wire)?;
        }
        Ok(())
    }
}

fn damaged(error: rustls::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the TLS connection was damaged: {error}"),
    )
}

pub(super) struct Tickets {
    config: Arc<ClientConfig>,
    store: Arc<Store>,
}

impl Tickets {
    pub(super) fn are_spent(&self) -> bool {
        let sessions = self.store.lock();
        sessions.had_tickets && sessions.tickets.is_empty() && sessions.older.is_none()
    }
}

/// The sessions of one control connection. There is one server, so its name is no key.
#[derive(Default)]
struct Store(Mutex<Sessions>);

#[derive(Default)]
struct Sessions {
    group: Option<NamedGroup>,
    older: Option<Tls12ClientSessionValue>,
    tickets: Vec<Tls13ClientSessionValue>,
    had_tickets: bool,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        // Every change is one assignment, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions hold key material, so none is shown.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl ClientSessionStore for Store {
    fn set_kx_hint(&self, _name: ServerName<'static>, group: NamedGroup) {
        self.lock().group = Some(group);
    }

    fn kx_hint(&self, _name: &ServerName<'_>) -> Option<NamedGroup> {
        self.lock().group
    }

    fn set_tls12_session(&self, _name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.lock().older = Some(session);
    }

    fn tls12_session(&self, _name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.lock().older.clone()
    }

    fn remove_tls12_session(&self, _name: &ServerName<'static>) {
        self.lock().older = None;
    }

    fn insert_tls13_ticket(&self, _name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut sessions = self.lock();
        sessions.had_tickets = true;
        if sessions.tickets.len() == MAX_TICKETS {
            sessions.tickets.remove(0);
        }
        sessions.tickets.push(ticket);
    }

    fn take_tls13_ticket(&self, _name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.lock().tickets.pop()
    }
}

/// Decides about a server's certificate.
#[derive(Debug)]
struct Verifier {
    trusted: Trusted,
    host: String,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Trusted {
    Authorities(Arc<WebPkiServerVerifier>),
    /// The same, and these certificates themselves, though they may be made for authorities: those of `--ca-file`.
    File(Arc<WebPkiServerVerifier>, Vec<CertificateDer<'static>>),
    Pins(Vec<Pin>),
    Anyone,
}

impl Verifier {
    fn new(trust: &Trust, host: &str, provider: &Arc<CryptoProvider>) -> Result<Self> {
        let authorities = |roots: RootCertStore| -> Result<Arc<WebPkiServerVerifier>> {
            let provider = Arc::clone(provider);
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| ErrorKind::Usage(error.to_string()).into())
        };
        let trusted = match trust {
            Trust::System => Trusted::Authorities(authorities(system_roots()?)?),
            Trust::CaFile(path) => {
                let (roots, certificates) = roots_of_file(path)?;
                Trusted::File(authorities(roots)?, certificates)
            }
            Trust::Pins(pins) => Trusted::Pins(pins.clone()),
            Trust::Anyone => Trusted::Anyone,
        };
        Ok(Self {
            trusted,
            host: host.to_owned(),
            provider: Arc::clone(provider),
        })
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Why> {
        match &self.trusted {
            Trusted::Anyone => Ok(()),
            Trusted::Pins(pins) => {
                check_pins(pins, leaf)?;
                check_strength(leaf)
            }
            Trusted::File(_, certificates) if certificates.contains(leaf) => {
                check_strength(leaf)?;
                check_dates(leaf, now.as_secs())?;
                let parsed = ParsedCertificate::try_from(leaf).map_err(|error| why(&error))?;
                verify_server_name(&parsed, name).map_err(|error| why(&error))
            }
            Trusted::Authorities(authorities) | Trusted::File(authorities, _) => {
                check_strength(leaf)?;
                authorities
                    .verify_server_cert(leaf, others, name, &[], now)
                    .map(drop)
                    .map_err(|error| why(&error))
            }
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.check(leaf, others, name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(why) => {
                let chain = std::iter::once(leaf).chain(others);
                let chain = chain.map(|certificate| certificate.to_vec()).collect();
                let rejection = Rejection::new(why, &self.host, chain);
                Err(rustls::Error::InvalidCertificate(CertificateError::Other(
                    OtherError(Arc::new(rejection)),
                )))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn why(error: &rustls::Error) -> Why {
    let rustls::Error::InvalidCertificate(error) = error else {
        return Why::Other(error.to_string());
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Why::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Why::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Why::OtherName
        }
        CertificateError::UnknownIssuer => Why::UnknownIssuer,
        CertificateError::BadSignature => Why::BadSignature,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Why::NotForServers
        }
        CertificateError::Other(OtherError(other)) if other.to_string().contains("CaUsedAs") => {
            Why::NotForServers
        }
        _ => Why::Other(format!("it is not acceptable ({error})")),
    }
}

/// The authorities that this system trusts.
fn system_roots() -> Result<RootCertStore> {
    let named = |variable| std::env::var_os(variable).map(PathBuf::from);
    let (file, dir) = (named("SSL_CERT_FILE"), named("SSL_CERT_DIR"));
    let mut roots = RootCertStore::empty();
    if file.is_some() || dir.is_some() {
        if let Some(file) = file {
            add_file(&mut roots, &file);
        }
        for dir in dir.iter().flat_map(std::env::split_paths) {
            add_dir(&mut roots, &dir);
        }
    } else {
        for file in ROOT_FILES {
            add_file(&mut roots, Path::new(file));
            if !roots.is_empty() {
                return Ok(roots);
            }
        }
        for dir in ROOT_DIRS {
            add_dir(&mut roots, Path::new(dir));
        }
    }
    if roots.is_empty() {
        let text = "this system has no list of trusted authorities, so no certificate can be checked; install it \
                    (ca-certificates; on OpenWrt ca-bundle), or use --ca-file or --pin";
        return Err(ErrorKind::Tls(text.to_owned()).into());
    }
    Ok(roots)
}

fn add_file(roots: &mut RootCertStore, path: &Path) {
    let Ok(certificates) = CertificateDer::pem_file_iter(path) else {
        return;
    };
    // A root that cannot be read vouches for nobody; the others may still do.
    roots.add_parsable_certificates(certificates.flatten());
}

fn add_dir(roots: &mut RootCertStore, dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        add_file(roots, &entry.path());
    }
}

/// The authorities in a file, and its certificates as they are.
fn roots_of_file(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>)> {
    let doing = || format!("reading the authorities in {}", shown(path));
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_file_iter(path)
        .map_err(unreadable)
        .doing(doing)?
    {
        let certificate = certificate.map_err(unreadable).doing(doing)?;
        roots
            .add(certificate.clone())
            .map_err(failed)
            .doing(doing)?;
        certificates.push(certificate);
    }
    if roots.is_empty() {
        let text = "there is no certificate in it; it must be PEM".to_owned();
        return Err(Error::new(ErrorKind::Usage(text)).while_doing(doing()));
    }
    Ok((roots, certificates))
}

fn with_identity(
    identity: &Identity,
    build: impl FnOnce(
        Vec<CertificateDer<'static>>,
        PrivateKeyDer<'static>,
    ) -> Result<ClientConfig, rustls::Error>,
) -> Result<ClientConfig> {
    let doing = |path: &Path| format!("reading {}", shown(path));
    let certs: Vec<_> = CertificateDer::pem_file_iter(&identity.cert)
        .and_then(Iterator::collect)
        .map_err(unreadable)
        .doing(|| doing(&identity.cert))?;
    let key = PrivateKeyDer::from_pem_file(&identity.key)
        .map_err(unreadable)
        .doing(|| doing(&identity.key))?;
    build(certs, key)
        .map_err(failed)
        .doing(|| format!("using the client certificate {}", shown(&identity.cert)))
}

fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    Escaped(path.as_os_str().as_bytes()).to_string()
}

fn unreadable(error: rustls::pki_types::pem::Error) -> ErrorKind {
    match error {
        rustls::pki_types::pem::Error::Io(error) => ErrorKind::Usage(error.to_string()),
        _ => ErrorKind::Usage("it is not what it should be; it must be PEM".to_owned()),
    }
}

fn failed(error: rustls::Error) -> ErrorKind {
    ErrorKind::Usage(error.to_string())
}
