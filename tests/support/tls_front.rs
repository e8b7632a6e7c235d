//! A TLS front before the FTP server inside this process: it takes AUTH, PBSZ and PROT itself, passes everything else
//! on, and misbehaves on request, as a bad server or as somebody on the way.
//!
//! ```text
//! client ══ TLS ══▶ front ── clear ──▶ FtpServer
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use super::tls::Shown;

/// Bytes in one record of a data connection.
pub const RECORD_BYTES: usize = 1000;

/// Nothing on this machine takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the front does; the default is a good server. The server behind it must say 150 before it has a data connection:
/// the client shakes hands only then, and the server must not be done before the front has judged the handshake.
#[derive(Clone)]
pub struct Conduct {
    /// TLS from the first byte.
    pub implicit: bool,
    /// The greeting, instead of the server's.
    pub greeting: Option<&'static str>,
    /// What it says to AUTH, to the byte. It begins TLS where this begins with 234.
    pub auth: &'static str,
    /// What it says to PROT.
    pub prot: &'static str,
    /// Whether sessions can be resumed.
    pub resumes: bool,
    /// Whether data connections must resume.
    pub demands: bool,
    /// Cuts data connections that carry this verb after so many records.
    pub cut: Option<(&'static str, usize)>,
    /// Ends data connections of these verbs without close_notify.
    pub mute: &'static [&'static str],
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            implicit: false,
            greeting: None,
            auth: "234 go on\r\n",
            prot: "200 private\r\n",
            resumes: true,
            demands: false,
            cut: None,
            mute: &[],
        }
    }
}

/// A running front. Its threads end with their connections.
pub struct Front {
    address: SocketAddr,
    seen: Arc<Seen>,
}

/// What arrived.
#[derive(Default)]
struct Seen {
    /// On control connections, in the clear.
    clear: Mutex<String>,
    /// On control connections, through TLS.
    secured: Mutex<Vec<String>>,
    /// Data connections whose first byte was not TLS.
    clear_data: AtomicUsize,
    /// Records of data connections that were passed on.
    records: AtomicUsize,
}

struct Shared {
    server: SocketAddr,
    conduct: Conduct,
    tls: Arc<ServerConfig>,
    seen: Arc<Seen>,
}

impl Front {
    pub fn start(server: SocketAddr, shown: &Shown, conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let seen = Arc::new(Seen::default());
        let shared = Arc::new(Shared {
            server,
            tls: Arc::new(settings(shown, &conduct)),
            conduct,
            seen: Arc::clone(&seen),
        });
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // An end that the test brings about is no failure of the front.
                thread::spawn(move || drop(serve(client, &shared)));
            }
        });
        Self { address, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("ftps://coracle:seaworthy@{}/{path}", self.address)
    }

    /// What came in the clear on control connections.
    pub fn clear(&self) -> String {
        self.seen.clear.lock().expect("no thread panics").clone()
    }

    /// The commands that came through TLS.
    pub fn commands(&self) -> Vec<String> {
        self.seen.secured.lock().expect("no thread panics").clone()
    }

    pub fn clear_data_connections(&self) -> usize {
        self.seen.clear_data.load(Ordering::SeqCst)
    }

    pub fn records(&self) -> usize {
        self.seen.records.load(Ordering::SeqCst)
    }
}

fn settings(shown: &Shown, conduct: &Conduct) -> ServerConfig {
    let certs = CertificateDer::pem_file_iter(&shown.cert)
        .and_then(Iterator::collect)
        .expect("openssl made it");
    let key = PrivateKeyDer::from_pem_file(&shown.key).expect("openssl made it");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut settings = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows all versions")
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .expect("the key fits");
    if !conduct.resumes {
        settings.session_storage = Arc::new(NoServerSessionStorage {});
        settings.send_tls13_tickets = 0;
    }
    settings
}

type Tls = StreamOwned<ServerConnection, TcpStream>;

fn serve(mut client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_nodelay(true)?;
    let server = TcpStream::connect(shared.server)?;
    server.set_read_timeout(Some(PATIENCE))?;
    let mut server = BufReader::new(server);
    let mut greeting = reply(&mut server)?;
    if let Some(text) = shared.conduct.greeting {
        greeting = text.to_owned();
    }
    if shared.conduct.implicit {
        let mut tls = secure(client, shared)?;
        tls.write_all(greeting.as_bytes())?;
        return converse(tls, server, shared);
    }
    client.write_all(greeting.as_bytes())?;
    let mut byte = [0];
    let mut line = String::new();
    // Byte by byte, so that nothing of the handshake is taken.
    while client.read(&mut byte)? == 1 {
        line.push(char::from(byte[0]));
        shared
            .seen
            .clear
            .lock()
            .expect("no thread panics")
            .push(char::from(byte[0]));
        if !line.ends_with('\n') {
            continue;
        }
        if !line.starts_with("AUTH") {
            // Whatever it wants: a client that falls for it goes on.
            client.write_all(b"331 and now?\r\n")?;
        } else {
            client.write_all(shared.conduct.auth.as_bytes())?;
            if shared.conduct.auth.starts_with("234") {
                return converse(secure(client, shared)?, server, shared);
            }
        }
        line.clear();
    }
    Ok(())
}

