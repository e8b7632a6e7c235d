//! Replies of SFTP version 3 (draft-ietf-secsh-filexfer-02), out of bytes. No I/O.
//!
//! Whatever a server sends ends in a reply or in [`Malformed`]: no length is believed before the bytes are there.

use std::fmt;

/// The longest packet that is read or written: OpenSSH closes at anything longer, and no server needs more.
pub const MAX_PACKET_BYTES: usize = 256 * 1024;

/// The longest handle (draft, section 5).
const MAX_HANDLE_BYTES: usize = 256;

/// How much of a server's words is kept.
const MAX_TEXT_BYTES: usize = 512;

/// The most extensions a server may announce. OpenSSH has eleven.
const MAX_EXTENSIONS: usize = 64;

/// Why bytes are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The length is beyond [`MAX_PACKET_BYTES`], or too short for any packet.
    Length,
    /// A field reaches beyond the packet's end.
    Cut,
    /// The type is none that answers a request.
    Type,
    /// A handle, a count or a number is beyond all bounds.
    Bounds,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "a packet of impossible length",
            Self::Cut => "a packet that ends too early",
            Self::Type => "a packet that answers nothing",
            Self::Bounds => "a packet with a number beyond all bounds",
        })
    }
}

/// What is said of a file; what is not said is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bytes.
    pub size: Option<u64>,
    /// Type and permission bits, as in `st_mode`.
    pub mode: Option<u32>,
    /// When it was read and changed, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

impl Attributes {
    pub(super) const SIZE: u32 = 1;
    const OWNER: u32 = 2;
    pub(super) const MODE: u32 = 4;
    pub(super) const TIMES: u32 = 8;
    const EXTENDED: u32 = 0x8000_0000;

    fn parse(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let flags = fields.u32()?;
        let mut found = Self::default();
        if flags & Self::SIZE != 0 {
            found.size = Some(fields.u64()?);
        }
        if flags & Self::OWNER != 0 {
            fields.u64()?;
        }
        if flags & Self::MODE != 0 {
            found.mode = Some(fields.u32()?);
        }
        if flags & Self::TIMES != 0 {
            found.times = Some((fields.u32()?, fields.u32()?));
        }
        if flags & Self::EXTENDED != 0 {
            for _ in 0..fields.count(8)? {
                fields.string()?;
                fields.string()?;
            }
        }
        Ok(found)
    }
}

/// What a server calls an open file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle(pub(super) Box<[u8]>);

/// What a server begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version it speaks.
    pub version: u32,
    /// The names of what it can do beyond that.
    pub extensions: Vec<Vec<u8>>,
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAttributes {
    /// The name as the server sent it: anything.
    pub name: Vec<u8>,
    /// What is said of it.
    pub attributes: Attributes,
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// How it went.
    Status(Status),
    /// Something was opened.
    Handle(Handle),
    /// Bytes of a file.
    Data(Vec<u8>),
    /// Names of a directory, or one path.
    Names(Vec<NamedAttributes>),
    /// What is said of one file.
    Attributes(Attributes),
    /// The reply to an extended request, without its id.
    Extended(Vec<u8>),
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The code: see [`code`].
    pub code: u32,
    /// What the server says of it; may be empty.
    pub text: Vec<u8>,
}

/// Status codes of version 3.
pub mod code {
    /// Done.
    pub const OK: u32 = 0;
    /// Nothing more to read.
    pub const EOF: u32 = 1;
    /// Nothing of that name.
    pub const NO_SUCH_FILE: u32 = 2;
    /// Not allowed.
    pub const PERMISSION_DENIED: u32 = 3;
    /// Anything else.
    pub const FAILURE: u32 = 4;
    /// The server does not know the request.
    pub const UNSUPPORTED: u32 = 8;
}

/// The first packet's body, which follows its length, and how many bytes both take; none until all of it is there.
pub fn split(input: &[u8]) -> Result<Option<(&[u8], usize)>, Malformed> {
    let Some((length, rest)) = input.split_first_chunk() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    // A type and an id, or a version.
    if !(5..=MAX_PACKET_BYTES).contains(&length) {
        return Err(Malformed::Length);
    }
    Ok(rest.get(..length).map(|body| (body, 4 + length)))
}

/// Reads the body of the packet that a server begins with.
pub fn parse_hello(body: &[u8]) -> Result<Hello, Malformed> {
    let mut fields = Fields(body);
    if fields.u8()? != 2 {
        return Err(Malformed::Type);
    }
    let version = fields.u32()?;
    let mut extensions = Vec::new();
    while !fields.0.is_empty() {
        if extensions.len() == MAX_EXTENSIONS {
            return Err(Malformed::Bounds);
        }
        extensions.push(fields.string()?.to_vec());
        fields.string()?;
    }
    Ok(Hello {
        version,
        extensions,
    })
}

