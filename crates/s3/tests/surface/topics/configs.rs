//! Sub-resources of a bucket: what is said before they are put, after, and when they are gone.

use crate::row::{Scene, delete, get, put, scene};

fn encryption(algorithm: &str) -> String {
    format!(
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
    )
}

fn blocking(kind: &str) -> String {
    format!(
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled><BlockedEncryptionTypes><EncryptionType>{kind}</EncryptionType></BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>"
    )
}

fn ownership(who: &str) -> String {
    format!("<OwnershipControls><Rule><ObjectOwnership>{who}</ObjectOwnership></Rule></OwnershipControls>")
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("website", [
            get("/{b}?website").fails(404, "NoSuchWebsiteConfiguration"),
            delete("/{b}?website").is(204),
            put("/{b}?website").sends("<WebsiteConfiguration></WebsiteConfiguration>").fails(400, "InvalidArgument"),
            put("/{b}?website").sends("<WebsiteConfiguration><IndexDocument><Suffix>a/b</Suffix></IndexDocument></WebsiteConfiguration>").fails(400, "InvalidArgument"),
            put("/{b}?website").sends("<WebsiteConfiguration><IndexDocument><Suffix></Suffix></IndexDocument></WebsiteConfiguration>").fails(400, "InvalidArgument"),
            put("/{b}?website").sends("<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>error.html</Key></ErrorDocument></WebsiteConfiguration>"),
            get("/{b}?website").has("<Suffix>index.html</Suffix>").has("<Key>error.html</Key>"),
            put("/{b}?website").sends("<WebsiteConfiguration><RedirectAllRequestsTo><HostName>a.example</HostName></RedirectAllRequestsTo><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>").fails(400, "InvalidArgument"),
            put("/{b}?website").sends("<WebsiteConfiguration><RedirectAllRequestsTo><HostName>a.example</HostName><Protocol>https</Protocol></RedirectAllRequestsTo></WebsiteConfiguration>"),
            get("/{b}?website").has("<HostName>a.example</HostName>").has("<Protocol>https</Protocol>").lacks("<Suffix>"),
            delete("/{b}?website").is(204),
            get("/{b}?website").fails(404, "NoSuchWebsiteConfiguration"),
        ]),
        scene("encryption", [
            get("/{b}?encryption").has("<SSEAlgorithm>AES256</SSEAlgorithm>"),
            put("/{b}?encryption").sends(encryption("AES256")),
            get("/{b}?encryption").has("<SSEAlgorithm>AES256</SSEAlgorithm>"),
            put("/{b}?encryption").sends(encryption("aws:kms")),
            put("/{b}?encryption").sends(encryption("ROT13")).fails(400, "MalformedXML"),
            put("/{b}?encryption").sends("<ServerSideEncryptionConfiguration></ServerSideEncryptionConfiguration>").fails(400, "MalformedXML"),
            put("/{b}?encryption").sends(blocking("NONE")).differs(400, "MalformedXML", "the framework does not know the element"),
            put("/{b}?encryption").sends(blocking("SSE-C")).differs(400, "MalformedXML", "the framework does not know the element"),
            delete("/{b}?encryption").is(204),
            get("/{b}?encryption").has("<SSEAlgorithm>AES256</SSEAlgorithm>"),
        ]),
        scene("ownership controls", [
            get("/{b}?ownershipControls").has("BucketOwnerEnforced"),
            put("/{b}?ownershipControls").sends(ownership("BucketOwnerEnforced")),
            get("/{b}?ownershipControls").has("<ObjectOwnership>BucketOwnerEnforced</ObjectOwnership>"),
            put("/{b}?ownershipControls").sends(ownership("ObjectWriter")),
            put("/{b}?ownershipControls").sends(ownership("Nobody")).fails(400, "MalformedXML"),
            put("/{b}?ownershipControls").sends("<OwnershipControls></OwnershipControls>").fails(400, "MalformedXML"),
            delete("/{b}?ownershipControls").is(204),
            get("/{b}?ownershipControls").fails(404, "OwnershipControlsNotFoundError"),
            delete("/{b}?ownershipControls").is(204),
        ]),
        scene("public access block", [
            delete("/{b}?publicAccessBlock").is(204),
            get("/{b}?publicAccessBlock").fails(404, "NoSuchPublicAccessBlockConfiguration"),
            put("/{b}?publicAccessBlock").sends("<PublicAccessBlockConfiguration><BlockPublicPolicy>true</BlockPublicPolicy><IgnorePublicAcls>false</IgnorePublicAcls></PublicAccessBlockConfiguration>"),
            get("/{b}?publicAccessBlock").has("<BlockPublicPolicy>true</BlockPublicPolicy>").has("<IgnorePublicAcls>false</IgnorePublicAcls>").lacks("<RestrictPublicBuckets>true"),
            put("/{b}?publicAccessBlock").sends("<PublicAccessBlockConfiguration><BlockPublicPolicy>maybe</BlockPublicPolicy></PublicAccessBlockConfiguration>").fails(400, "MalformedXML"),
            delete("/{b}?publicAccessBlock").is(204),
            get("/{b}?publicAccessBlock").fails(404, "NoSuchPublicAccessBlockConfiguration"),
        ]),
        scene("what every bucket is", [
            get("/{b}?requestPayment").has("<Payer>BucketOwner</Payer>"),
            get("/{b}?logging").has("BucketLoggingStatus").lacks("LoggingEnabled"),
            get("/{b}?accelerate").has("AccelerateConfiguration").lacks("<Status>"),
            get("/{b}?notification").has("NotificationConfiguration"),
            get("/{b}?versioning").has("VersioningConfiguration").lacks("<Status>"),
        ]),
        scene("what every bucket is may be put", [
            put("/{b}?requestPayment").sends("<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>"),
            put("/{b}?requestPayment").sends("<RequestPaymentConfiguration><Payer>Nobody</Payer></RequestPaymentConfiguration>").fails(400, "MalformedXML"),
            put("/{c}?requestPayment").sends("<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>").fails(404, "NoSuchBucket"),
            put("/{b}?accelerate").sends("<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>"),
            put("/{b}?accelerate").sends("<AccelerateConfiguration></AccelerateConfiguration>").fails(400, "MalformedXML"),
            put("/{b}?logging").sends("<BucketLoggingStatus xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>"),
            put("/{b}?logging").sends("<BucketLoggingStatus><LoggingEnabled><TargetBucket>{b}</TargetBucket><TargetPrefix>p</TargetPrefix></LoggingEnabled></BucketLoggingStatus>").differs(501, "NotImplemented", "requests are not logged"),
            put("/{b}?policy").sends(r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*"}]}"#).with("x-amz-confirm-remove-self-bucket-access", "true").is(204),
            put("/{b}?versioning").sends(super::ENABLED).with("x-amz-mfa", "arn:aws:iam::0:mfa/a 123456"),
        ]),
        scene("what no bucket has", [
            get("/{b}?replication").fails(404, "ReplicationConfigurationNotFoundError"),
            put("/{b}?replication").sends("<ReplicationConfiguration/>").fails(400, "MalformedXML").differs(501, "NotImplemented", "there is no replication of buckets"),
            get("/{b}?analytics").differs(501, "NotImplemented", "there is no analysis"),
            get("/{b}?inventory").differs(501, "NotImplemented", "there is no inventory"),
            get("/{b}?metrics").differs(501, "NotImplemented", "metrics are told to Prometheus"),
            get("/{b}?intelligent-tiering").differs(501, "NotImplemented", "there is one class"),
            put("/{b}?accelerate").sends("<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>").differs(501, "NotImplemented", "there is no edge"),
            put("/{b}?requestPayment").sends("<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>").differs(501, "NotImplemented", "nobody pays"),
            delete("/{b}?unheard-of").is(204).differs(501, "NotImplemented", "a bucket is not deleted by a request that is not understood"),
            get("/{b}?unheard-of").differs(501, "NotImplemented", "what is not understood is refused"),
            get("/{b}").is(200),
        ]),
        scene("they go with their bucket", [
            put("/{b}?tagging").sends("<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"),
            put("/{b}?website").sends("<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>"),
            delete("/{b}").is(204),
            get("/{b}?tagging").fails(404, "NoSuchBucket"),
            put("/{b}"),
            get("/{b}?tagging").fails(404, "NoSuchTagSet"),
            get("/{b}?website").fails(404, "NoSuchWebsiteConfiguration"),
        ]),
    ]
}
