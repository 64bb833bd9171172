//! Server-side encryption: what requests ask for (SSE-S3, SSE-KMS, SSE-C), and what they are told.
//!
//! Everything is encrypted under a portion's key, which rules choose. SSE-KMS names one, or the default, which
//! stands for what the rules say. With SSE-C it takes the customer's key.

use std::sync::Arc;

use base::PortionId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use keys::EncryptionContext;
use md5::{Digest as _, Md5};
use s3s::dto::ServerSideEncryption;
use s3s::{S3Result, s3_error};
use store::about_key;
use store::api::{CustomerKey, DefaultEncryption, Encrypt, Encryption, Right};
use zeroize::Zeroizing;

use crate::access::Authority;
use crate::error::{answer, custom, not_implemented};
use crate::service::Service;

const METHOD: &str = "x-amz-server-side-encryption";
const KMS_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CONTEXT: &str = "x-amz-server-side-encryption-context";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";

/// A customer's key, and its MD5 as clients are told it.
#[derive(Clone)]
pub(crate) struct Customer {
    pub key: Arc<CustomerKey>,
    md5: String,
}

/// What a request wants to be encrypted how.
#[derive(Default)]
pub(crate) struct Asked {
    pub encrypt: Encrypt,
    pub customer: Option<Customer>,
}

/// The customer's key of a read, or of a part.
///
/// # Errors
/// `InvalidArgument`, `InvalidEncryptionAlgorithmError`.
pub(crate) fn customer(headers: &HeaderMap) -> S3Result<Option<Customer>> {
    customer_in(
        headers,
        "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-server-side-encryption-customer-key",
        "x-amz-server-side-encryption-customer-key-md5",
    )
}

/// The customer's key of a copy's source.
///
/// # Errors
/// As [`customer`].
pub(crate) fn source_customer(headers: &HeaderMap) -> S3Result<Option<Customer>> {
    customer_in(
        headers,
        "x-amz-copy-source-server-side-encryption-customer-algorithm",
        "x-amz-copy-source-server-side-encryption-customer-key",
        "x-amz-copy-source-server-side-encryption-customer-key-md5",
    )
}

fn customer_in(headers: &HeaderMap, algorithm: &str, key: &str, md5: &str) -> S3Result<Option<Customer>> {
    let must = |what: &str| {
        s3_error!(
            InvalidArgument,
            "Requests specifying Server Side Encryption with Customer provided keys must provide {what}."
        )
    };
    let [algorithm, key, md5] = [algorithm, key, md5].map(|name| headers.get(name).map(http::HeaderValue::as_bytes));
    let (algorithm, key, md5) = match (algorithm, key, md5) {
        (None, None, None) => return Ok(None),
        (None, ..) => return Err(must("a valid encryption algorithm")),
        (_, None, _) => return Err(must("an appropriate secret key")),
        (.., None) => return Err(must("the client calculated MD5 of the secret key")),
        (Some(algorithm), Some(key), Some(md5)) => (algorithm, key, md5),
    };
    if algorithm != b"AES256" {
        return Err(custom(
            "InvalidEncryptionAlgorithmError",
            "The Encryption request you specified is not valid. Supported value: AES256.",
        ));
    }
    let raw = Zeroizing::new(STANDARD.decode(key).unwrap_or_default());
    let mut bytes = Zeroizing::new([0; 32]);
    if raw.len() != bytes.len() {
        return Err(s3_error!(InvalidArgument, "The secret key was invalid for the specified algorithm."));
    }
    bytes.copy_from_slice(&raw);
    let computed = STANDARD.encode(Md5::digest(bytes.as_ref()));
    if computed.as_bytes() != md5 {
        return Err(s3_error!(
            InvalidArgument,
            "The calculated MD5 hash of the key did not match the hash that was provided."
        ));
    }
    Ok(Some(Customer { key: Arc::new(CustomerKey::new(bytes)), md5: computed }))
}

