//! Whose keys a version's parts are under: the bucket's, or the bucket's and a customer's (SSE-C).

use std::sync::Arc;

use base::{BodyId, PartId};
use keys::{BucketKey, CustomerKey, DekPlace};
use meta::record::{BucketRecord, BucketState, DefaultEncryption, Encryption};

use crate::api::Encrypt;
use crate::{Error, Store};

/// A body, and the bucket and name that its keys are bound to.
pub(crate) struct Place<'a> {
    pub(crate) bucket: &'a BucketRecord,
    pub(crate) key: &'a str,
    pub(crate) body: BodyId,
}

impl Place<'_> {
    /// The place of one of its parts' DEKs; `number` is 0 for a body of one part.
    pub(crate) fn dek(&self, number: u16, part: PartId) -> DekPlace<'_> {
        DekPlace { bucket: self.bucket.id, object: self.key, body: self.body, number, part }
    }
}

impl Store {
    /// The key to wrap a new body's DEKs under, and what its record says of it.
    pub(crate) fn key_to_write(
        &self,
        place: &Place<'_>,
        encrypt: &Encrypt,
    ) -> Result<(Arc<BucketKey>, Encryption), Error> {
        let key = self.0.keys.bucket_key(place.bucket.id, &place.bucket.wrapped_key)?;
        match encrypt {
            Encrypt::Default | Encrypt::Bucket => Ok((key, Encryption::Bucket)),
            Encrypt::Kms { context, bucket_key } => {
                let bucket_key = bucket_key.unwrap_or(false);
                Ok((key, Encryption::Kms { context: context.clone(), bucket_key }))
            }
            Encrypt::Customer(customer) => {
                let key = key.with_customer(customer)?;
                let verifier = key.verifier(place.bucket.id, place.key, place.body)?.to_vec();
                Ok((Arc::new(key), Encryption::Customer { verifier }))
            }
        }
    }

    /// The key that a body's DEKs are wrapped under.
    ///
    /// # Errors
    /// [`Error::CustomerKeyMissing`], [`Error::CustomerKeyWrong`], [`Error::NoCustomerKey`], or a key error.
    pub(crate) fn key_to_read(
        &self,
        place: &Place<'_>,
        encryption: &Encryption,
        customer: Option<&CustomerKey>,
    ) -> Result<Arc<BucketKey>, Error> {
        let key = self.0.keys.bucket_key(place.bucket.id, &place.bucket.wrapped_key)?;
        match (encryption, customer) {
            (Encryption::Bucket | Encryption::Kms { .. }, None) => Ok(key),
            (Encryption::Bucket | Encryption::Kms { .. }, Some(_)) => Err(Error::NoCustomerKey),
            (Encryption::Customer { .. }, None) => Err(Error::CustomerKeyMissing),
            (Encryption::Customer { verifier }, Some(customer)) => {
                let key = key.with_customer(customer)?;
                if key.is_verified_by(place.bucket.id, place.key, place.body, verifier) {
                    Ok(Arc::new(key))
                } else {
                    Err(Error::CustomerKeyWrong)
                }
            }
        }
    }
}

/// What the bucket says where the writer said nothing, or not all. Never changes the keys that
/// parts are under.
pub(crate) fn encrypt_by_default(encryption: &mut Encryption, asked: &Encrypt, state: &BucketState) {
    match (asked, state.encryption) {
        (Encrypt::Default, DefaultEncryption::Kms { bucket_key }) => {
            *encryption = Encryption::Kms { context: None, bucket_key };
        }
        (Encrypt::Kms { context, bucket_key: None }, DefaultEncryption::Kms { bucket_key }) => {
            *encryption = Encryption::Kms { context: context.clone(), bucket_key };
        }
        _ => {}
    }
}
