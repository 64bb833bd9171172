//! Tests of the root key's file and of what seals it.

use std::os::unix::fs::PermissionsExt;

use base::{BucketId, Rng, SeededRng};
use proptest::prelude::*;

use super::*;
use crate::{KeyError, Keyring};

/// A folder with a root key file that is not there yet.
fn folder() -> (tempfile::TempDir, RootFile) {
    let dir = tempfile::tempdir().unwrap();
    let file = RootFile::new(dir.path().join("root.key"));
    (dir, file)
}

fn write(file: &RootFile, text: &str, mode: u32) {
    std::fs::write(file.path(), text).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
}

fn phrase(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap().at_cost(Cost::LEAST)
}

fn right() -> Passphrase {
    phrase("correct horse battery staple")
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// Gives bytes that count up from its first.
struct Counting(std::sync::atomic::AtomicU8);

impl Rng for Counting {
    fn fill(&self, out: &mut [u8]) {
        out.iter_mut().for_each(|byte| *byte = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    }
}

/// What every seal keeps to.
fn conforms(seal: &dyn Seal, other: &dyn Seal, named: SealError) {
    let rng = SeededRng::new(1);
    let (key, another) = (RootKey::generate(&rng), RootKey::generate(&rng));
    let text = seal.seal(&key, &rng).unwrap();
    assert!(seal.open(&text).unwrap().is(&key) && !seal.open(&text).unwrap().is(&another));
    assert!(seal.open(&seal.seal(&another, &rng).unwrap()).unwrap().is(&another));
    assert!(text.starts_with("holdfast root key v") && text.ends_with('\n') && text.is_ascii());
    assert!(text.len() < FILE_MAX / 2, "a later version has room, and a file is read whole");

    // Another seal does not open it, and says what to do instead.
    assert_eq!(other.open(&text).unwrap_err(), named);
    let end = text.trim_end().len();
    for cut in 0..end {
        assert!(seal.open(&text[..cut]).is_err(), "cut after {cut}");
    }
    assert_eq!(seal.open(&format!("{}0", &text[..end])).unwrap_err(), SealError::NotAKey, "one digit more");
    let first = text.lines().next().unwrap();
    assert_eq!(seal.open(&text.replace(first, "holdfast root key v4")).unwrap_err(), SealError::Newer);
    assert_eq!(seal.open(&text.replace(first, "something else")).unwrap_err(), SealError::NotAKey);
}

/// Keeps secrets by adding a number to them: what a token does, but for the secrecy.
struct Adding(u8, &'static str);

impl Keeper for Adding {
    fn kind(&self) -> &'static str {
        self.1
    }

    fn place(&self) -> String {
        format!("Nr. {}, Zürich", self.0)
    }

    fn keep(&self, secret: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        Ok(secret.iter().map(|byte| byte.wrapping_add(self.0)).collect())
    }

    fn give(&self, kept: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        Ok(Zeroizing::new(kept.iter().map(|byte| byte.wrapping_sub(self.0)).collect()))
    }
}

fn kept(number: u8) -> Kept {
    Kept::by(Box::new(Adding(number, "test")))
}

#[test]
fn all_seals_conform() {
    let kept_by = || SealError::KeptBy { kind: "test".to_owned() };
    conforms(&PlainFile, &right(), SealError::NotSealed);
    conforms(&PlainFile, &kept(1), SealError::NotSealed);
    conforms(&right(), &PlainFile, SealError::Sealed);
    conforms(&right(), &kept(1), SealError::Sealed);
    conforms(&kept(1), &PlainFile, kept_by());
    conforms(&kept(1), &right(), kept_by());
    conforms(&kept(1), &Kept::by(Box::new(Adding(1, "other"))), kept_by());
    let [there, here] = [1, 2].map(|number| Adding(number, "test").place());
    conforms(&kept(1), &kept(2), SealError::Elsewhere { there, here });
}

/// Whatever is changed in a file of version 3, it does not open.
#[test]
fn a_changed_kept_file_does_not_open() {
    let rng = SeededRng::new(1);
    let text = kept(1).seal(&RootKey::generate(&rng), &rng).unwrap().to_string();
    for at in (0..text.trim_end().len()).filter(|at| text.as_bytes()[*at].is_ascii_hexdigit()) {
        let digit = if &text[at..=at] == "0" { "1" } else { "0" };
        let bent = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
        assert!(kept(1).open(&bent).is_err(), "digit {at}");
    }
    let line = text.lines().nth(1).unwrap();
    for other in
        [format!("{line} x=1"), line.replace(" kept=", " kept=00"), line.to_uppercase(), line.replace("test", "")]
    {
        assert!(kept(1).open(&text.replace(line, &other)).is_err(), "{other}");
    }
    assert_eq!(kept(1).name(), "test: Nr. 1, Zürich");
}

/// A secret of another length, or a keeper that fails, is told and nothing is written.
#[test]
fn a_keeper_that_fails_seals_nothing() {
    struct Failing;
    impl Keeper for Failing {
        fn kind(&self) -> &'static str {
            "test"
        }
        fn place(&self) -> String {
            "x".repeat(300)
        }
        fn keep(&self, _: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
            Ok(vec![0; 8])
        }
        fn give(&self, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
            Err(KeeperError::Failed("it is unplugged".to_owned()))
        }
    }
    let (dir, file) = folder();
    let made = file.open_or_make(&Kept::by(Box::new(Failing)), &SeededRng::new(1));
    assert!(matches!(made, Err(RootError::Seal { source: SealError::Keeper(_), .. })));
    assert!(names(&dir).is_empty());
}

/// The vectors of `docs/spec/root.md`.
#[test]
fn files_are_the_specified_ones() {
    let key = RootKey(Locked::copy_of(&std::array::from_fn(|i| i as u8)));
    let plain = "holdfast root key v1\n000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    assert_eq!(*PlainFile.seal(&key, &SeededRng::new(1)).unwrap(), plain);
    assert!(PlainFile.open(plain).unwrap().is(&key));

    let seal = Passphrase::new("correct horse battery staple").unwrap();
    let sealed = concat!(
        "holdfast root key v2\n",
        "argon2id m=65536 t=3 p=1 salt=202122232425262728292a2b2c2d2e2f\n",
        "303132333435363738393a3b3c3d3e3f4041424344454647d4c7a9b5576d702e79cfcbf4f1e37b4dfef5fbfb52ee7a987c954a5b",
        "4ee55d1128fb89c98d1a81e9aa60671d76e18909381c6337edca23c480e6f6e6694ea2bb2b97ae19346247d650478dbbdeae4ad4\n",
    );
    assert_eq!(*seal.seal(&key, &Counting(0x20.into())).unwrap(), sealed);
    assert!(seal.open(sealed).unwrap().is(&key));

    let text = concat!(
        "holdfast root key v3\n",
        "test place=4e722e20312c205ac3bc72696368 ",
        "kept=2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40\n",
        "404142434445464748494a4b4c4d4e4f5051525354555657fa3d5329495f50d43eca58df34ea348cdbdfa8a5b33651d7b25cb0ac",
        "f5b918d9584ca3ec3e68ca59452b2565bcdb824e698767b30964ab41729380092cc3d87ea5a3e87eb2a2828c0be8b6b2e759fb52\n",
    );
    assert_eq!(*kept(1).seal(&key, &Counting(0x20.into())).unwrap(), text);
    assert!(kept(1).open(text).unwrap().is(&key));
}

#[test]
fn a_root_key_file_opens_again_and_only_for_its_owner() {
    let (_dir, file) = folder();
    let rng = SeededRng::new(1);
    let bucket = BucketId::random(&rng);
    let wrapped = Keyring::open(file.path(), &rng).unwrap().new_bucket_key(bucket, &rng).unwrap();
    assert_eq!(std::fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
    Keyring::open(file.path(), &rng).unwrap().bucket_key(bucket, &wrapped).unwrap();

    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let opened = Keyring::open(file.path(), &rng);
    assert!(matches!(opened, Err(KeyError::Root(RootError::Exposed { mode: 0o640, .. }))));
}

#[test]
fn a_damaged_root_key_file_is_never_replaced() {
    let (dir, file) = folder();
    let signed = format!("holdfast root key v1\n{}\n", "+f".repeat(32));
    let long = "holdfast root key v1\n".to_owned() + &"0".repeat(1 << 20);
    let texts =
        [signed.as_str(), "", "holdfast root key v1\n", "holdfast root key v1\nzz\n", "something else\n\n", &long];
    for bad in texts {
        write(&file, bad, 0o600);
        for seal in [&PlainFile as &dyn Seal, &right()] {
            let Err(KeyError::Root(error)) = Keyring::open_sealed(file.path(), seal, &SeededRng::new(1)) else {
                panic!("opened: {bad:?}")
            };
            assert!(matches!(error, RootError::Seal { .. }), "{bad:?}: {error}");
            assert!(file.restore(&RootKey::generate(&SeededRng::new(1)), seal, &SeededRng::new(1)).is_err());
            assert!(file.reseal(seal, &right(), &SeededRng::new(1), false).is_err());
        }
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), bad);
    }
    std::fs::write(file.path(), [0xff, 0xfe]).unwrap();
    let error = file.open(&PlainFile).unwrap_err();
    assert!(matches!(error, RootError::Seal { source: SealError::NotAKey, .. }), "{error}");
    assert_eq!(names(&dir), ["root.key"]);
}

