//! Rows of requests and answers on a fresh server.

use serde_json::{Value, json};

use crate::world::{World, text};

/// What a row expects.
pub enum Expected {
    /// An answer that has at least these members.
    Ok(Value),
    /// An error, with these words in its message.
    No(&'static str, &'static str),
}

use Expected::{No, Ok};

pub fn has(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(name, value)| found.get(name).is_some_and(|found| has(found, value)))
        }
        (found, expected) => found == expected,
    }
}

pub async fn play(world: &World, rows: Vec<(&str, Value, Expected)>) {
    for (operation, ask, expected) in rows {
        let answer = world.ask(operation, &ask).await;
        let (status, json) = (answer.status, &answer.json);
        let fits = match &expected {
            Ok(members) => status == 200 && has(json, members),
            No(code, words) => {
                let message = json["message"].as_str().unwrap_or_default();
                status == 400 && json["__type"] == *code && message.contains(words)
            }
        };
        let wanted = match expected {
            Ok(members) => members.to_string(),
            No(code, words) => format!("{code}: {words}"),
        };
        assert!(fits, "{operation} {ask}\nanswered {status} {json}\nexpected {wanted}");
    }
}

const MISSING: &str = "01234567-89ab-cdef-0123-456789abcdef";

#[tokio::test]
async fn keys_are_made_and_described() {
    let world = World::start().await;
    let id = world.key().await;
    let arn = format!("arn:aws:kms:eu-test-1:000000000000:key/{id}");
    let whole = json!({ "KeyMetadata": {
        "AWSAccountId": "000000000000", "KeyId": id, "Arn": arn, "Enabled": true, "Description": "",
        "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": "Enabled", "Origin": "AWS_KMS", "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"], "MultiRegion": false,
    }});
    let elsewhere = format!("arn:aws:kms:us-east-1:000000000000:key/{id}");
    let foreign = format!("arn:aws:kms:eu-test-1:000000000001:key/{id}");
    let long = "x".repeat(8_193);
    let tag = |key: &str| json!({ "TagKey": key, "TagValue": "v" });
    let many: Vec<Value> = (0..51).map(|i| tag(&i.to_string())).collect();
    play(
        &world,
        vec![
            ("DescribeKey", json!({ "KeyId": id }), Ok(whole.clone())),
            ("DescribeKey", json!({ "KeyId": arn, "GrantTokens": [] }), Ok(whole)),
            ("DescribeKey", json!({ "KeyId": arn, "GrantTokens": ["x"] }), No("InvalidGrantTokenException", "")),
            ("DescribeKey", json!({}), No("ValidationException", "Value null at 'keyId' failed to satisfy constraint")),
            ("DescribeKey", json!({ "KeyId": "" }), No("ValidationException", "length greater than or equal to 1")),
            ("DescribeKey", json!({ "KeyId": 7 }), No("SerializationException", "")),
            ("DescribeKey", json!({ "KeyId": "nonsense" }), No("NotFoundException", "Invalid keyId 'nonsense'")),
            ("DescribeKey", json!({ "KeyId": MISSING }), No("NotFoundException", "' does not exist")),
            ("DescribeKey", json!({ "KeyId": "alias/none" }), No("NotFoundException", "alias/none is not found.")),
            ("DescribeKey", json!({ "KeyId": elsewhere }), No("NotFoundException", "Invalid arn us-east-1")),
            ("DescribeKey", json!({ "KeyId": foreign }), No("NotFoundException", "does not exist")),
            ("DescribeKey", json!({ "KeyId": "arn:aws:s3:::b" }), No("InvalidArnException", "Invalid arn")),
            (
                "DescribeKey",
                json!({ "KeyId": id, "GrantTokens": vec!["x"; 11] }),
                No("ValidationException", "grantTokens"),
            ),
            (
                "CreateKey",
                json!({ "Description": "d", "KeyUsage": "ENCRYPT_DECRYPT", "KeySpec": "SYMMETRIC_DEFAULT",
            "Origin": "AWS_KMS", "MultiRegion": false, "Tags": [tag("a")] }),
                Ok(json!({ "KeyMetadata": { "Description": "d" } })),
            ),
            ("CreateKey", json!({ "KeySpec": "RSA_2048" }), No("UnsupportedOperationException", "keySpec RSA_2048")),
            ("CreateKey", json!({ "CustomerMasterKeySpec": "HMAC_256" }), No("UnsupportedOperationException", "")),
            ("CreateKey", json!({ "KeySpec": "X" }), No("ValidationException", "Value 'X' at 'keySpec'")),
            ("CreateKey", json!({ "KeyUsage": "SIGN_VERIFY" }), No("UnsupportedOperationException", "keyUsage")),
            ("CreateKey", json!({ "Origin": "EXTERNAL" }), No("UnsupportedOperationException", "origin")),
            ("CreateKey", json!({ "MultiRegion": true }), No("UnsupportedOperationException", "MultiRegion")),
            (
                "CreateKey",
                json!({ "CustomKeyStoreId": "cks-1" }),
                No("UnsupportedOperationException", "CustomKeyStoreId"),
            ),
            ("CreateKey", json!({ "Description": long }), No("ValidationException", "description")),
            ("CreateKey", json!({ "Tags": many }), No("LimitExceededException", "50")),
            ("CreateKey", json!({ "Tags": [tag("aws:x")] }), No("TagException", "reserved")),
            ("CreateKey", json!({ "Tags": [tag("a"), tag("a")] }), No("TagException", "twice")),
            ("GetPublicKey", json!({ "KeyId": id }), No("UnsupportedOperationException", "GetPublicKey")),
            ("Sign", json!({}), No("UnsupportedOperationException", "Sign")),
            ("Nothing", json!({}), No("UnknownOperationException", "")),
        ],
    )
    .await;
}

