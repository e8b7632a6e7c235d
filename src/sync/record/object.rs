//! JSON objects that are too large for memory, read in pieces: a file of 50,000 records is never there as text.

use std::io::Read;

use crate::sync::record::json::{Malformed, Seen, check, unquote};

/// Tells `outline` what is in the object that `from` holds, while it is read. In memory is no more of it than the longest
/// value that is wanted as text.
///
/// Fails when there is not one JSON object and nothing else, in UTF-8; what is before the mistake was told by then.
// serde_json reads from slices, or from a reader byte by byte, which takes twice the time and 18 KB more. So it is told here
// where each value begins and ends, and left to serde_json what it is.
pub(crate) fn read_object(from: &mut dyn Read, outline: &mut dyn Outline) -> Result<(), Malformed> {
    let mut window = Window {
        from,
        buffer: vec![0; WINDOW_BYTES],
        start: 0,
        end: 0,
    };
    window.fields(outline)?;
    match window.next()? {
        None => Ok(()),
        Some(_) => Err(Malformed::Expected("nothing behind the object")),
    }
}

/// Who is told what is in an object that is read in pieces.
pub(crate) trait Outline {
    /// A field begins: what is wanted of it. [`Wanted::Fields`] must come to an end, for each level is a call.
    fn begin(&mut self, name: &[u8]) -> Wanted;

    /// The text of a field of which it was wanted: one value if it is JSON at all, which is for the outline to find out,
    /// for it may be about to read it anyway.
    fn text(&mut self, name: &[u8], text: &str) -> Result<(), Malformed>;

    /// The object ends whose fields were wanted last.
    fn end(&mut self);
}

/// What is wanted of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It must be an object, and its own fields are told one by one.
    Fields,
    /// Its text.
    Text,
}

/// How much is read at a time, in bytes: little beside the records of a large directory, and a few calls of the kernel for them.
const WINDOW_BYTES: usize = 8 * 1024;

/// What of a large object is in memory.
struct Window<'r> {
    from: &'r mut dyn Read,
    buffer: Vec<u8>,
    /// Where what is not yet looked at begins and ends.
    start: usize,
    end: usize,
}