/// How a new object at `to`, bucket and key, is to be encrypted. The KMS key that is named, or that the bucket names where the
/// request says nothing, is there, and the caller may use it.
///
/// # Errors
/// `InvalidArgument`, `InvalidEncryptionAlgorithmError`, `NotImplemented`, and as [`usable_key`].
pub(crate) async fn asked(
    at: &Service,
    authority: &Authority,
    to: (&str, &str),
    headers: &HeaderMap,
) -> S3Result<Asked> {
    let customer = customer(headers)?;
    let method = text(headers, METHOD)?;
    if customer.is_some() && (method.is_some() || headers.contains_key(KMS_KEY)) {
        return Err(s3_error!(
            InvalidArgument,
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
        ));
    }
    let bucket_key = match text(headers, BUCKET_KEY)? {
        None => None,
        Some(word) if word.eq_ignore_ascii_case("true") => Some(true),
        Some(word) if word.eq_ignore_ascii_case("false") => Some(false),
        Some(_) => return Err(s3_error!(InvalidArgument, "{BUCKET_KEY} is true or false")),
    };
    let encrypt = match (&customer, method) {
        (Some(customer), _) => Encrypt::Customer(customer.key.clone()),
        (None, Some(ServerSideEncryption::AWS_KMS)) => {
            let context = context(headers)?;
            let key = find_key(at, text(headers, KMS_KEY)?).await?;
            if let Some(portion) = key {
                let bucket_key = bucket_key.unwrap_or(false);
                let encryption = Encryption::Portion { portion, context: context.clone(), bucket_key };
                may_seal(at, authority, to, &encryption).await?;
            }
            Encrypt::Kms { key, context, bucket_key }
        }
        (None, Some(ServerSideEncryption::AWS_KMS_DSSE)) => return Err(not_implemented("dual-layer encryption")),
        (None, _) if headers.contains_key(KMS_KEY) || headers.contains_key(CONTEXT) => {
            return Err(s3_error!(
                InvalidArgument,
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms"
            ));
        }
        (None, Some(ServerSideEncryption::AES256)) => Encrypt::Bucket,
        (None, Some(_)) => return Err(s3_error!(InvalidArgument, "The encryption method specified is not supported")),
        (None, None) => by_default(at, authority, to).await?,
    };
    Ok(Asked { encrypt, customer })
}

/// Requests that read, or write a part, do not choose the encryption.
///
/// # Errors
/// `InvalidArgument`.
pub(crate) fn not_chosen(headers: &HeaderMap) -> S3Result<()> {
    match [METHOD, KMS_KEY, CONTEXT].into_iter().find(|name| headers.contains_key(*name)) {
        None => Ok(()),
        Some(name) => Err(s3_error!(InvalidArgument, "{name} header is not supported for this operation.")),
    }
}

/// The KMS key that is named, as the store finds it; `None` for the default one.
///
/// # Errors
/// `KMS.NotFoundException` for a key of another account or region.
fn named_key(name: Option<&str>, kms: &str) -> S3Result<Option<String>> {
    let Some(name) = name else { return Ok(None) };
    let plain = name.strip_prefix(kms).unwrap_or(name);
    if ["default", "key/default", "alias/aws/s3"].contains(&plain) {
        return Ok(None);
    }
    if plain.starts_with("arn:") {
        return Err(custom("KMS.NotFoundException", format!("Invalid arn {name}")));
    }
    Ok(Some(plain.strip_prefix("key/").unwrap_or(plain).to_owned()))
}

/// The portion whose key is named; `None`: the default key.
///
/// # Errors
/// `KMS.NotFoundException`, or the store's.
async fn find_key(at: &Service, name: Option<&str>) -> S3Result<Option<PortionId>> {
    let Some(name) = named_key(name, &at.kms())? else { return Ok(None) };
    let found = at.store.portions().find(at.store.account(), &name).await;
    Ok(Some(found.map_err(|error| answer(error.into()))?.id))
}

/// The portion whose key is named as a bucket's default, which the caller must be allowed to use; `None`: the default key.
///
/// # Errors
/// As [`find_key`], and `AccessDenied`.
pub(crate) async fn usable_key(
    at: &Service,
    authority: &Authority,
    bucket: &str,
    name: Option<&str>,
) -> S3Result<Option<PortionId>> {
    let found = find_key(at, name).await?;
    if let Some(portion) = found {
        let encryption = Encryption::Portion { portion, context: None, bucket_key: true };
        may_seal(at, authority, (bucket, ""), &encryption).await?;
    }
    Ok(found)
}

/// What the bucket says of new objects; a key that it names, the caller must be allowed to use.
async fn by_default(at: &Service, authority: &Authority, to: (&str, &str)) -> S3Result<Encrypt> {
    let said = match at.store.bucket_state(to.0).await {
        Ok(state) => state.encryption,
        // Told by the operation.
        Err(store::Error::NoSuchBucket(_)) => return Ok(Encrypt::Default),
        Err(error) => return Err(answer(error)),
    };
    if let DefaultEncryption::Portion { portion, bucket_key } = said {
        may_seal(at, authority, to, &Encryption::Portion { portion, context: None, bucket_key }).await?;
    }
    Ok(Encrypt::Said(said))
}

/// Who writes at `to`, bucket and key, under a named key must be allowed to use it.
///
/// # Errors
/// `AccessDenied`, or the store's.
pub(crate) async fn may_seal(
    at: &Service,
    authority: &Authority,
    to: (&str, &str),
    encryption: &Encryption,
) -> S3Result<()> {
    may_use(at, authority, ("kms:GenerateDataKey", Right::Write), to, encryption).await
}

