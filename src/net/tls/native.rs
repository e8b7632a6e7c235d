//! TLS by the platform's OpenSSL, through native-tls.
//!
//! native-tls has no sessions, so this file reaches around it for them, with public calls of the OpenSSL that it links
//! anyway: a constructor of extra data shows the `SSL_CTX` that native-tls makes, and callbacks there take sessions
//! out, put them in, and see certificates that are refused. Where the constructor is not called (BoringSSL) nothing
//! can be resumed, and that is an error at once.
//!
//! OpenSSL spoils a session of TLS 1.3 when it is used, so sessions are kept encoded, and each connection gets its own.

#![allow(
    unsafe_code,
    reason = "native-tls hides what FTPS cannot do without; each block says why it holds"
)]

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int, c_long, c_uchar, c_void};
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use native_tls::{
    Certificate, HandshakeError, Identity, Protocol, TlsConnector, TlsConnectorBuilder, TlsStream,
};
use openssl_sys as ffi;

use super::{ALPN, Failure, Rejection, Why, check_pins, check_strength};
use crate::error::{Doing, ErrorKind, Result};
use crate::job::{TlsSettings, Trust};
use crate::net::stream::Wire;
use crate::path::Escaped;

pub(super) const NAME: Option<&str> = Some("OpenSSL");

/// `SSL_CB_HANDSHAKE_START`
const HANDSHAKE_START: c_int = 0x10;
/// `SSL_RECEIVED_SHUTDOWN`
const RECEIVED_SHUTDOWN: c_int = 2;
/// `SSL_VERIFY_PEER`
const VERIFY_PEER: c_int = 1;

unsafe extern "C" {
    fn SSL_CTX_set_info_callback(
        ctx: *mut ffi::SSL_CTX,
        callback: Option<unsafe extern "C" fn(*const ffi::SSL, c_int, c_int)>,
    );
    fn X509_STORE_CTX_get0_untrusted(ctx: *mut ffi::X509_STORE_CTX) -> *mut ffi::stack_st_X509;
}

thread_local! {
    /// The context that was made last on this thread.
    static MADE: Cell<*mut ffi::SSL_CTX> = const { Cell::new(ptr::null_mut()) };
    /// The session to be resumed by the handshake that begins next on this thread.
    static ARMED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    /// The connection whose handshake began last on this thread.
    static BEGUN: Cell<*const ffi::SSL> = const { Cell::new(ptr::null()) };
    /// What OpenSSL refused during the present handshake.
    static REFUSED: RefCell<Option<(c_int, Vec<Vec<u8>>)>> = const { RefCell::new(None) };
    /// What the socket failed with during the present handshake: OpenSSL's own words for it say less.
    static FAILED: RefCell<Option<io::Error>> = const { RefCell::new(None) };
}

pub(super) struct Client {
    host: String,
    trust: Trust,
    roots: Vec<Certificate>,
    identity: Option<Identity>,
}

impl Client {
    pub(super) fn new(settings: &TlsSettings, host: &str) -> Result<Self> {
        let roots = match &settings.trust {
            Trust::CaFile(path) => roots_of_file(path)?,
            Trust::System | Trust::Pins(_) | Trust::Anyone => Vec::new(),
        };
        let identity = match &settings.identity {
            None => None,
            Some(files) => {
                let (cert, key) = (read(&files.cert)?, read(&files.key)?);
                let identity = Identity::from_pkcs8(&cert, &key)
                    .map_err(failed)
                    .doing(|| format!("using the client certificate {}", shown(&files.cert)))?;
                Some(identity)
            }
        };
        Ok(Self {
            host: host.to_owned(),
            trust: settings.trust.clone(),
            roots,
            identity,
        })
    }

