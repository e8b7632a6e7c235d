//! A relay between a client and an FTP server that makes every byte late, as a long line does.
//!
//! Bandwidth is not limited, and the order of bytes is kept. A connection stands for the server when its third packet would
//! have arrived, one and a half round trips after the client began it; what the client sends meanwhile waits as long. What
//! this cannot show: to the client itself `connect` takes no time, so a client that connects and only then goes on looks
//! better than it is where nothing else waits for that connection; and the acknowledgements of TCP, like slow start, are
//! those of loopback.

// Each benchmark uses a part.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Read at a time; as much as a client or server sends at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A running relay for the control connections of one server and the data connections they lead to.
pub(super) struct Delay {
    line: Line,
    address: SocketAddr,
    closing: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// What all connections have in common.
#[derive(Clone)]
struct Line {
    round_trip: Duration,
    data_connections: Arc<AtomicUsize>,
}

/// What a connection carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carries {
    /// Commands and replies; ports in replies are exchanged for ours.
    Control,
    Data,
}

impl Delay {
    /// Puts a line of that round trip before `server`, which listens on an IPv4 loopback address.
    pub(super) fn start(server: SocketAddr, round_trip: Duration) -> Self {
        Self::start_carrying(server, round_trip, Carries::Control)
    }

    /// The same before a server whose bytes mean nothing to the line: one of SSH.
    pub(super) fn start_bytes(server: SocketAddr, round_trip: Duration) -> Self {
        Self::start_carrying(server, round_trip, Carries::Data)
    }

    fn start_carrying(server: SocketAddr, round_trip: Duration, carries: Carries) -> Self {
        let listener = listen();
        let address = address_of(&listener);
        let line = Line {
            round_trip,
            data_connections: Arc::default(),
        };
        let closing = Arc::new(AtomicBool::new(false));
        let accepting = thread::spawn({
            let (line, closing) = (line.clone(), Arc::clone(&closing));
            move || {
                for client in listener.incoming().flatten() {
                    if closing.load(Ordering::SeqCst) {
                        return;
                    }
                    line.carry(client, server, carries);
                }
            }
        });
        Self {
            line,
            address,
            closing,
            accepting: Some(accepting),
        }
    }

    /// Where clients connect to.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many data connections clients have opened so far.
    pub(super) fn data_connections(&self) -> usize {
        self.line.data_connections.load(Ordering::SeqCst)
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection. The others end with their connections.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Line {
    /// Takes a connection that a client has just begun, and passes all on to `server` and back, late.
    fn carry(&self, client: TcpStream, server: SocketAddr, carries: Carries) {
        let line = self.clone();
        let begun = Instant::now();
        let (to_server, from_client) = channel();
        let copy = client.try_clone().expect("file handles are left");
        thread::spawn(move || read(copy, &to_server));
        thread::spawn(move || {
            let stands = begun + line.round_trip * 3 / 2;
            thread::sleep(stands.saturating_duration_since(Instant::now()));
            // A server that does not listen any more shows as a connection that ends at once.
            let Ok(server) = TcpStream::connect(server) else {
                return;
            };
            let _ = (server.set_nodelay(true), client.set_nodelay(true));
            let (to_client, from_server) = channel();
            let copy = server.try_clone().expect("file handles are left");
            thread::spawn({
                let line = line.clone();
                move || match carries {
                    Carries::Control => line.read_replies(copy, &to_client),
                    Carries::Data => read(copy, &to_client),
                }
            });
            let late = line.round_trip / 2;
            thread::spawn(move || write(&from_server, client, late));
            write(&from_client, server, late);
        });
    }

    /// Reads replies, and opens a port of ours for each that the server names in one.
    fn read_replies(&self, mut server: TcpStream, to: &Sender<Piece>) {
        let host = server.peer_addr().expect("it is connected").ip();
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut begun = Vec::new();
        while let Ok(count @ 1..) = server.read(&mut buffer) {
            begun.extend_from_slice(&buffer[..count]);
            // Lines that came together travel together.
            let whole = begun
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            let lines: Vec<u8> = begun.drain(..whole).collect();
            let lines = lines.split_inclusive(|byte| *byte == b'\n');
            let piece: Vec<u8> = lines
                .flat_map(|line| self.exchange_port(host, line))
                .collect();
            if !piece.is_empty() && to.send((Instant::now(), piece)).is_err() {
                return;
            }
        }
        let _ = to.send((Instant::now(), Vec::new()));
    }

    /// The line of a reply, with a port of ours in place of the server's.
    fn exchange_port(&self, host: IpAddr, line: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(line);
        if let Some(port) = extended_port(&text) {
            let ours = self.open_port(SocketAddr::new(host, port));
            format!("229 Entering Extended Passive Mode (|||{ours}|)\r\n").into_bytes()
        } else if let Some(port) = passive_port(&text) {
            let ours = self.open_port(SocketAddr::new(host, port));
            let (high, low) = (ours / 256, ours % 256);
            format!("227 Entering Passive Mode (127,0,0,1,{high},{low}).\r\n").into_bytes()
        } else {
            line.to_vec()
        }
    }

    /// A port that leads to that port of the server, once. The thread of a port that nobody uses lasts as long as the
    /// process.
    fn open_port(&self, server: SocketAddr) -> u16 {
        let listener = listen();
        let port = address_of(&listener).port();
        let line = self.clone();
        thread::spawn(move || {
            if let Ok((client, _)) = listener.accept() {
                line.data_connections.fetch_add(1, Ordering::SeqCst);
                line.carry(client, server, Carries::Data);
            }
        });
        port
    }
}

/// Bytes and when they were sent.
type Piece = (Instant, Vec<u8>);

/// Notes what comes and when; the end shows as an empty piece.
fn read(mut from: TcpStream, to: &Sender<Piece>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    // A connection that breaks ends, too.
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.send((Instant::now(), buffer[..count].to_vec())).is_err() {
            return;
        }
    }
    let _ = to.send((Instant::now(), Vec::new()));
}

/// Sends what was read as much later.
fn write(pieces: &Receiver<Piece>, mut to: TcpStream, late: Duration) {
    for (sent, bytes) in pieces {
        thread::sleep((sent + late).saturating_duration_since(Instant::now()));
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The port in `229 ... (|||port|)`.
fn extended_port(reply: &str) -> Option<u16> {
    let (_, port) = reply.strip_prefix("229 ")?.split_once("(|||")?;
    port.split('|').next()?.parse().ok()
}

/// The port in `227 ... (a,b,c,d,high,low)`.
fn passive_port(reply: &str) -> Option<u16> {
    let numbers = reply.strip_prefix("227 ")?.split_once('(')?.1;
    let numbers: Vec<u16> = numbers
        .split([',', ')'])
        .map_while(|number| number.parse().ok())
        .collect();
    match numbers[..] {
        [_, _, _, _, high, low] => Some(high * 256 + low),
        _ => None,
    }
}

fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("this machine has a loopback interface")
}

fn address_of(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a listener has an address")
}
