//! What goes over the pipes: a request of six fields, an answer of two. A field is its length (4 bytes, big endian)
//! and its bytes.

use std::io::{Error, ErrorKind, Read, Write};

use zeroize::Zeroizing;

/// Longest field: paths, labels, PINs and small secrets are far shorter.
const FIELD_MAX: usize = 4096;

/// A field's bytes. Some are secret, so all are zeroed.
pub(crate) type Field = Zeroizing<Vec<u8>>;

/// What the child shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Encrypt,
    Decrypt,
}

/// One request.
pub(crate) struct Request {
    pub(crate) task: Task,
    pub(crate) module: Field,
    pub(crate) token: Field,
    pub(crate) key: Field,
    pub(crate) pin: Field,
    pub(crate) data: Field,
}

/// The bytes asked for, or what a person should read.
pub(crate) type Answer = Result<Field, String>;

pub(crate) fn write_request(out: &mut dyn Write, request: &Request) -> std::io::Result<()> {
    let task: &[u8] = match request.task {
        Task::Encrypt => b"encrypt",
        Task::Decrypt => b"decrypt",
    };
    for field in [task, &request.module, &request.token, &request.key, &request.pin, &request.data] {
        write_field(out, field)?;
    }
    out.flush()
}

pub(crate) fn read_request(input: &mut dyn Read) -> std::io::Result<Request> {
    let task = match read_field(input)?.as_slice() {
        b"encrypt" => Task::Encrypt,
        b"decrypt" => Task::Decrypt,
        _ => return Err(ErrorKind::InvalidData.into()),
    };
    let [module, token, key] = [read_field(input)?, read_field(input)?, read_field(input)?];
    Ok(Request { task, module, token, key, pin: read_field(input)?, data: read_field(input)? })
}

pub(crate) fn write_answer(out: &mut dyn Write, answer: &Answer) -> std::io::Result<()> {
    let (word, bytes): (&[u8], &[u8]) = match answer {
        Ok(bytes) => (b"ok", bytes),
        Err(told) => (b"error", &told.as_bytes()[..told.floor_char_boundary(FIELD_MAX)]),
    };
    write_field(out, word)?;
    write_field(out, bytes)?;
    out.flush()
}

pub(crate) fn read_answer(input: &mut dyn Read) -> std::io::Result<Answer> {
    let (word, bytes) = (read_field(input)?, read_field(input)?);
    match word.as_slice() {
        b"ok" => Ok(Ok(bytes)),
        b"error" => Ok(Err(String::from_utf8_lossy(&bytes).into_owned())),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

fn write_field(out: &mut dyn Write, bytes: &[u8]) -> std::io::Result<()> {
    let len = u32::try_from(bytes.len()).ok().filter(|len| *len as usize <= FIELD_MAX);
    let len = len.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "longer than 4,096 bytes"))?;
    out.write_all(&len.to_be_bytes())?;
    out.write_all(bytes)
}

fn read_field(input: &mut dyn Read) -> std::io::Result<Field> {
    let mut len = [0; 4];
    input.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > FIELD_MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut bytes = Zeroizing::new(vec![0; len]);
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(bytes: &[u8]) -> Field {
        Zeroizing::new(bytes.to_vec())
    }

    #[test]
    fn requests_and_answers_come_through() {
        for task in [Task::Encrypt, Task::Decrypt] {
            let [module, token, key, pin] = [b"/m".as_slice(), b"t", b"", b"1234"].map(field);
            let request = Request { task, module, token, key, pin, data: field(&[7; FIELD_MAX]) };
            let mut bytes = Vec::new();
            write_request(&mut bytes, &request).unwrap();
            let read = read_request(&mut bytes.as_slice()).unwrap();
            assert_eq!(
                (read.task, read.module, read.pin, read.data),
                (task, field(b"/m"), field(b"1234"), request.data)
            );
            for cut in 0..bytes.len().min(60) {
                assert!(read_request(&mut &bytes[..cut]).is_err(), "{cut}");
            }
        }
        for answer in [Ok(field(b"x")), Err("why".to_owned())] {
            let mut bytes = Vec::new();
            write_answer(&mut bytes, &answer).unwrap();
            assert_eq!(read_answer(&mut bytes.as_slice()).unwrap(), answer);
        }
        let mut long = Vec::new();
        write_answer(&mut long, &Err("ü".repeat(FIELD_MAX))).unwrap();
        assert_eq!(read_answer(&mut long.as_slice()).unwrap(), Err("ü".repeat(FIELD_MAX / 2)));
        assert!(write_field(&mut Vec::new(), &[0; FIELD_MAX + 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_take_memory(bytes: Vec<u8>) {
            let _ = read_request(&mut bytes.as_slice());
            let _ = read_answer(&mut bytes.as_slice());
        }
    }
}
