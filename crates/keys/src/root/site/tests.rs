//! Tests of sites' keys, and of root keys that are wrapped to them.

use base::SeededRng;
use proptest::prelude::*;

use super::super::{PlainFile, SealError};
use super::*;
use crate::{Cost, Passphrase};

fn site(seed: u64) -> SiteKey {
    SiteKey::generate(&SeededRng::new(seed))
}

fn public(seed: u64) -> SitePublic {
    site(seed).public("standby-1").unwrap()
}

fn root(seed: u64) -> RootKey {
    RootKey::generate(&SeededRng::new(seed))
}

fn wrapped() -> String {
    public(1).seal().seal(&root(7), &SeededRng::new(2)).unwrap().to_string()
}

#[test]
fn only_the_site_opens_what_is_wrapped_to_it() {
    let text = wrapped();
    assert!(text.starts_with("holdfast root key v3\nsite place="), "{text}");
    assert!(site(1).seal().open(&text).unwrap().is(&root(7)));
    // A site wraps to itself as others do to it.
    assert!(site(1).seal().open(&site(1).seal().seal(&root(8), &SeededRng::new(3)).unwrap()).unwrap().is(&root(8)));
    let other = site(2).seal().open(&text).unwrap_err();
    assert!(
        matches!(&other, SealError::Elsewhere { there, .. } if *there == format!("site key {}", site(1).fingerprint()))
    );
    let told = public(1).seal().open(&text).unwrap_err().to_string();
    assert!(told.contains("only the site itself"), "{told}");
    let phrase = Passphrase::new("correct horse battery staple").unwrap().at_cost(Cost::LEAST);
    for seal in [&PlainFile as &dyn Seal, &phrase] {
        assert_eq!(seal.open(&text).unwrap_err(), SealError::KeptBy { kind: "site".to_owned() });
    }
    assert!(SealError::KeptBy { kind: "site".to_owned() }.to_string().contains("site.key"));
}

/// What is changed in a wrapped root key, and that it does not open.
#[test]
fn a_changed_wrap_does_not_open() {
    let text = wrapped();
    let lines: Vec<&str> = text.lines().collect();
    let (place, kept) = lines[1].strip_prefix("site place=").unwrap().split_once(" kept=").unwrap();
    let other = public(1).seal().seal(&root(7), &SeededRng::new(2)).unwrap().to_string();
    let others_kept = other.lines().nth(1).unwrap().split_once(" kept=").unwrap().1.to_owned();
    let (elsewhere, named) = (hex::encode("site key 00"), hex::encode(format!("site key {}", site(2).fingerprint())));
    let bent = |at: usize| {
        let digit = if &kept[at..=at] == "0" { "1" } else { "0" };
        format!("{}{digit}{}", &kept[..at], &kept[at + 1..])
    };
    // (what is written instead of what): the encapsulated keys of ML-KEM and of X25519, the ciphertext, the tag; the place,
    // the kind, and another wrap's secret over this sealed key.
    let table = [
        (kept, bent(0)),
        (kept, bent(2 * 1088)),
        (kept, bent(2 * 1120)),
        (kept, bent(2 * 1167)),
        (kept, kept[2..].to_owned()),
        (kept, format!("{kept}00")),
        (kept, "00".repeat(WING_OVERHEAD + 32)),
        (kept, "00".repeat(3000)),
        (kept, others_kept),
        (place, elsewhere),
        (place, named),
        ("site place", "pkcs11 place".to_owned()),
        ("site place", "Site place".to_owned()),
        (" kept=", " kept".to_owned()),
        ("key v3", "key v4".to_owned()),
        ("root key", "site key".to_owned()),
    ];
    for (from, to) in table {
        let changed = text.replacen(from, &to, 1);
        assert_ne!(changed, text, "{from}");
        assert!(site(1).seal().open(&changed).is_err(), "{from} -> {to}");
    }
    // Each of the sealed bytes counts.
    for at in (0..lines[2].len()).step_by(2) {
        let digit = if &lines[2][at..=at] == "0" { "1" } else { "0" };
        let changed = format!("{}\n{}\n{}{digit}{}\n", lines[0], lines[1], &lines[2][..at], &lines[2][at + 1..]);
        assert!(site(1).seal().open(&changed).is_err(), "digit {at}");
    }
}

#[test]
fn a_public_key_is_carried_as_text() {
    let key = public(1);
    let text = key.to_text();
    assert!(
        text.starts_with(&format!(
            "holdfast site public key v1\nname=standby-1 fingerprint={}\n",
            site(1).fingerprint()
        ))
    );
    assert_eq!(SitePublic::from_text(&text).unwrap(), key);
    assert_eq!(SitePublic::from_text(&text.replace('\n', "\r\n")).unwrap(), key);
    let (fingerprint, digits) = (key.fingerprint(), hex::encode(key.key()));
    let other = public(2);
    let large = format!("ffff{}", &digits[4..]);
    let table = [
        (fingerprint.as_str(), other.fingerprint(), SiteError::Fingerprint),
        (digits.as_str(), hex::encode(other.key()), SiteError::Fingerprint),
        (digits.as_str(), digits[2..].to_owned(), SiteError::NotAKey),
        (digits.as_str(), format!("{digits}00"), SiteError::NotAKey),
        (digits.as_str(), large, SiteError::NotAKey),
        (digits.as_str(), digits.replacen(|digit: char| digit.is_ascii_digit(), "g", 1), SiteError::NotAKey),
        (digits.as_str(), format!("{digits}\nmore"), SiteError::NotAKey),
        ("name=standby-1", "name=".to_owned(), SiteError::Name),
        ("name=standby-1", "name=a/b".to_owned(), SiteError::Name),
        ("name=standby-1", format!("name={}", "a".repeat(33)), SiteError::Name),
        ("name=standby-1 ", String::new(), SiteError::NotAKey),
        (" fingerprint", " x=1 fingerprint".to_owned(), SiteError::NotAKey),
        ("key v1", "key v2".to_owned(), SiteError::Newer),
        ("holdfast", "Holdfast".to_owned(), SiteError::NotAKey),
    ];
    for (from, to, expected) in table {
        let changed = text.replacen(from, &to, 1);
        assert_ne!(changed, text, "{from}");
        assert_eq!(SitePublic::from_text(&changed), Err(expected), "{from} -> {to}");
    }
    assert_eq!(SitePublic::from_text(""), Err(SiteError::NotAKey));
    assert_eq!(SitePublic::from_text(&wrapped()), Err(SiteError::NotAKey));
}