/// What is changed in a sealed file, and what is told.
#[test]
fn a_changed_sealed_file_does_not_open() {
    let rng = SeededRng::new(1);
    let key = RootKey::generate(&rng);
    let text = right().seal(&key, &rng).unwrap().to_string();
    let lines: Vec<&str> = text.lines().collect();
    let (salt, sealed) = (lines[1].rsplit_once('=').unwrap().1, lines[2]);
    let asks = |memory, passes, lanes| SealError::Cost { memory, passes, lanes };
    let table = [
        ("m=1024", "m=1025".to_owned(), SealError::Refused),
        ("t=1", "t=2".to_owned(), SealError::Refused),
        ("p=1", "p=2".to_owned(), SealError::Refused),
        ("m=1024", "m=1023".to_owned(), asks(1023, 1, 1)),
        ("m=1024", "m=262145".to_owned(), asks(262_145, 1, 1)),
        ("m=1024", "m=4294967295".to_owned(), asks(u32::MAX, 1, 1)),
        ("m=1024", "m=4294967296".to_owned(), SealError::NotAKey),
        ("t=1", "t=17".to_owned(), asks(1024, 17, 1)),
        ("p=1", "p=5".to_owned(), asks(1024, 1, 5)),
        ("t=1", "t=0".to_owned(), SealError::NotAKey),
        ("t=1", "t=+1".to_owned(), SealError::NotAKey),
        ("t=1", "t=01".to_owned(), SealError::NotAKey),
        ("t=1 p=1", "p=1 t=1".to_owned(), SealError::NotAKey),
        ("argon2id", "argon2i".to_owned(), SealError::NotAKey),
        (" salt=", " salt=00".to_owned(), SealError::NotAKey),
        (salt, format!("{salt} x=1"), SealError::NotAKey),
        (salt, "00".repeat(16), SealError::Refused),
        (sealed, "00".repeat(104), SealError::Refused),
        (sealed, sealed[2..].to_owned(), SealError::NotAKey),
        (sealed, format!("{sealed}00"), SealError::NotAKey),
        (sealed, format!("{sealed}\n{sealed}"), SealError::NotAKey),
        (sealed, sealed.replacen(|digit: char| digit.is_ascii_digit(), "g", 1), SealError::NotAKey),
    ];
    for (from, to, expected) in table {
        let bent = text.replacen(from, &to, 1);
        assert_ne!(bent, text, "{from}");
        assert_eq!(right().open(&bent).unwrap_err(), expected, "{from} -> {to}");
    }
    // Each of the sealed bytes counts.
    for at in (0..sealed.len()).step_by(2) {
        let digit = if &sealed[at..=at] == "0" { "1" } else { "0" };
        let bent = text.replace(sealed, &format!("{}{digit}{}", &sealed[..at], &sealed[at + 1..]));
        assert_eq!(right().open(&bent).unwrap_err(), SealError::Refused, "digit {at}");
    }
}