/// Who reads what is under a named key must be allowed to use it.
///
/// # Errors
/// `AccessDenied`, or the store's.
pub(crate) async fn may_open(
    at: &Service,
    authority: &Authority,
    from: (&str, &str),
    encryption: &Encryption,
) -> S3Result<()> {
    may_use(at, authority, ("kms:Decrypt", Right::Read), from, encryption).await
}

async fn may_use(
    at: &Service,
    authority: &Authority,
    (action, right): (&str, Right),
    (bucket, key): (&str, &str),
    encryption: &Encryption,
) -> S3Result<()> {
    let Encryption::Portion { portion, context, bucket_key } = encryption else { return Ok(()) };
    let account = at.store.account();
    let known = at.store.portions().known(account, *portion).await.map_err(|error| answer(error.into()))?;
    let mut context: EncryptionContext =
        context.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    // As S3 adds it (SSE-KMS, "Encryption context").
    let object = if *bucket_key { format!("arn:aws:s3:::{bucket}") } else { format!("arn:aws:s3:::{bucket}/{key}") };
    context.insert("aws:s3:arn".to_owned(), object);
    let mut about = about_key(account, &known.tags, &context);
    about.add("kms:ViaService", format!("s3.{}.amazonaws.com", at.region));
    about.add("kms:CallerAccount", account.to_string());
    let arn = key_arn(&at.kms(), *portion);
    authority.use_key((action, right), bucket, (*portion, &arn, &known.policy), about, &context).await
}

fn key_arn(kms: &str, id: PortionId) -> String {
    format!("{kms}key/{}", keys::dashed(id))
}

fn default_key(kms: &str) -> String {
    format!("{kms}key/default")
}

/// The encryption context: base64 of a JSON object of strings.
fn context(headers: &HeaderMap) -> S3Result<Option<String>> {
    let Some(given) = text(headers, CONTEXT)? else { return Ok(None) };
    let refusal = || {
        s3_error!(
            InvalidArgument,
            "The header '{CONTEXT}' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map"
        )
    };
    let json = STANDARD.decode(given).map_err(|_| refusal())?;
    let map: std::collections::BTreeMap<String, String> = serde_json::from_slice(&json).map_err(|_| refusal())?;
    serde_json::to_string(&map).map(Some).map_err(|_| refusal())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> S3Result<Option<&'a str>> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| s3_error!(InvalidArgument, "the header {name} is not text"))
}

/// What the answer says of an object's encryption.
#[derive(Default)]
pub(crate) struct Told {
    pub method: Option<ServerSideEncryption>,
    pub kms_key: Option<String>,
    pub context: Option<String>,
    pub bucket_key: Option<bool>,
    pub customer_algorithm: Option<String>,
    pub customer_md5: Option<String>,
}

impl Told {
    /// As headers.
    pub(crate) fn headers(self) -> [(HeaderName, Option<String>); 6] {
        let name = HeaderName::from_static;
        [
            (name(METHOD), self.method.map(|method| method.as_str().to_owned())),
            (name(KMS_KEY), self.kms_key),
            (name(CONTEXT), self.context),
            (name(BUCKET_KEY), self.bucket_key.map(|key| key.to_string())),
            (name("x-amz-server-side-encryption-customer-algorithm"), self.customer_algorithm),
            (name("x-amz-server-side-encryption-customer-key-md5"), self.customer_md5),
        ]
    }

    pub(crate) fn of(encryption: &Encryption, customer: Option<&Customer>, kms: &str) -> Self {
        match encryption {
            Encryption::Bucket => Self {
                method: Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256)),
                ..Self::default()
            },
            Encryption::Kms { context, bucket_key } => Self {
                method: Some(ServerSideEncryption::from_static(ServerSideEncryption::AWS_KMS)),
                kms_key: Some(default_key(kms)),
                context: context.as_ref().map(|json| STANDARD.encode(json)),
                bucket_key: bucket_key.then_some(true),
                ..Self::default()
            },
            Encryption::Portion { portion, context, bucket_key } => Self {
                method: Some(ServerSideEncryption::from_static(ServerSideEncryption::AWS_KMS)),
                kms_key: Some(key_arn(kms, *portion)),
                context: context.as_ref().map(|json| STANDARD.encode(json)),
                bucket_key: bucket_key.then_some(true),
                ..Self::default()
            },
            Encryption::Customer { .. } => Self {
                customer_algorithm: Some("AES256".to_owned()),
                customer_md5: customer.map(|customer| customer.md5.clone()),
                ..Self::default()
            },
        }
    }
}
