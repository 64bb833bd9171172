//! Which secret belongs to an access key.

use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use store::Store;

use crate::error;

/// Asks the store.
pub(crate) struct Auth(pub Store);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if self.0.is_temporary(access_key) {
            // Good for nothing without the token, which was opened before.
            return self.0.temporary_secret(access_key).map(SecretKey::from).map_err(error::answer);
        }
        match self.0.authenticate(access_key).await {
            Ok(Some((secret, _))) => Ok(SecretKey::from(secret)),
            Ok(None) => Err(s3_error!(InvalidAccessKeyId, "the access key does not exist")),
            Err(error) => Err(error::answer(error)),
        }
    }
}