    /// OpenSSL resumes TLS 1.3 as well as 1.2, so both are offered from the first.
    pub(super) fn tickets(&self, _newer: bool) -> Result<Tickets> {
        watch_contexts();
        let store = Arc::new(Store::default());
        MADE.set(ptr::null_mut());
        let connector = self.builder().build().map_err(failed)?;
        let context = MADE.replace(ptr::null_mut());
        if context.is_null() {
            let text = "this build's TLS library has no hook for sessions, without which FTPS servers refuse \
                        data connections";
            return Err(ErrorKind::Tls(text.to_owned()).into());
        }
        // SAFETY: `context` is the one that `connector` holds: it was made by `build` on this thread just now, and
        // nothing else there makes one. The pointer in its extra data is read by the callbacks alone, and every
        // connection that can call them keeps the store alive.
        unsafe {
            ffi::SSL_CTX_set_ex_data(context, slot(), Arc::as_ptr(&store).cast_mut().cast());
            ffi::SSL_CTX_set_session_cache_mode(
                context,
                ffi::SSL_SESS_CACHE_CLIENT | ffi::SSL_SESS_CACHE_NO_INTERNAL,
            );
            ffi::SSL_CTX_sess_set_new_cb(context, Some(keep_session));
            SSL_CTX_set_info_callback(context, Some(begin_handshake));
            ffi::SSL_CTX_set_verify(context, VERIFY_PEER, Some(note_refusal));
        }
        Ok(Tickets { connector, store })
    }

    fn builder(&self) -> TlsConnectorBuilder {
        let mut builder = TlsConnector::builder();
        builder.min_protocol_version(Some(Protocol::Tlsv12));
        builder.request_alpns(&[ALPN]);
        if let Some(identity) = &self.identity {
            builder.identity(identity.clone());
        }
        match &self.trust {
            Trust::System => {}
            Trust::CaFile(_) => {
                builder.disable_built_in_roots(true);
                for root in &self.roots {
                    builder.add_root_certificate(root.clone());
                }
            }
            // Pins are checked after the handshake, before anything is said.
            Trust::Pins(_) | Trust::Anyone => {
                builder.disable_built_in_roots(true);
                builder.danger_accept_invalid_certs(true);
                builder.danger_accept_invalid_hostnames(true);
            }
        }
        builder
    }

    pub(super) fn connect(&self, wire: Wire, tickets: &mut Tickets) -> Result<Connection, Failure> {
        ARMED.set(tickets.store.lock().clone());
        REFUSED.set(None);
        FAILED.set(None);
        let shaken = tickets.connector.connect(&self.host, Noted(wire));
        ARMED.set(None);
        let (refused, failed) = (REFUSED.take(), FAILED.take());
        let tls = match shaken {
            Ok(tls) => tls,
            Err(error) => return Err(self.failure(&error, refused, failed)),
        };
        let connection = Connection {
            tls,
            ssl: BEGUN.get(),
            _store: Arc::clone(&tickets.store),
        };
        self.check(&connection).map_err(|why| {
            let chain = connection.leaf().into_iter().collect();
            Failure::Rejected(Rejection::new(why, &self.host, chain))
        })?;
        Ok(connection)
    }

    /// Checks what OpenSSL does not.
    fn check(&self, connection: &Connection) -> Result<(), Why> {
        let leaf = connection.leaf().unwrap_or_default();
        match &self.trust {
            Trust::System | Trust::CaFile(_) => check_strength(&leaf),
            Trust::Pins(pins) => check_pins(pins, &leaf).and_then(|()| check_strength(&leaf)),
            Trust::Anyone => Ok(()),
        }
    }

    fn failure(
        &self,
        error: &HandshakeError<Noted>,
        refused: Option<(c_int, Vec<Vec<u8>>)>,
        failed: Option<io::Error>,
    ) -> Failure {
        if let Some((code, chain)) = refused {
            return Failure::Rejected(Rejection::new(why(code), &self.host, chain));
        }
        if let Some(error) = failed {
            return Failure::Io(error);
        }
        let text = match error {
            HandshakeError::Failure(error) => error.to_string(),
            HandshakeError::WouldBlock(_) => "it does not end".to_owned(),
        };
        if text.contains("protocol version") || text.contains("unsupported protocol") {
            return Failure::Version;
        }
        Failure::Tls(text)
    }
}

/// OpenSSL's numbers for what is wrong with a certificate (x509_vfy.h).
fn why(code: c_int) -> Why {
    match code {
        9 => Why::NotYetValid,
        10 => Why::Expired,
        62 | 64 => Why::OtherName,
        2 | 18 | 19 | 20 | 21 => Why::UnknownIssuer,
        7 => Why::BadSignature,
        24 | 26 => Why::NotForServers,
        66 | 67 => Why::WeakKey,
        _ => {
            // SAFETY: OpenSSL has a text, which lives for ever, for every number.
            let text = unsafe { CStr::from_ptr(ffi::X509_verify_cert_error_string(code.into())) };
            Why::Other(format!("it is not acceptable ({})", text.to_string_lossy()))
        }
    }
}