fn secure(client: TcpStream, shared: &Shared) -> io::Result<Tls> {
    let tls = ServerConnection::new(Arc::clone(&shared.tls)).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(tls, client);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

/// Passes commands and replies on.
fn converse(tls: Tls, mut server: BufReader<TcpStream>, shared: &Arc<Shared>) -> io::Result<()> {
    let mut client = BufReader::new(tls);
    let mut next: Option<Sender<String>> = None;
    let refused = Arc::new(AtomicBool::new(false));
    loop {
        let mut line = String::new();
        if client.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let command = line.trim_end().to_owned();
        shared
            .seen
            .secured
            .lock()
            .expect("no thread panics")
            .push(command.clone());
        let verb = command.split(' ').next().unwrap_or_default().to_owned();
        match verb.as_str() {
            "PBSZ" => client.get_mut().write_all(b"200 so be it\r\n")?,
            "PROT" => client.get_mut().write_all(shared.conduct.prot.as_bytes())?,
            "EPSV" => {
                server.get_mut().write_all(line.as_bytes())?;
                let theirs = reply(&mut server)?;
                let port = theirs.split('|').nth(3).and_then(|port| port.parse().ok());
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let ours = listener.local_addr()?.port();
                let (sender, receiver) = channel();
                next = Some(sender);
                let (shared, refused) = (Arc::clone(shared), Arc::clone(&refused));
                let server = SocketAddr::new(shared.server.ip(), port.expect("it knows EPSV"));
                thread::spawn(move || drop(carry(&listener, server, &receiver, &shared, &refused)));
                let text = format!("229 here (|||{ours}|)\r\n");
                client.get_mut().write_all(text.as_bytes())?;
            }
            _ => {
                if matches!(verb.as_str(), "LIST" | "MLSD" | "RETR" | "STOR")
                    && let Some(next) = next.take()
                {
                    let _ = next.send(verb);
                }
                server.get_mut().write_all(line.as_bytes())?;
                loop {
                    let mut said = reply(&mut server)?;
                    let is_last = !said.starts_with('1');
                    if is_last && refused.swap(false, Ordering::SeqCst) {
                        said = "522 session reuse required\r\n".to_owned();
                    }
                    client.get_mut().write_all(said.as_bytes())?;
                    if is_last {
                        break;
                    }
                }
            }
        }
    }
}

/// One data connection.
fn carry(
    listener: &TcpListener,
    server: SocketAddr,
    verb: &Receiver<String>,
    shared: &Shared,
    refused: &AtomicBool,
) -> io::Result<()> {
    let (client, _) = listener.accept()?;
    client.set_read_timeout(Some(PATIENCE))?;
    let Ok(verb) = verb.recv_timeout(PATIENCE) else {
        return Ok(());
    };
    let mut first = [0];
    if client.peek(&mut first)? == 1 && first[0] != 0x16 {
        shared.seen.clear_data.fetch_add(1, Ordering::SeqCst);
    }
    let mut client = secure(client, shared)?;
    if shared.conduct.demands && client.conn.handshake_kind() != Some(HandshakeKind::Resumed) {
        refused.store(true, Ordering::SeqCst);
        client.conn.send_close_notify();
        client.flush()?;
        // The server ends the transfer when it loses its end.
        return TcpStream::connect(server).map(drop);
    }
    let mut server = TcpStream::connect(server)?;
    let cut = match shared.conduct.cut {
        Some((cut_verb, records)) if cut_verb == verb => Some(records),
        Some(_) | None => None,
    };
    let mut buffer = [0; RECORD_BYTES];
    let mut records = 0;
    loop {
        if cut == Some(records) {
            client.sock.shutdown(Shutdown::Both)?;
            // The server does not notice, and says that all is well.
            if verb != "STOR" {
                io::copy(&mut server, &mut io::sink())?;
            }
            return Ok(());
        }
        let count = if verb == "STOR" {
            client.read(&mut buffer)?
        } else {
            server.read(&mut buffer)?
        };
        if count == 0 {
            break;
        }
        if verb == "STOR" {
            server.write_all(&buffer[..count])?;
        } else {
            client.write_all(&buffer[..count])?;
            client.flush()?;
        }
        records += 1;
        shared.seen.records.fetch_add(1, Ordering::SeqCst);
    }
    if !shared.conduct.mute.contains(&verb.as_str()) {
        client.conn.send_close_notify();
        client.flush()?;
    }
    client.sock.shutdown(Shutdown::Write)
}

/// One reply with all its lines.
fn reply(server: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let start = text.len();
        if server.read_line(&mut text)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = &text[start..];
        let is_coded = line.len() > 3 && line[..3].bytes().all(|byte| byte.is_ascii_digit());
        if is_coded && line.as_bytes()[3] == b' ' {
            return Ok(text);
        }
    }
}