/// Reads the body of a reply: which request it answers, and how.
pub fn parse_reply(body: &[u8]) -> Result<(u32, Reply), Malformed> {
    let mut fields = Fields(body);
    let kind = fields.u8()?;
    let id = fields.u32()?;
    let reply = match kind {
        101 => Reply::Status(parse_status(&mut fields)?),
        102 => {
            let handle = fields.string()?;
            if handle.len() > MAX_HANDLE_BYTES {
                return Err(Malformed::Bounds);
            }
            Reply::Handle(Handle(handle.into()))
        }
        103 => Reply::Data(fields.string()?.to_vec()),
        104 => Reply::Names(parse_names(&mut fields)?),
        105 => Reply::Attributes(Attributes::parse(&mut fields)?),
        201 => Reply::Extended(fields.0.to_vec()),
        _ => return Err(Malformed::Type),
    };
    Ok((id, reply))
}

/// The text may be missing: servers for earlier versions send none.
fn parse_status(fields: &mut Fields<'_>) -> Result<Status, Malformed> {
    let code = fields.u32()?;
    let text = if fields.0.is_empty() {
        &[]
    } else {
        fields.string()?
    };
    Ok(Status {
        code,
        text: text[..text.len().min(MAX_TEXT_BYTES)].to_vec(),
    })
}

fn parse_names(fields: &mut Fields<'_>) -> Result<Vec<NamedAttributes>, Malformed> {
    // Two strings and some flags each, so a count that does not fit the packet is seen before anything is made for it.
    let count = fields.count(12)?;
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let name = fields.string()?.to_vec();
        // A line as `ls -l` has it, in whatever form: it says nothing that the attributes do not say better.
        fields.string()?;
        let attributes = Attributes::parse(fields)?;
        names.push(NamedAttributes { name, attributes });
    }
    Ok(names)
}

/// The bytes that somebody who is not root may still write, of the reply to `statvfs@openssh.com`.
pub fn parse_free_bytes(extended: &[u8]) -> Option<u64> {
    let mut fields = Fields(extended);
    let _block_bytes = fields.u64().ok()?;
    let fragment_bytes = fields.u64().ok()?;
    let _blocks = fields.u64().ok()?;
    let _free_blocks = fields.u64().ok()?;
    let available = fields.u64().ok()?;
    Some(available.saturating_mul(fragment_bytes))
}

/// The algorithm and the digest, of the reply to `check-file-name`. Some servers repeat the extension's name.
pub fn parse_check_file(extended: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = Fields(extended);
    let mut algorithm = fields.string().ok()?;
    if algorithm.starts_with(b"check-file") {
        algorithm = fields.string().ok()?;
    }
    Some((algorithm, fields.0))
}