pub(super) struct Connection {
    tls: TlsStream<Noted>,
    /// Belongs to `tls`.
    ssl: *const ffi::SSL,
    /// Its callbacks may still be called while `tls` lives.
    _store: Arc<Store>,
}

// SAFETY: the pointer is to what `tls` owns, which is `Send`; it is used through `&self` and `&mut self` only.
unsafe impl Send for Connection {}

impl Connection {
    pub(super) fn is_resumed(&self) -> bool {
        // SAFETY: `ssl` lives as long as `tls`; the call only reads.
        unsafe { ffi::SSL_session_reused(self.ssl.cast_mut()) == 1 }
    }

    pub(super) fn leaf(&self) -> Option<Vec<u8>> {
        self.tls.peer_certificate().ok()??.to_der().ok()
    }

    pub(super) fn summary(&self) -> String {
        // SAFETY: `ssl` lives as long as `tls`, and both texts for ever; a null cipher has a name, too.
        let (version, cipher) = unsafe {
            let cipher = ffi::SSL_CIPHER_get_name(ffi::SSL_get_current_cipher(self.ssl));
            (
                CStr::from_ptr(ffi::SSL_get_version(self.ssl)),
                CStr::from_ptr(cipher),
            )
        };
        format!(
            "{}, {}, {}",
            version.to_string_lossy(),
            cipher.to_string_lossy(),
            if self.is_resumed() {
                "resumed"
            } else {
                "not resumed"
            }
        )
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.tls.get_ref().0
    }

    pub(super) fn wire_mut(&mut self) -> &mut Wire {
        &mut self.tls.get_mut().0
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.tls.read(buffer);
        match read {
            // native-tls takes a connection that was cut off for one that has ended.
            Ok(0) if !buffer.is_empty() && !self.has_ended() => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Err(error) if error.to_string().contains("unexpected eof") => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            other => other,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tls.write(bytes)
    }

    pub(super) fn close_notify(&mut self) -> io::Result<()> {
        self.tls.shutdown()
    }

    /// Whether the peer said that nothing follows.
    fn has_ended(&self) -> bool {
        // SAFETY: `ssl` lives as long as `tls`; the call only reads.
        unsafe { ffi::SSL_get_shutdown(self.ssl) & RECEIVED_SHUTDOWN != 0 }
    }
}

/// A wire whose failures are remembered while a handshake runs.
#[derive(Debug)]
struct Noted(Wire);

fn note(error: &io::Error) {
    FAILED.set(Some(io::Error::new(error.kind(), error.to_string())));
}

impl Read for Noted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer).inspect_err(note);
        if matches!(read, Ok(0)) {
            note(&io::ErrorKind::UnexpectedEof.into());
        }
        read
    }
}

impl Write for Noted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).inspect_err(note)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A context of OpenSSL's, and the session that its control connection got last.
pub(super) struct Tickets {
    connector: TlsConnector,
    store: Arc<Store>,
}

impl Tickets {
    /// Never: each connection gets a copy.
    pub(super) const fn are_spent(&self) -> bool {
        false
    }
}

/// The newest session, encoded. It holds key material, so it is never shown.
#[derive(Default)]
struct Store(Mutex<Option<Vec<u8>>>);

