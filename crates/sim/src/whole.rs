//! A body in one piece.

use async_trait::async_trait;
use bytes::Bytes;
use store::api::{BodyError, BodyFacts, BodySource};

/// Nothing is an empty body.
pub struct Whole(pub Option<Bytes>);

#[async_trait]
impl BodySource for Whole {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        Ok(self.0.take())
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(BodyFacts::default())
    }
}
