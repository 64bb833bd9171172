//! Keys and values: what survives, what is refused.

use base::{AccountId, BucketId, PortionId, SeededRng, UploadId};

use super::*;

#[test]
fn upload_keys_survive_any_name() {
    let rng = SeededRng::new(7);
    let (bucket, upload) = (BucketId::random(&rng), UploadId::random(&rng));
    for name in ["a", "", "a\0b", "\0\0", "a\0", "é/ü", "a\u{ff}"] {
        let key = key::upload_key(bucket, name, upload);
        assert_eq!(key::upload_of(&key), Ok((name.to_owned(), upload)), "{name:?}");
    }
}

/// `a` must not list the uploads of `a\0…` or of `ab`.
#[test]
fn uploads_of_one_name_only() {
    let rng = SeededRng::new(8);
    let (bucket, upload) = (BucketId::random(&rng), UploadId::random(&rng));
    let (from, to) = key::uploads_of_key(bucket, "a");
    for (name, inside) in [("a", true), ("ab", false), ("a\0", false), ("a\0\0", false), ("", false)] {
        let key = key::upload_key(bucket, name, upload);
        assert_eq!(key >= from && key < to, inside, "{name:?}");
    }
}

#[test]
fn a_newer_record_is_named_as_such() {
    let mut bytes = DropRecord { dropped_ms: 1 }.encode().to_vec();
    bytes[0] = 2;
    assert_eq!(DropRecord::decode(&bytes), Err(RecordError::Newer { record: "drop", found: 2, known: 1 }));
}

#[test]
fn trailing_and_missing_bytes_are_corrupt() {
    let whole = DropRecord { dropped_ms: 77_777 }.encode().to_vec();
    let corrupt = Err(RecordError::Corrupt { record: "drop" });
    assert_eq!(DropRecord::decode(&whole[..whole.len() - 1]), corrupt);
    assert_eq!(DropRecord::decode(&[whole.clone(), vec![0]].concat()), corrupt);
    assert_eq!(DropRecord::decode(&[]), corrupt);
}

/// A unit of 0 would be divided by, a part outside its blob would be read for ever.
#[test]
fn numbers_that_make_no_sense_are_corrupt() {
    let rng = SeededRng::new(9);
    let blob = base::BlobId::random(&rng);
    let good = DataRecord {
        refs: 1,
        blob,
        offset: 10,
        len: 90,
        blob_len: 100,
        segment: 100,
        unit: 64,
        align: 64,
        under: vec![],
        leaked: false,
    };
    assert_eq!(DataRecord::decode(&good.encode()), Ok(good.clone()));
    let bad = [
        DataRecord { unit: 0, ..good.clone() },
        DataRecord { align: 0, ..good.clone() },
        DataRecord { unit: 65, ..good.clone() },
        DataRecord { segment: 0, ..good.clone() },
        DataRecord { len: 91, ..good.clone() },
        DataRecord { offset: u64::MAX, ..good.clone() },
        DataRecord { blob_len: u64::MAX, ..good.clone() },
    ];
    for record in bad {
        assert_eq!(DataRecord::decode(&record.encode()), Err(RecordError::Corrupt { record: "data" }), "{record:?}");
    }
}

/// What version 1 wrote, byte for byte: before SSE-KMS and SSE-C.
#[test]
fn version_1_is_read() {
    let object = "01\
        0102030405060708090a0b0c0d0e0f10e80701e90703026162010c636f6e74656e742d7479706503782f79000000000000";
    let object = ObjectRecord::decode(&unhex(object)).unwrap();
    assert_eq!((object.order, object.size, object.etag.as_str()), (1000, 3, "ab"));
    assert_eq!((object.headers["content-type"].as_str(), object.body), ("x/y", Body::Empty));
    assert_eq!(object.encryption, Encryption::Bucket);
    let upload = UploadRecord::decode(&unhex("01e80704726f6f74000000000000 01")).unwrap();
    assert_eq!((upload.owner.as_str(), upload.staging, upload.encryption), ("root", true, Encryption::Bucket));
    let state = BucketState::decode(&unhex("01010100")).unwrap();
    let expected = BucketState { versioning: Versioning::Enabled, object_lock: true, ..BucketState::default() };
    assert_eq!(state, expected);
    assert!(BucketState::decode(&unhex("0101010000")).is_err());
    assert!(BucketState::decode(&unhex("02010100")).is_err());
}