impl Store {
    fn lock(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        // Every change is one assignment, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of our pointer in the extra data of contexts.
fn slot() -> c_int {
    static SLOT: OnceLock<c_int> = OnceLock::new();
    *SLOT.get_or_init(|| {
        ffi::init();
        // SAFETY: the constructor outlives everything and takes no argument of ours.
        unsafe {
            ffi::CRYPTO_get_ex_new_index(
                ffi::CRYPTO_EX_INDEX_SSL_CTX,
                0,
                ptr::null_mut(),
                Some(note_context),
                None,
                None,
            )
        }
    })
}

/// From now on new contexts show themselves.
fn watch_contexts() {
    slot();
}

/// Called by OpenSSL while it makes a context, which it hands over as the parent of the extra data.
unsafe extern "C" fn note_context(
    parent: *mut c_void,
    _pointer: *mut c_void,
    _data: *mut ffi::CRYPTO_EX_DATA,
    _index: c_int,
    _argument: c_long,
    _argument_pointer: *mut c_void,
) {
    MADE.set(parent.cast());
}

/// Called when the server gave a session or a ticket. 0: OpenSSL keeps what it has.
unsafe extern "C" fn keep_session(ssl: *mut ffi::SSL, session: *mut ffi::SSL_SESSION) -> c_int {
    // SAFETY: both are alive during the call; the context's extra data is what `tickets` put there, and the connection
    // that calls keeps it alive. The buffer is as long as OpenSSL asked for.
    unsafe {
        let context = ffi::SSL_get_SSL_CTX(ssl);
        let store = ffi::SSL_CTX_get_ex_data(context, slot()).cast::<Store>();
        let length = ffi::i2d_SSL_SESSION(session, ptr::null_mut());
        if let (Some(store), Ok(length @ 1..)) = (store.as_ref(), usize::try_from(length)) {
            let mut encoded = vec![0; length];
            let mut place = encoded.as_mut_ptr();
            if usize::try_from(ffi::i2d_SSL_SESSION(session, &raw mut place)) == Ok(length) {
                *store.lock() = Some(encoded);
            }
        }
    }
    0
}

/// Called when a handshake begins, before its first message is made.
unsafe extern "C" fn begin_handshake(ssl: *const ffi::SSL, place: c_int, _value: c_int) {
    if place & HANDSHAKE_START == 0 {
        return;
    }
    BEGUN.set(ssl);
    let Some(encoded) = ARMED.take() else {
        return;
    };
    let Ok(length) = c_long::try_from(encoded.len()) else {
        return;
    };
    // SAFETY: `ssl` is alive during the call, and OpenSSL hands it over as constant only because most callbacks just
    // look. The session is ours until it is freed; `SSL_set_session` takes a reference of its own.
    unsafe {
        let mut place: *const c_uchar = encoded.as_ptr();
        let session = ffi::d2i_SSL_SESSION(ptr::null_mut(), &raw mut place, length);
        if !session.is_null() {
            ffi::SSL_set_session(ssl.cast_mut(), session);
            ffi::SSL_SESSION_free(session);
        }
    }
}

/// Called for each certificate of a chain with OpenSSL's verdict, which it leaves as it is.
extern "C" fn note_refusal(verdict: c_int, context: *mut ffi::X509_STORE_CTX) -> c_int {
    if verdict != 1 {
        // SAFETY: the context and the certificates that the server sent are alive during the call.
        let (code, chain) = unsafe {
            let sent = X509_STORE_CTX_get0_untrusted(context);
            (ffi::X509_STORE_CTX_get_error(context), encoded_chain(sent))
        };
        REFUSED.set(Some((code, chain)));
    }
    verdict
}

/// # Safety
///
/// `chain` is null or a living stack of certificates.
unsafe fn encoded_chain(chain: *mut ffi::stack_st_X509) -> Vec<Vec<u8>> {
    if chain.is_null() {
        return Vec::new();
    }
    let stack = chain.cast::<ffi::OPENSSL_STACK>();
    // SAFETY: the caller's promise; an index below the number of elements has one.
    unsafe {
        (0..ffi::OPENSSL_sk_num(stack))
            .map(|index| encoded_certificate(ffi::OPENSSL_sk_value(stack, index).cast()))
            .collect()
    }
}

/// # Safety
///
/// `certificate` is alive.
unsafe fn encoded_certificate(certificate: *mut ffi::X509) -> Vec<u8> {
    // SAFETY: the caller's promise; the buffer is as long as OpenSSL asked for.
    unsafe {
        let length = ffi::i2d_X509(certificate, ptr::null_mut());
        let mut encoded = vec![0; usize::try_from(length).unwrap_or(0)];
        let mut place = encoded.as_mut_ptr();
        if !encoded.is_empty() {
            ffi::i2d_X509(certificate, &raw mut place);
        }
        encoded
    }
}

fn roots_of_file(path: &Path) -> Result<Vec<Certificate>> {
    let doing = || format!("reading the authorities in {}", shown(path));
    let roots = Certificate::stack_from_pem(&read(path)?)
        .map_err(failed)
        .doing(doing)?;
    if roots.is_empty() {
        let text = "there is no certificate in it; it must be PEM".to_owned();
        return Err(ErrorKind::Usage(text)).doing(doing);
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path)
        .map_err(|error| ErrorKind::Usage(error.to_string()))
        .doing(|| format!("reading {}", shown(path)))
}

fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    Escaped(path.as_os_str().as_bytes()).to_string()
}

fn failed(error: native_tls::Error) -> ErrorKind {
    ErrorKind::Usage(error.to_string())
}
