//! Heads and chunked bodies of ICAP: bytes of any kind are read to the same end wherever they are cut.
#![no_main]
use icap::chunk::{ChunkError, Decoder, Step};
use icap::request::{Gathered, Head, Refusal};
use libfuzzer_sys::fuzz_target;

fn head(bytes: &[u8], piece: usize) -> Result<(usize, Option<Head>), Refusal> {
    let (mut gathered, mut used) = (Gathered::default(), 0);
    for piece in bytes.chunks(piece) {
        let (taken, whole) = gathered.feed(piece)?;
        assert!(taken <= piece.len());
        used += taken;
        if whole {
            return Ok((used, Some(gathered.parse()?)));
        }
    }
    Ok((used, None))
}

fn body(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Option<bool>), ChunkError> {
    let (mut decoder, mut content) = (Decoder::default(), Vec::new());
    for mut rest in bytes.chunks(piece) {
        while !rest.is_empty() {
            let (used, step) = decoder.feed(rest)?;
            rest = &rest[used..];
            match step {
                Step::More => assert!(rest.is_empty()),
                Step::End { ieof } => return Ok((content, Some(ieof))),
                Step::Data(bytes) => {
                    let (data, behind) = rest.split_at(rest.len().min(usize::try_from(bytes).unwrap_or(usize::MAX)));
                    content.extend_from_slice(data);
                    decoder.took(data.len() as u64);
                    rest = behind;
                }
            }
        }
    }
    Ok((content, None))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let piece = usize::from(*piece).max(1);
    let whole = head(bytes, usize::MAX);
    assert_eq!(head(bytes, piece), whole);
    if let Ok((used, Some(head))) = whole {
        let _ = head.layout.check(&bytes[used..]);
        assert!(head.layout.echoed(head.method).is_none_or(|range| range.end <= head.layout.heads));
    }
    assert_eq!(body(bytes, piece), body(bytes, usize::MAX));
});