/// What is left of a packet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.take().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        let (field, rest) = self.0.split_at_checked(length).ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(field)
    }

    /// A count of things that have at least so many bytes each, of which as many must be left.
    fn count(&mut self, least_bytes: usize) -> Result<usize, Malformed> {
        let count = self.u32()? as usize;
        if count > self.0.len() / least_bytes {
            return Err(Malformed::Bounds);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replies as OpenSSH 9.2 sends them, but for the third, which is a server's that says little.
    const RECORDED: [&[u8]; 8] = [
        b"\0\0\0\x1c\x65\0\0\0\x02\0\0\0\x01\0\0\0\x0bEnd of file\0\0\0\0",
        b"\0\0\0\x0d\x66\0\0\0\x03\0\0\0\x04\0\0\0\x05",
        b"\0\0\0\x09\x65\0\0\0\x02\0\0\0\x04",
        b"\0\0\0\x0e\x67\0\0\0\x04\0\0\0\x05hello",
        b"\0\0\0\x25\x69\0\0\0\x05\0\0\0\x0f\0\0\0\0\0\0\0\x0b\0\0\x03\xea\0\0\x03\xea\0\0\x81\xa4\x65\xe0\x7d\x80\x65\xe0\x7d\x80",
        b"\0\0\0\x30\x68\0\0\0\x06\0\0\0\x01\0\0\0\x05f.txt\0\0\0\x0a-rw-r--r--\0\0\0\x0c\0\0\x81\xa4\x65\xe0\x7d\x80\x65\xe0\x7d\x80",
        b"\0\0\0\x15\x68\0\0\0\x07\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\0\0\0\x0d\xc9\0\0\0\x08\0\0\0\0\0\0\0\x09",
    ];

    fn reply(packet: &[u8]) -> Result<(u32, Reply), Malformed> {
        let (body, taken) = split(packet)?.expect("the packet is whole");
        assert_eq!(taken, packet.len());
        parse_reply(body)
    }

    #[test]
    fn reads_recorded_replies() {
        let status = |code, text: &[u8]| {
            Reply::Status(Status {
                code,
                text: text.to_vec(),
            })
        };
        let file = Attributes {
            size: None,
            mode: Some(0o100_644),
            times: Some((1_709_211_008, 1_709_211_008)),
        };
        let read: Vec<Reply> = RECORDED
            .iter()
            .map(|packet| reply(packet).unwrap().1)
            .collect();
        assert_eq!(read[0], status(code::EOF, b"End of file"));
        assert_eq!(read[1], Reply::Handle(Handle(Box::new([0, 0, 0, 5]))));
        assert_eq!(read[2], status(code::FAILURE, b""));
        assert_eq!(read[3], Reply::Data(b"hello".to_vec()));
        assert_eq!(
            read[4],
            Reply::Attributes(Attributes {
                size: Some(11),
                ..file
            })
        );
        let named = NamedAttributes {
            name: b"f.txt".to_vec(),
            attributes: file,
        };
        assert_eq!(read[5], Reply::Names(vec![named]));
        assert_eq!(read[7], Reply::Extended(vec![0, 0, 0, 0, 0, 0, 0, 9]));
    }

    #[test]
    fn waits_for_the_last_byte() {
        for packet in RECORDED {
            for end in 0..packet.len() {
                assert_eq!(split(&packet[..end]), Ok(None), "{end} bytes");
            }
        }
    }

    #[test]
    fn every_cut_body_and_every_changed_byte_is_an_answer_or_an_error() {
        for packet in RECORDED {
            for end in 0..packet.len() - 4 {
                let _ = parse_reply(&packet[4..4 + end]);
                let _ = parse_hello(&packet[4..4 + end]);
            }
            for at in 0..packet.len() {
                for byte in [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff] {
                    let mut changed = packet.to_vec();
                    changed[at] = byte;
                    if let Ok(Some((body, _))) = split(&changed) {
                        let _ = parse_reply(body);
                        let _ = parse_hello(body);
                    }
                }
            }
        }
    }

    #[test]
    fn impossible_lengths_are_refused_before_they_are_waited_for() {
        assert_eq!(split(b"Welcome"), Err(Malformed::Length));
        assert_eq!(split(&[0, 0, 0, 3]), Err(Malformed::Length));
        assert_eq!(split(&[0x80, 0, 0, 0]), Err(Malformed::Length));
        assert_eq!(split(&[0, 4, 0, 0]), Ok(None));
        // A hundred million names in a packet of 13 bytes.
        let names = [104, 0, 0, 0, 1, 5, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(parse_reply(&names), Err(Malformed::Bounds));
        let handle = [&[102, 0, 0, 0, 1, 0, 0, 1, 1][..], &[7; 257]].concat();
        assert_eq!(parse_reply(&handle), Err(Malformed::Bounds));
    }

    #[test]
    fn reads_what_a_server_can_do() {
        let body = b"\x02\0\0\0\x03\0\0\0\x11fsync@openssh.com\0\0\0\x011";
        assert_eq!(
            parse_hello(body),
            Ok(Hello {
                version: 3,
                extensions: vec![b"fsync@openssh.com".to_vec()]
            })
        );
        assert_eq!(parse_hello(&body[..9]), Err(Malformed::Cut));
        assert_eq!(
            parse_hello(b"\x65\0\0\0\x01\0\0\0\x04"),
            Err(Malformed::Type)
        );
        let endless = [&body[..5], &[0; 8 * 65]].concat();
        assert_eq!(parse_hello(&endless), Err(Malformed::Bounds));
    }

    #[test]
    fn free_room_is_what_others_than_root_have() {
        let mut reply = Vec::new();
        for number in [4096_u64, 4096, 66_053_021, 60_343_966, 18_112_417, 0] {
            reply.extend_from_slice(&number.to_be_bytes());
        }
        assert_eq!(parse_free_bytes(&reply), Some(4096 * 18_112_417));
        assert_eq!(parse_free_bytes(&reply[..39]), None);
    }

    #[test]
    fn digests_come_with_or_without_the_extensions_name() {
        let plain = b"\0\0\0\x06sha256\x01\x02";
        let named = [b"\0\0\0\x0acheck-file".as_slice(), plain].concat();
        assert_eq!(parse_check_file(plain), Some((&b"sha256"[..], &[1, 2][..])));
        assert_eq!(parse_check_file(&named), parse_check_file(plain));
        assert_eq!(parse_check_file(b"\0\0\0\x06sha"), None);
    }
}
