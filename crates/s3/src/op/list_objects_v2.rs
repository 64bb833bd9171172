//! ListObjectsV2.

use s3s::dto::{ListObjectsV2Input, ListObjectsV2Output};
use s3s::{S3Request, S3Response, S3Result};
use store::api::ListRequest;

use super::list_objects::entry;
use crate::error::answer;
use crate::service::Service;
use crate::wire::{self, Naming};

pub(crate) async fn run(at: &Service, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = req.input;
    let naming = Naming::of(input.encoding_type.as_ref())?;
    let limit = wire::page_limit(input.max_keys)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    // A token goes on where a page ended; `start-after` was heeded by the first page.
    let after = match &input.continuation_token {
        Some(token) => Some(wire::read_token(token)?),
        None => input.start_after.clone().filter(|after| !after.is_empty()),
    };
    let request =
        ListRequest { prefix: input.prefix.clone().unwrap_or_default(), delimiter: delimiter.clone(), after, limit };
    let page = at.store.list(&input.bucket, &request).await.map_err(answer)?;
    let owner = match input.fetch_owner {
        Some(true) => Some(wire::owner(&at.store.bucket(&input.bucket).await.map_err(answer)?.owner)),
        _ => None,
    };
    let count = page.objects.len() + page.common_prefixes.len();
    let output = ListObjectsV2Output {
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.as_deref().map(wire::token),
        key_count: i32::try_from(count).ok(),
        contents: Some(page.objects.into_iter().map(|info| entry(info, naming, owner.as_ref())).collect()),
        common_prefixes: Some(naming.prefixes(page.common_prefixes)),
        continuation_token: input.continuation_token,
        start_after: input.start_after.map(|after| naming.write(after)),
        prefix: Some(naming.write(request.prefix)),
        delimiter: delimiter.map(|delimiter| naming.write(delimiter)),
        max_keys: i32::try_from(limit).ok(),
        encoding_type: input.encoding_type,
        name: Some(input.bucket),
        request_charged: None,
    };
    Ok(S3Response::new(output))
}