#[test]
fn another_passphrase_does_not_open_it() {
    let rng = SeededRng::new(1);
    let text = right().seal(&RootKey::generate(&rng), &rng).unwrap();
    for wrong in ["correct horse battery stapl", "correct horse battery staple ", "Correct horse battery staple", "x"] {
        assert_eq!(phrase(wrong).open(&text).unwrap_err(), SealError::Refused, "{wrong:?}");
    }
    // Ends of lines are how files end; nothing else is taken away.
    assert!(phrase("correct horse battery staple\r\n").open(&text).is_ok());
}

#[test]
fn passphrases_have_bounds() {
    let rng = SeededRng::new(1);
    let key = RootKey::generate(&rng);
    for (text, len) in [(String::new(), 0), ("\n".to_owned(), 0), ("x".repeat(PASSPHRASE_MAX + 1), PASSPHRASE_MAX + 1)]
    {
        assert_eq!(Passphrase::new(&text).unwrap_err(), SealError::Length { len });
    }
    let short = phrase("11 letters.").seal(&key, &rng);
    assert_eq!(short.unwrap_err(), SealError::Length { len: PASSPHRASE_MIN - 1 });
    assert!(phrase("12 letters..").seal(&key, &rng).is_ok());
    assert_eq!(format!("{:?} {key:?}", right()), "Passphrase(..) RootKey(..)");
}