#[tokio::test]
async fn messages_are_sealed_and_opened() {
    let world = World::start().await;
    let (id, other) = (world.key().await, world.key().await);
    let arn = format!("arn:aws:kms:eu-test-1:000000000000:key/{id}");
    let context = json!({ "order": "7", "team": "blue" });
    let ask = json!({ "KeyId": id, "Plaintext": "c2VjcmV0", "EncryptionContext": context });
    let sealed = text(&world.done("Encrypt", ask).await["CiphertextBlob"]);
    let bare = world.done("Encrypt", json!({ "KeyId": id, "Plaintext": "c2VjcmV0" })).await;
    let bare = text(&bare["CiphertextBlob"]);
    let cut = &sealed[..sealed.len() - 8];
    let unknown = {
        use base64::Engine as _;
        let bytes = [&b"HFK1"[..], &[7; 16], &1u32.to_be_bytes(), &[0; 60]].concat();
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    let zeros = |bytes: usize| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(vec![0; bytes])
    };
    let opened = json!({ "KeyId": arn, "Plaintext": "c2VjcmV0", "EncryptionAlgorithm": "SYMMETRIC_DEFAULT" });
    let sealed_by = json!({ "KeyId": arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT" });
    let open = |more: Value| {
        let mut ask = json!({ "CiphertextBlob": sealed, "EncryptionContext": context });
        for (name, value) in more.as_object().unwrap() {
            ask[name] = value.clone();
        }
        ask
    };
    const UNSUPPORTED: &str = "UnsupportedOperationException";
    play(
        &world,
        vec![
            (
                "Encrypt",
                json!({ "KeyId": arn, "Plaintext": "AA==", "EncryptionAlgorithm": "SYMMETRIC_DEFAULT" }),
                Ok(sealed_by.clone()),
            ),
            ("Encrypt", json!({ "KeyId": id, "Plaintext": zeros(4_096) }), Ok(sealed_by)),
            (
                "Encrypt",
                json!({ "KeyId": id, "Plaintext": zeros(4_097) }),
                No("ValidationException", "less than or equal to 4096"),
            ),
            (
                "Encrypt",
                json!({ "KeyId": id, "Plaintext": "" }),
                No("ValidationException", "greater than or equal to 1"),
            ),
            ("Encrypt", json!({ "KeyId": id }), No("ValidationException", "'plaintext'")),
            ("Encrypt", json!({ "KeyId": id, "Plaintext": "!" }), No("SerializationException", "base64")),
            (
                "Encrypt",
                json!({ "KeyId": id, "Plaintext": "AA==", "EncryptionContext": { "a": 1 } }),
                No("SerializationException", ""),
            ),
            (
                "Encrypt",
                json!({ "KeyId": id, "Plaintext": "AA==", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256" }),
                No(UNSUPPORTED, ""),
            ),
            (
                "Encrypt",
                json!({ "KeyId": id, "Plaintext": "AA==", "EncryptionAlgorithm": "X" }),
                No("ValidationException", ""),
            ),
            ("Encrypt", json!({ "KeyId": MISSING, "Plaintext": "AA==" }), No("NotFoundException", "does not exist")),
            (
                "Encrypt",
                json!({ "KeyId": id, "Plaintext": "AA==", "DryRun": true }),
                No("DryRunOperationException", "DryRun"),
            ),
            ("Decrypt", open(json!({})), Ok(opened.clone())),
            ("Decrypt", open(json!({ "KeyId": id })), Ok(opened.clone())),
            ("Decrypt", open(json!({ "KeyId": arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT" })), Ok(opened.clone())),
            ("Decrypt", json!({ "CiphertextBlob": bare, "EncryptionContext": {} }), Ok(opened)),
            ("Decrypt", open(json!({ "KeyId": other })), No("IncorrectKeyException", "The key ID in the request")),
            ("Decrypt", open(json!({ "EncryptionContext": { "order": "7" } })), No("InvalidCiphertextException", "")),
            (
                "Decrypt",
                open(json!({ "EncryptionContext": { "order": "7", "team": "red" } })),
                No("InvalidCiphertextException", ""),
            ),
            (
                "Decrypt",
                open(json!({ "EncryptionContext": { "order7": "", "team": "blue" } })),
                No("InvalidCiphertextException", ""),
            ),
            ("Decrypt", json!({ "CiphertextBlob": sealed }), No("InvalidCiphertextException", "")),
            (
                "Decrypt",
                json!({ "CiphertextBlob": bare, "EncryptionContext": context }),
                No("InvalidCiphertextException", ""),
            ),
            ("Decrypt", open(json!({ "CiphertextBlob": cut })), No("InvalidCiphertextException", "")),
            ("Decrypt", open(json!({ "CiphertextBlob": "AAAA" })), No("InvalidCiphertextException", "")),
            ("Decrypt", open(json!({ "CiphertextBlob": unknown })), No("InvalidCiphertextException", "")),
            ("Decrypt", open(json!({ "CiphertextBlob": zeros(6_145) })), No("ValidationException", "ciphertextBlob")),
            ("Decrypt", json!({}), No("ValidationException", "'ciphertextBlob'")),
            (
                "Decrypt",
                open(json!({ "Recipient": { "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256" } })),
                No(UNSUPPORTED, "Recipient"),
            ),
            ("Decrypt", open(json!({ "DryRun": true })), No("DryRunOperationException", "")),
            // Nothing is opened, so nobody learns whether it would have.
            ("Decrypt", json!({ "CiphertextBlob": sealed, "DryRun": true }), No("DryRunOperationException", "")),
            ("Decrypt", json!({ "CiphertextBlob": "AAAA", "DryRun": true }), No("InvalidCiphertextException", "")),
            (
                "Decrypt",
                json!({ "CiphertextBlob": "AAAA", "DryRun": true, "KeyId": id }),
                No("InvalidCiphertextException", ""),
            ),
            (
                "Decrypt",
                json!({ "CiphertextBlob": sealed, "DryRun": true, "KeyId": other }),
                No("IncorrectKeyException", ""),
            ),
            (
                "ReEncrypt",
                json!({ "CiphertextBlob": sealed, "SourceEncryptionContext": context, "DestinationKeyId": other,
            "SourceKeyId": id }),
                Ok(json!({ "SourceKeyId": arn, "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT" })),
            ),
            (
                "ReEncrypt",
                json!({ "CiphertextBlob": sealed, "DestinationKeyId": other }),
                No("InvalidCiphertextException", ""),
            ),
            (
                "ReEncrypt",
                json!({ "CiphertextBlob": sealed, "SourceEncryptionContext": context, "DestinationKeyId": other,
            "SourceKeyId": other }),
                No("IncorrectKeyException", ""),
            ),
            (
                "ReEncrypt",
                json!({ "CiphertextBlob": sealed, "SourceEncryptionContext": context }),
                No("ValidationException", "destinationKeyId"),
            ),
            (
                "ReEncrypt",
                json!({ "CiphertextBlob": sealed, "SourceEncryptionContext": context, "DestinationKeyId": other,
            "DryRun": true }),
                No("DryRunOperationException", ""),
            ),
            ("GenerateDataKey", json!({ "KeyId": id, "KeySpec": "AES_256" }), Ok(json!({ "KeyId": arn }))),
            ("GenerateDataKey", json!({ "KeyId": id, "NumberOfBytes": 1024 }), Ok(json!({ "KeyId": arn }))),
            (
                "GenerateDataKey",
                json!({ "KeyId": id }),
                No("ValidationException", "either number of bytes or key spec"),
            ),
            (
                "GenerateDataKey",
                json!({ "KeyId": id, "KeySpec": "AES_128", "NumberOfBytes": 16 }),
                No("ValidationException", "either"),
            ),
            (
                "GenerateDataKey",
                json!({ "KeyId": id, "NumberOfBytes": 0 }),
                No("ValidationException", "Value '0' at 'numberOfBytes'"),
            ),
            (
                "GenerateDataKey",
                json!({ "KeyId": id, "NumberOfBytes": 1025 }),
                No("ValidationException", "less than or equal to 1024"),
            ),
            (
                "GenerateDataKey",
                json!({ "KeyId": id, "KeySpec": "AES_512" }),
                No("ValidationException", "[AES_256, AES_128]"),
            ),
            (
                "GenerateDataKey",
                json!({ "KeyId": id, "KeySpec": "AES_256", "Recipient": {} }),
                No(UNSUPPORTED, "Recipient"),
            ),
            (
                "GenerateDataKey",
                json!({ "KeyId": id, "KeySpec": "AES_256", "DryRun": true }),
                No("DryRunOperationException", ""),
            ),
            (
                "GenerateDataKeyWithoutPlaintext",
                json!({ "KeyId": id, "KeySpec": "AES_256" }),
                Ok(json!({ "KeyId": arn })),
            ),
            ("GenerateDataKeyPair", json!({ "KeyId": id }), No(UNSUPPORTED, "GenerateDataKeyPair")),
            ("GenerateRandom", json!({ "NumberOfBytes": 1024 }), Ok(json!({}))),
            ("GenerateRandom", json!({}), No("ValidationException", "numberOfBytes")),
            ("GenerateRandom", json!({ "NumberOfBytes": 1025 }), No("ValidationException", "numberOfBytes")),
            ("GenerateRandom", json!({ "NumberOfBytes": 8, "CustomKeyStoreId": "x" }), No(UNSUPPORTED, "")),
        ],
    )
    .await;

    let made = world.done("GenerateDataKeyWithoutPlaintext", json!({ "KeyId": id, "KeySpec": "AES_128" })).await;
    assert!(made.get("Plaintext").is_none());
    let made = world.done("GenerateDataKey", json!({ "KeyId": id, "KeySpec": "AES_256" })).await;
    let opened = world.done("Decrypt", json!({ "CiphertextBlob": made["CiphertextBlob"] })).await;
    assert_eq!(opened["Plaintext"], made["Plaintext"]);
    let ask = json!({ "CiphertextBlob": sealed, "SourceEncryptionContext": context, "DestinationKeyId": other,
        "DestinationEncryptionContext": { "new": "1" } });
    let moved = world.done("ReEncrypt", ask).await;
    let ask = json!({ "CiphertextBlob": moved["CiphertextBlob"], "EncryptionContext": { "new": "1" }, "KeyId": other });
    assert_eq!(world.done("Decrypt", ask).await["Plaintext"], "c2VjcmV0");
}