/// What the versions before scans wrote, byte for byte.
#[test]
fn what_was_written_before_scans_is_read() {
    let state = BucketState::decode(&unhex("04010100000001")).unwrap();
    let expected =
        BucketState { versioning: Versioning::Enabled, object_lock: true, island: true, ..BucketState::default() };
    assert_eq!(state, expected);
    let body = "0102030405060708090a0b0c0d0e0f10e80701e90703026162010c636f6e74656e742d7479706503782f790000000000000000";
    for version in ["02", "03"] {
        let object = ObjectRecord::decode(&unhex(&format!("{version}{body}"))).unwrap();
        assert_eq!((object.size, object.acl, object.scan), (3, None, None), "{version}");
    }
    assert!(ObjectRecord::decode(&unhex(&format!("04{body}"))).is_err());
    assert!(ObjectRecord::decode(&unhex(&format!("04{body}00"))).is_ok());
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn events_lie_by_target_and_sequence() {
    let (from, to) = key::events_of("a");
    for (target, sequence, inside) in
        [("a", 0, true), ("a", u64::MAX, true), ("a-b", 1, false), ("ab", 1, false), ("b", 1, false)]
    {
        let row_key = key::event_key(target, sequence);
        assert_eq!(key::event_of(&row_key), Some((target, sequence)));
        assert_eq!(row_key >= from && row_key < to, inside, "{target}");
    }
    assert!(key::event_key("a", 255) < key::event_key("a", 256));
    for bad in [&b"e/"[..], b"e/a1234567", b"q/a\x001234567", b"e/\xff\x0012345678"] {
        assert_eq!(key::event_of(bad), None, "{bad:?}");
    }
}

/// Rows that version 1 wrote: the user `eve` with the grants `b` read and `*` admin, and its name.
#[test]
fn users_of_version_1_stay_readable() {
    let row = hex("01 03657665 03010203 b960 02 0162 00 012a 02");
    let key = AccessKeyRecord::decode(&row).unwrap();
    assert_eq!((key.account, key.user.as_str(), &key.sealed_secret[..]), (AccountId::DEFAULT, "eve", &[1, 2, 3][..]));
    let grant = |bucket: &str, right| Grant { bucket: bucket.to_owned(), right };
    let user = UserRecord {
        id: "eve".to_owned(),
        created_ms: 12_345,
        keys: vec![KeyEntry { access_key: "EVEKEY".to_owned(), created_ms: 12_345, enabled: true }],
        grants: vec![grant("b", Right::Read), grant("*", Right::Admin)],
        policies: vec![],
        groups: vec![],
    };
    assert_eq!(UserRecord::of_version_1("EVEKEY", &row), Ok(user.clone()));
    assert_eq!(NamedUser::decode(b"EVEKEY"), Ok(NamedUser::Version1("EVEKEY".to_owned())));
    assert_eq!(NamedUser::decode(&user.encode()), Ok(NamedUser::User(user.clone())));
    let corrupt = Err(RecordError::Corrupt { record: "user" });
    assert_eq!(UserRecord::decode(&row), corrupt, "a row of the other shape");
    assert_eq!(UserRecord::of_version_1("EVEKEY", &user.encode()), corrupt);
    assert_eq!(UserRecord::of_version_1("EVEKEY", &row[..row.len() - 1]), corrupt);
}

/// A secret that is sealed anew leaves the rest of a row as it was, in the version that it had.
#[test]
fn secrets_are_sealed_anew_in_place() {
    let row = hex("01 03657665 03010203 b960 02 0162 00 012a 02");
    let resealed = AccessKeyRecord::resealed(&row, vec![4, 5]).unwrap();
    assert_eq!(resealed, hex("01 03657665 020405 b960 02 0162 00 012a 02"));
    let key = AccessKeyRecord { account: AccountId::DEFAULT, user: "u".to_owned(), sealed_secret: vec![9] };
    let resealed = AccessKeyRecord::resealed(&key.encode(), vec![4, 5]).unwrap();
    assert_eq!(resealed, AccessKeyRecord { sealed_secret: vec![4, 5], ..key }.encode());
    for garbage in [&row[..row.len() - 1], &[], &[1], &[9, 9]] {
        assert!(AccessKeyRecord::resealed(garbage, vec![4]).is_err(), "{garbage:?}");
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter_map(|byte| char::from(byte).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn rows_of_users_groups_and_tenants_are_as_specified() {
    let account = AccountId::from_bytes(0x1234u64.to_be_bytes()).unwrap();
    let policy = InlinePolicy { name: "p".to_owned(), document: "{}".to_owned() };
    let grant = Grant { bucket: "b".to_owned(), right: Right::Write };
    let user = UserRecord {
        id: "I".to_owned(),
        created_ms: 1,
        keys: vec![KeyEntry { access_key: "K".to_owned(), created_ms: 2, enabled: false }],
        grants: vec![grant.clone()],
        policies: vec![policy.clone()],
        groups: vec![Membership { name: "g".to_owned(), id: "J".to_owned() }],
    };
    let group = GroupRecord { id: "J".to_owned(), created_ms: 3, grants: vec![grant], policies: vec![policy] };
    let key = AccessKeyRecord { account, user: "u".to_owned(), sealed_secret: vec![9] };
    let tenant = TenantRecord { name: "t".to_owned(), created_ms: 4 };
    let table: [(&[u8], &str); 4] = [
        (&user.encode(), "02 0149 01 01 014b 02 00 01 0162 01 01 0170 027b7d 01 0167 014a"),
        (&group.encode(), "01 014a 03 01 0162 01 01 0170 027b7d"),
        (&key.encode(), "02 b424 0175 0109"),
        (&tenant.encode(), "01 0174 04"),
    ];
    for (bytes, expected) in table {
        assert_eq!(bytes, hex(expected), "{expected}");
    }
    assert_eq!(UserRecord::decode(&user.encode()), Ok(user));
    assert_eq!(GroupRecord::decode(&group.encode()), Ok(group));
    assert!(AccessKeyRecord::decode(&key.encode()) == Ok(key));
    assert_eq!(TenantRecord::decode(&tenant.encode()), Ok(tenant));
}

/// A name of one account must never be read as another's.
#[test]
fn accounts_share_no_rows() {
    let rng = SeededRng::new(10);
    let accounts = [AccountId::DEFAULT, AccountId::random(&rng), AccountId::random(&rng)];
    for a in accounts {
        for b in accounts.into_iter().filter(|b| *b != a) {
            let inside = |(from, to): (bytes::Bytes, bytes::Bytes), key: bytes::Bytes| key >= from && key < to;
            for name in ["x", "", "\0\0\0\0\0\0\0\u{1}x"] {
                assert!(!inside(key::buckets(a), key::bucket_key(b, name)));
                assert!(!inside(key::users(a), key::user_name_key(b, name)));
                assert!(!inside(key::groups(a), key::group_key(b, name)));
            }
        }
        assert_eq!(key::bucket_name_of(a, &key::bucket_key(a, "x")), Some("x"));
        assert_eq!(key::user_name_of(a, &key::user_name_key(a, "x")), Some("x"));
        assert_eq!(key::tenant_of(&key::tenant_key(a)), Some(a));
    }
}

/// Version 1 did not tell what began a version of a key; version 2 not under which tenant key its shares are.
#[test]
fn older_portion_keys_stay_readable() {
    let old = PortionKeyRecord::decode(&hex("01 e807 02 0909 10 20 01")).unwrap();
    let expected = PortionKeyRecord {
        created_ms: 1000,
        wrapped: vec![9, 9],
        parts: 16,
        bytes: 32,
        given_out: true,
        begun: Begun::Unknown,
        shares: None,
        under: None,
    };
    assert_eq!(old, expected);
    let second = PortionKeyRecord::decode(&hex("02 e807 02 0909 10 20 01 03 00"));
    let new = PortionKeyRecord { begun: Begun::OnDemand, ..expected.clone() };
    assert_eq!(second.as_ref(), Ok(&new));
    assert_eq!(&new.encode()[..], hex("03 e807 02 0909 10 20 01 03 00 00"));
    assert_eq!(PortionKeyRecord::decode(&new.encode()), Ok(new));
    let shares = Some(SharesRecord { set: [6; 16], verifier: [7; 32] });
    let in_shares = PortionKeyRecord { wrapped: vec![], shares, begun: Begun::First, ..expected };
    let (set, verifier) = ("06".repeat(16), "07".repeat(32));
    let second = PortionKeyRecord::decode(&hex(&format!("02 e807 00 10 20 01 01 01 {set} {verifier}")));
    assert_eq!(second.as_ref(), Ok(&in_shares), "under which key is not known");
    let new = PortionKeyRecord { under: Some([8; 16]), ..in_shares };
    let bytes = format!("03 e807 00 10 20 01 01 01 {set} {verifier} 01 {}", "08".repeat(16));
    assert_eq!(&new.encode()[..], hex(&bytes));
    assert_eq!(PortionKeyRecord::decode(&new.encode()), Ok(new));
    let unshared = format!("03 e807 02 0909 10 20 01 03 00 01 {}", "08".repeat(16));
    for wrong in [
        "01 e807 02 0909 10 20 01 03",
        "02 e807 02 0909 10 20 01 03",
        "03 e807 02 0909 10 20 01 03 00",
        "02 e807 00 10 20 01 03 00",
        &unshared,
    ] {
        assert!(PortionKeyRecord::decode(&hex(wrong)).is_err(), "{wrong}");
    }
}

/// Before version 4 nothing was read without a lease, so that is what older portions go on with.
#[test]
fn older_portions_are_strict_when_cut_off() {
    let record = PortionRecord {
        name: "p".to_owned(),
        created_ms: 1000,
        state: PortionState::Enabled,
        version: 2,
        made_by: Maker::Customer,
        description: String::new(),
        tags: Default::default(),
        rotation_days: 30,
        class: PortionClass::Sealed,
        policy: String::new(),
        cut_off: CutOff::Strict,
    };
    let fields = "01 70 e807 00 02 01 00 00 1e";
    for (version, rest) in [(1, ""), (2, "00"), (3, "00 00"), (4, "00 00 00")] {
        let bytes = hex(&format!("0{version} {fields} {rest}"));
        assert_eq!(PortionRecord::decode(&bytes).as_ref(), Ok(&record), "version {version}");
    }
    let available = PortionRecord { cut_off: CutOff::Available, ..record };
    assert_eq!(&available.encode()[..], hex(&format!("04 {fields} 00 00 02")));
}

/// Version 1 was whole under the root key, and the first of its tenant.
#[test]
fn tenant_keys_of_version_1_stay_readable() {
    let old = TenantKeyRecord::decode(&hex("01 e807 02 0909")).unwrap();
    assert_eq!(old, TenantKeyRecord::first(1000, vec![9, 9]));
    assert_eq!(&old.encode()[..], hex("02 e807 02 0909 00 00"));
    let held = HeldRecord {
        since_ms: 2000,
        kind: "k".to_owned(),
        options: [("o".to_owned(), "v".to_owned())].into(),
        place: "p".to_owned(),
        kept: vec![7],
        lease_ms: 300,
        verifier: [5; 32],
    };
    let older = vec![OlderKey { until_ms: 2000, wrapped: vec![8] }];
    let new = TenantKeyRecord { held: Some(held), older, ..old };
    let bytes = format!("02 e807 02 0909 01 d00f 016b 01 016f 0176 0170 0107 ac02 {} 01 d00f 0108", "05".repeat(32));
    assert_eq!(&new.encode()[..], hex(&bytes));
    assert_eq!(TenantKeyRecord::decode(&new.encode()), Ok(new));
    for wrong in ["01 e807 02 0909 00 00", "02 e807 02 0909 00", "02 e807 02 0909 01 00"] {
        assert!(TenantKeyRecord::decode(&hex(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn rows_of_grants_are_as_specified() {
    let rng = SeededRng::new(11);
    let (portion, other) = (PortionId::random(&rng), PortionId::random(&rng));
    let id = |grantee: u8, own: u8| KeyGrantId([[grantee; 16], [own; 16]].concat().try_into().unwrap());
    assert_eq!(id(0x0a, 0xb0).to_string(), "0a".repeat(16) + &"b0".repeat(16));
    let row_key = key::key_grant_key(portion, id(1, 2));
    assert_eq!(key::key_grant_of(&row_key), Some(id(1, 2)));
    assert_eq!(key::key_grant_of(&key::key_grant_count_key(portion)), None);
    let inside = |(from, to): (bytes::Bytes, bytes::Bytes), key: &bytes::Bytes| *key >= from && *key < to;
    for (range, expected) in [
        (key::key_grants(portion), true),
        (key::key_grants_of(portion, &[1; 16]), true),
        (key::key_grants_of(portion, &[2; 16]), false),
        (key::key_grants(other), false),
    ] {
        assert_eq!(inside(range, &row_key), expected);
    }
    let retirable = key::retirable_key(AccountId::DEFAULT, &[7; 16], portion, id(1, 2));
    assert_eq!(key::retirable_of(&retirable), Some((portion, id(1, 2))));
    assert!(inside(key::retirables(AccountId::DEFAULT, &[7; 16]), &retirable));
    assert!(!inside(key::retirables(AccountId::DEFAULT, &[8; 16]), &retirable));

    let principal = |arn: &str, id: &str| GrantPrincipal { arn: arn.to_owned(), id: id.to_owned() };
    let record = KeyGrantRecord {
        name: Some("n".to_owned()),
        created_ms: 1,
        grantee: principal("a", "I"),
        retiring: Some(principal("r", "J")),
        operations: vec![KeyOperation::Decrypt, KeyOperation::DescribeKey],
        equals: None,
        subset: Some([("k".to_owned(), "v".to_owned())].into()),
    };
    let bytes = record.encode();
    assert_eq!(&bytes[..], hex("01 01 016e 01 0161 0149 01 0172 014a 02 00 08 00 01 01 016b 0176"));
    assert_eq!(KeyGrantRecord::decode(&bytes), Ok(record));
    assert_eq!(&KeyGrantCount { count: 3 }.encode()[..], hex("01 03"));
    assert!(KeyOperation::ALL.iter().all(|operation| KeyOperation::named(operation.name()) == Some(*operation)));
}

/// Version 1 of a site did not tell where its refill began; versions 1 and 2 of a gateway not what clients waited for.
#[test]
fn older_sites_and_gateways_stay_readable() {
    let site = |resync| SiteRecord { cluster: "c".to_owned(), name: "dc".to_owned(), since_ms: 5, resync };
    let walk = Resync { started_ms: 6, cursor: vec![0x6b, 0x2f], done: 7, begin: vec![] };
    let filled = site(Some(walk.clone()));
    for (old, expected) in [("01 0163 026463 05 00", site(None)), ("01 0163 026463 05 01 06 026b2f 07", filled.clone())]
    {
        let read = SiteRecord::decode(&hex(old)).unwrap();
        assert_eq!(read, expected);
        assert_eq!(SiteRecord::decode(&read.encode()), Ok(read));
    }
    assert_eq!(&filled.encode()[..], hex("02 0163 026463 05 01 06 026b2f 07 00"));
    for wrong in ["01 0163 026463 05 01 06 026b2f 07 00", "02 0163 026463 05 01 06 026b2f 07", "01 0163 026463 05"] {
        assert!(SiteRecord::decode(&hex(wrong)).is_err(), "{wrong}");
    }

    let old = GatewayRecord::decode(&hex("01 0167 01 02 03 0176 00 00 01")).unwrap();
    assert_eq!((old.name.as_str(), old.beat, old.holds_more, old.foreground.len()), ("g", 3, true, 0));
    let foreground = vec![Latency { kind: 3, count: 300, p99_us: 1 }];
    let new = GatewayRecord { foreground, ..old };
    assert_eq!(&new.encode()[..], hex("03 0167 01 02 03 0176 00 00 01 00 01 03 ac02 01"));
    assert_eq!(GatewayRecord::decode(&new.encode()), Ok(new));
    let second = GatewayRecord::decode(&hex("02 0167 01 02 03 0176 00 00 01 09")).unwrap();
    assert_eq!((second.passed_ms, second.foreground.len()), (9, 0));
}

#[test]
fn what_a_walk_has_done() {
    let walk =
        |begin: &[u8], cursor: &[u8]| Resync { started_ms: 1, cursor: cursor.to_vec(), done: 0, begin: begin.to_vec() };
    // (where it began, where it is) -> of the keys 1 to 6 those that it has done
    for (begin, cursor, expected) in [
        (&b""[..], &b""[..], &b""[..]),
        (b"", b"3", b"123"),
        (b"", b"6", b"123456"),
        (b"3", b"3", b""),
        (b"3", b"5", b"45"),
        (b"3", b"", b"456"),
        (b"3", b"2", b"12456"),
    ] {
        let walk = walk(begin, cursor);
        let done: Vec<u8> = b"123456".iter().copied().filter(|key| walk.has_done(&[*key])).collect();
        assert_eq!(done, expected, "{walk:?}");
    }
    assert_eq!(Resync::after(b"3".to_vec(), 1), walk(b"3", b"3"));
}
