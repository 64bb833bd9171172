//! An object's bytes as a request body.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;

use crate::api::{BodyError, BodyFacts, BodySource, ReadStream};

/// Feeds a read stream into a write.
pub(crate) struct CopyBody(pub(crate) ReadStream);

#[async_trait]
impl BodySource for CopyBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.0.try_next().await.map_err(|error| BodyError::Source(Box::new(error)))
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(BodyFacts::default())
    }
}
