//! ListBuckets: all for whom a policy lets see all, and otherwise those that the principal may list.

use s3s::dto::{Bucket, ListBucketsInput, ListBucketsOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::error::answer;
use crate::service::Service;
use crate::{access, wire};

/// Buckets in one answer at most (S3: 10,000).
const PAGE_MAX: i32 = 10_000;

pub(crate) async fn run(at: &Service, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
    let principal = access::principal(&req)?;
    let authority = access::authority(&req)?;
    let all = authority.sees_all();
    let input = &req.input;
    let limit = match input.max_buckets.unwrap_or(PAGE_MAX) {
        limit @ 1..=PAGE_MAX => limit as usize,
        _ => return Err(s3_error!(InvalidArgument, "max-buckets is between 1 and {PAGE_MAX}")),
    };
    let after = input.continuation_token.as_deref().map(wire::read_token).transpose()?;
    let elsewhere = input.bucket_region.as_deref().is_some_and(|region| region != at.region);
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let mut buckets = at.store.buckets().await.map_err(answer)?;
    buckets.retain(|bucket| {
        !elsewhere
            && bucket.name.starts_with(prefix)
            && after.as_ref().is_none_or(|after| bucket.name > *after)
            && (all || authority.sees(&bucket.name))
    });
    buckets.sort_by(|a, b| a.name.cmp(&b.name));
    let more = buckets.len() > limit;
    buckets.truncate(limit);
    let last = buckets.last().filter(|_| more);
    let output = ListBucketsOutput {
        continuation_token: last.map(|bucket| wire::token(&bucket.name)),
        owner: Some(wire::owner(principal.name())),
        prefix: input.prefix.clone(),
        buckets: Some(
            buckets
                .into_iter()
                .map(|bucket| Bucket {
                    bucket_region: Some(at.region.clone()),
                    creation_date: Some(wire::timestamp(bucket.created_ms)),
                    name: Some(bucket.name),
                })
                .collect(),
        ),
    };
    Ok(S3Response::new(output))
}