impl Window<'_> {
    fn fields(&mut self, outline: &mut dyn Outline) -> Result<(), Malformed> {
        self.expect(b'{', "an object")?;
        if self.next()? == Some(b'}') {
            self.start += 1;
            return Ok(());
        }
        let mut name = Vec::new();
        loop {
            let key = self.value()?;
            check(key)?;
            unquote(key, &mut name)?;
            self.expect(b':', "a colon")?;
            match outline.begin(&name) {
                Wanted::Fields => {
                    self.fields(outline)?;
                    outline.end();
                }
                Wanted::Text => outline.text(&name, self.value()?)?,
            }
            if self.next()? == Some(b'}') {
                self.start += 1;
                return Ok(());
            }
            self.expect(b',', "a comma")?;
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Malformed> {
        if self.next()? == Some(byte) {
            self.start += 1;
            Ok(())
        } else {
            Err(Malformed::Expected(what))
        }
    }

    /// The next byte that is no blank; it is not taken.
    fn next(&mut self) -> Result<Option<u8>, Malformed> {
        loop {
            match self.ahead(0)? {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.start += 1,
                other => return Ok(other),
            }
        }
    }

    /// The text up to where the next value must end, if it is one.
    fn value(&mut self) -> Result<&str, Malformed> {
        self.next()?;
        let mut seen = Seen::default();
        let mut length = 0;
        while self.ahead(length)?.is_some() {
            let unseen = &self.buffer[self.start + length..self.end];
            let end = seen.end_in(unseen);
            length += end.unwrap_or(unseen.len());
            if end.is_some() {
                break;
            }
        }
        let start = self.start;
        self.start = start + length;
        str::from_utf8(&self.buffer[start..self.start]).map_err(|_| Malformed::NotUtf8)
    }

    /// The byte at that distance from the start; none behind the end of all.
    fn ahead(&mut self, distance: usize) -> Result<Option<u8>, Malformed> {
        while self.end - self.start <= distance {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.end == self.buffer.len() {
                self.buffer.resize(self.end * 2, 0);
            }
            match self.from.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(None),
                Ok(count) => self.end += count,
                Err(error) => return Err(Malformed::Unread(error)),
            }
        }
        Ok(Some(self.buffer[self.start + distance]))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Notes what it is told, goes into the objects under `in` and checks all else.
    #[derive(Default)]
    struct Notes(Vec<String>);

    impl Outline for Notes {
        fn begin(&mut self, name: &[u8]) -> Wanted {
            if name == b"in" {
                self.0.push("{".into());
                return Wanted::Fields;
            }
            Wanted::Text
        }

        fn text(&mut self, name: &[u8], text: &str) -> Result<(), Malformed> {
            self.0.push(format!("{}={text}", name.escape_ascii()));
            check(text)
        }

        fn end(&mut self) {
            self.0.push("}".into());
        }
    }

    fn noted(mut from: impl Read) -> Result<Vec<String>, Malformed> {
        let mut notes = Notes::default();
        read_object(&mut from, &mut notes).map(|()| notes.0)
    }

    /// Hands out a byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut bytes[..1])
        }
    }

    const NESTED: &str = r#" {"a":"x,}\\\"", "in" :{"in":{},"b" : [1,{"c":"]"}], "\udce9":null},
        "d":-1.5e3 , "in":{"é":{"":[]}}, "e":true} "#;

    #[test]
    fn an_object_is_told_field_by_field_however_it_comes() {
        let told = [
            r#"a="x,}\\\"""#,
            "{",
            "{",
            "}",
            r#"b=[1,{"c":"]"}]"#,
            r"\xe9=null",
            "}",
            "d=-1.5e3",
            "{",
            r#"\xc3\xa9={"":[]}"#,
            "}",
            "e=true",
        ];
        assert_eq!(noted(NESTED.as_bytes()).unwrap(), told);
        assert_eq!(noted(Drip(NESTED.as_bytes())).unwrap(), told);
        assert_eq!(noted(&b"{ }"[..]).unwrap(), [""; 0]);
    }

    #[test]
    fn a_value_may_be_longer_than_what_is_read_at_a_time() {
        let long = format!("[\"{}\"]", "é\\\"".repeat(WINDOW_BYTES));
        let text = format!(r#"{{"a":{long},"in":{{"b":{long}}}}}"#);
        let told = noted(text.as_bytes()).unwrap();
        assert_eq!(told, [&format!("a={long}"), "{", &format!("b={long}"), "}"]);
    }

    #[test]
    fn what_no_json_is_is_refused_at_every_cut_and_every_changed_byte() {
        // The whole of it, which serde_json sees as a value.
        let is_object = |text: &[u8]| {
            str::from_utf8(text)
                .is_ok_and(|text| text.trim_ascii_start().starts_with('{') && check(text).is_ok())
        };
        for end in 0..NESTED.trim_end().len() {
            assert!(noted(&NESTED.as_bytes()[..end]).is_err(), "{end}");
        }
        let mut accepted = 0;
        for place in 0..NESTED.len() {
            for byte in 0..=255 {
                let mut changed = NESTED.as_bytes().to_vec();
                changed[place] = byte;
                let enters_a_scalar = noted(&changed[..])
                    .is_err_and(|why| matches!(why, Malformed::Expected("an object")));
                if !enters_a_scalar {
                    let shown = changed.escape_ascii().to_string();
                    assert_eq!(noted(&changed[..]).is_ok(), is_object(&changed), "{shown}");
                    accepted += usize::from(is_object(&changed));
                }
            }
        }
        assert!(accepted > 1_000, "{accepted}");
    }

    #[test]
    fn what_cannot_be_read_on_says_why() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _bytes: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let cut = noted((&b"{\"a\":1,"[..]).chain(Broken));
        assert!(
            matches!(cut, Err(Malformed::Unread(error)) if error.kind() == io::ErrorKind::BrokenPipe)
        );
    }
}