#[test]
fn a_file_changes_its_seal_and_keeps_its_key() {
    let (dir, file) = folder();
    let rng = SeededRng::new(1);
    let key = file.open_or_make(&PlainFile, &rng).unwrap();
    let plain = std::fs::read_to_string(file.path()).unwrap();
    file.reseal(&PlainFile, &right(), &rng, true).unwrap();
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), plain, "a dry run writes nothing");
    // What a crash left, open to others.
    std::fs::write(dir.path().join("root.new"), "half").unwrap();
    file.reseal(&PlainFile, &right(), &rng, false).unwrap();
    let sealed = std::fs::read_to_string(file.path()).unwrap();
    assert!(!sealed.contains(plain.lines().nth(1).unwrap()));
    assert_eq!(std::fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
    assert!(file.open(&right()).unwrap().unwrap().is(&key));

    let told = |error: RootError| match error {
        RootError::Seal { source, .. } => source,
        other => panic!("{other}"),
    };
    assert_eq!(told(file.open(&PlainFile).unwrap_err()), SealError::Sealed);
    assert_eq!(told(file.reseal(&PlainFile, &right(), &rng, false).unwrap_err()), SealError::Sealed);
    let wrong = phrase("another passphrase");
    assert_eq!(told(file.reseal(&wrong, &PlainFile, &rng, false).unwrap_err()), SealError::Refused);
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), sealed);
    file.reseal(&right(), &PlainFile, &rng, false).unwrap();
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), plain);
    assert_eq!(names(&dir), ["root.key"]);

    std::fs::remove_file(file.path()).unwrap();
    let missing = file.reseal(&PlainFile, &right(), &rng, false);
    assert!(matches!(missing, Err(RootError::File { source, .. }) if source.kind() == Io::NotFound));
}

/// A first start with a passphrase never writes the key in clear.
#[test]
fn a_file_is_made_sealed() {
    let (_dir, file) = folder();
    let rng = SeededRng::new(1);
    Keyring::open_sealed(file.path(), &right(), &rng).unwrap();
    assert!(std::fs::read_to_string(file.path()).unwrap().starts_with("holdfast root key v2\n"));
    assert!(Keyring::open(file.path(), &rng).is_err());
    Keyring::open_sealed(file.path(), &right(), &rng).unwrap();
}

#[test]
fn a_key_comes_back_from_shares_and_never_over_another() {
    let (dir, file) = folder();
    let rng = SeededRng::new(1);
    let key = file.open_or_make(&PlainFile, &rng).unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let shares = key.split(3, 5, &rng).unwrap();
    assert!(matches!(RootKey::combine(&shares[..2]), Err(ShareError::TooFew { have: 2, need: 3 })));
    std::fs::remove_file(file.path()).unwrap();
    let back = RootKey::combine(&shares[2..]).unwrap();
    file.restore(&back, &PlainFile, &rng).unwrap();
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
    assert_eq!(std::fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);

    for key in [&back, &RootKey::generate(&rng)] {
        assert!(matches!(file.restore(key, &PlainFile, &rng), Err(RootError::Exists { .. })));
    }
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
    assert_eq!(names(&dir), ["root.key"]);
}

proptest! {
    #[test]
    fn no_text_makes_a_seal_panic(
        first in "(holdfast root key v[1-4])?", second in "((argon2id m=1024 t=1 p=1 salt=)|(test place=4e kept=))?[0-9a-fé =\n]{0,90}",
    ) {
        let text = format!("{first}\n{second}");
        // A text in clear is a key by chance at most once in all eternity.
        prop_assert!(PlainFile.open(&text).is_err());
        prop_assert!(right().open(&text).is_err());
        prop_assert!(kept(1).open(&text).is_err());
    }
}