#[test]
fn names_are_short_words() {
    let long = "a".repeat(32);
    for (name, sound) in
        [("a", true), ("dc-2", true), ("0", true), (&long, true), ("", false), ("-a", false), ("A", false)]
    {
        assert_eq!(is_site_name(name), sound, "{name:?}");
        assert_eq!(site(1).public(name).is_ok(), sound, "{name:?}");
    }
}

/// The file of a site's key is sealed as a root key's, and never opens as one.
#[test]
fn a_site_key_file_is_no_root_key_file() {
    let dir = tempfile::tempdir().unwrap();
    let (rng, root_file) = (SeededRng::new(4), RootFile::new(dir.path().join("root.key")));
    let file = SiteKeyFile::beside(&root_file);
    assert_eq!(file.path(), dir.path().join("site.key"));
    assert!(file.open(&PlainFile).unwrap().is_none() && file.sealing().unwrap().is_none());
    let phrase = || Passphrase::new("correct horse battery staple").unwrap().at_cost(Cost::LEAST);
    for (seal, sealing) in [(&PlainFile as &dyn Seal, Sealing::Clear), (&phrase(), Sealing::Passphrase)] {
        let made = file.make(seal, &rng).unwrap();
        assert_eq!(file.sealing().unwrap(), Some(sealing));
        assert_eq!(file.open(seal).unwrap().unwrap().fingerprint(), made.fingerprint());
        assert!(matches!(file.make(seal, &rng), Err(RootError::Exists { .. })));
        // As a root key file, even with its first line bent: in clear it would be the key of nothing, sealed it does not open.
        std::fs::copy(file.path(), root_file.path()).unwrap();
        let told = root_file.open(seal).unwrap_err().to_string();
        assert!(told.contains("this is not a root key"), "{told}");
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.starts_with("holdfast site key v"));
        let bent = text.replacen("site key", "root key", 1);
        assert!(phrase().open(&bent).is_err());
        std::fs::remove_file(file.path()).unwrap();
    }
    // And the other way round.
    root_file_text_is_no_site_key(&file, &root_file);
}

fn root_file_text_is_no_site_key(file: &SiteKeyFile, root_file: &RootFile) {
    std::fs::remove_file(root_file.path()).unwrap();
    root_file.open_or_make(&PlainFile, &SeededRng::new(1)).unwrap();
    std::fs::copy(root_file.path(), file.path()).unwrap();
    let told = file.open(&PlainFile).unwrap_err().to_string();
    assert!(told.contains("this is not a site key") && told.contains("site.key"), "{told}");
}

/// A wrap takes the place of nothing, or of another when that is said.
#[test]
fn a_wrap_is_put_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = RootFile::new(dir.path().join("root.key"));
    let (text, seal) = (wrapped(), site(1).seal());
    assert!(file.put(&text, &site(2).seal(), false).is_err() && !file.path().exists());
    assert!(file.put(&text, &seal, false).unwrap().is(&root(7)));
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
    assert!(file.open(&seal).unwrap().unwrap().is(&root(7)));
    assert!(matches!(file.put(&text, &seal, false), Err(RootError::Exists { .. })));
    let next = public(1).seal().seal(&root(8), &SeededRng::new(5)).unwrap();
    assert!(file.put(&next, &seal, true).unwrap().is(&root(8)));
    assert!(file.put("nonsense\n\n", &seal, true).is_err());
    assert!(file.open(&seal).unwrap().unwrap().is(&root(8)));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// A text that is cut, doubled or bent anywhere opens to the same key or not at all, and never panics.
    #[test]
    fn mutations_of_a_wrap_give_no_other_key(at: prop::sample::Index, other: prop::sample::Index, byte in 0u8..128, how in 0u8..4) {
        let mut bytes = wrapped().into_bytes();
        let (at, other) = (at.index(bytes.len()), other.index(bytes.len()));
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => drop(bytes.drain(at.min(other)..at.max(other))),
            _ => bytes.swap(at, other),
        }
        let text = String::from_utf8(bytes).unwrap();
        if let Ok(key) = site(1).seal().open(&text) {
            prop_assert!(key.is(&root(7)));
        }
    }

    #[test]
    fn mutations_of_a_public_key_give_no_other(at: prop::sample::Index, byte in 0u8..128, insert: bool) {
        let mut bytes = public(1).to_text().into_bytes();
        let at = at.index(bytes.len());
        if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        if let Ok(found) = SitePublic::from_text(&String::from_utf8(bytes).unwrap()) {
            prop_assert!(found.key() == public(1).key());
        }
    }
}
