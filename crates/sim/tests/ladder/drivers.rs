//! Each operation of the ladder, as a client asks for it.

use bytes::Bytes;
use serde_json::json;

use crate::faults::body;
use crate::world::{Answer, World};

/// Larger than what goes into packs, and smaller, in one piece.
const SIZES: [usize; 2] = [1_500_000, 70_000];
/// Uploads that can be completed: one a try.
const UPLOADS: usize = 4;
const SSE: &str = "x-amz-server-side-encryption";
const SSE_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";

/// An operation that was made ready while all was well.
pub struct Driver {
    operation: String,
    /// The object that is read.
    size: usize,
    uploads: Vec<(String, String)>,
    ciphertext: String,
}

impl Driver {
    pub async fn new(operation: &str, world: &World) -> Self {
        let mut driver =
            Self { operation: operation.to_owned(), size: 0, uploads: Vec::new(), ciphertext: String::new() };
        match operation {
            "get" | "head" | "list" | "delete" | "copy" => {
                // Read in one piece: once bytes of a body have gone out, all that can be done is to break it off.
                driver.size = SIZES[1];
                driver.put(world, "/bbb/k", driver.size).await.done();
                // In use when it begins.
                world.s3("GET", "/bbb/k", "", &[], Bytes::new()).await.done();
            }
            // The key is in use.
            "put" => drop(driver.put(world, "/bbb/k", SIZES[0]).await.done()),
            "put-island" => drop(world.s3("PUT", "/island/k", "", &[], body(SIZES[0])).await.done()),
            "put-block" => drop(driver.put(world, "/block/k", SIZES[1]).await.done()),
            "put-defer" => drop(driver.put(world, "/defer/k", SIZES[1]).await.done()),
            "part" | "complete" => {
                for _ in 0..UPLOADS {
                    let made = world.s3("POST", "/bbb/u", "uploads=", &sse(world), Bytes::new()).await.done();
                    let upload = made.tag("UploadId");
                    let part = Self::part(world, &upload).await.done();
                    let etag = part.headers["etag"].to_str().unwrap().to_owned();
                    driver.uploads.push((upload, etag));
                }
            }
            "kms-encrypt" | "kms-decrypt" | "kms-generate" | "kms-manage" => {
                let sealed = world.kms("Encrypt", json!({ "KeyId": world.key, "Plaintext": "eA==" })).await.done();
                sealed.json()["CiphertextBlob"].as_str().unwrap().clone_into(&mut driver.ciphertext);
                // Who had it is in the rows for this hour.
                world.kms("Decrypt", json!({ "CiphertextBlob": driver.ciphertext })).await.done();
            }
            "revoke" | "deny" => drop(world.admin("POST", "/v1/users", json!({ "name": "ann" })).await.done()),
            "policy" => {}
            "repair" => {
                // Written while a site was away: its shards are elsewhere.
                world.sites[4].set_fault(sim::Fault::Down);
                world.look().await;
                for size in SIZES {
                    driver.put(world, &format!("/bbb/{size}"), size).await.done();
                }
                world.sites[4].set_fault(sim::Fault::None);
                world.look().await;
                assert!(backlog(world).await > 0);
            }
            other => panic!("no driver for {other}: write one"),
        }
        driver
    }

    /// Asks for it; `None` where there is nobody to answer.
    pub async fn ask(&mut self, world: &World) -> Option<Answer> {
        let none = Bytes::new;
        let answer = match self.operation.as_str() {
            "get" => world.s3("GET", "/bbb/k", "", &[], none()).await,
            "head" => world.s3("HEAD", "/bbb/k", "", &[], none()).await,
            "list" => world.s3("GET", "/bbb", "list-type=2", &[], none()).await,
            "put" => self.put(world, "/bbb/new", SIZES[0]).await,
            "put-block" => world.s3("PUT", "/block/new", "", &sse(world), self.other_body()).await,
            "put-defer" => world.s3("PUT", "/defer/new", "", &sse(world), self.other_body()).await,
            "put-island" => world.s3("PUT", "/island/new", "", &[], body(SIZES[0])).await,
            "delete" => world.s3("DELETE", "/bbb/k", "", &[], none()).await,
            "copy" => {
                let more = [("x-amz-copy-source", "/bbb/k"), sse(world)[0], sse(world)[1]];
                world.s3("PUT", "/bbb/copied", "", &more, none()).await
            }
            "part" => Self::part(world, &self.uploads[0].0.clone()).await,
            "complete" => {
                let (upload, etag) = self.uploads.pop().expect("as many uploads as steps");
                let part = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
                let document = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
                world.s3("POST", "/bbb/u", &format!("uploadId={upload}"), &[], document.into()).await
            }
            "kms-encrypt" => world.kms("Encrypt", json!({ "KeyId": world.key, "Plaintext": "eA==" })).await,
            "kms-decrypt" => world.kms("Decrypt", json!({ "CiphertextBlob": self.ciphertext })).await,
            "kms-generate" => world.kms("GenerateDataKey", json!({ "KeyId": world.key, "KeySpec": "AES_256" })).await,
            "kms-manage" => world.kms("UpdateKeyDescription", json!({ "KeyId": world.key, "Description": "x" })).await,
            "revoke" => world.admin("POST", "/v1/users/ann/revoke", json!({ "note": "" })).await,
            "deny" => world.admin("PUT", "/v1/release/denials/ann", json!({ "reason": "lost" })).await,
            "policy" => world.admin("PUT", "/v1/portion-rules", json!({ "document": "{\"rules\": []}" })).await,
            "repair" => {
                let _ = world.store.repair_pass().await;
                return None;
            }
            other => panic!("no driver for {other}: write one"),
        };
        Some(answer)
    }

    /// Whether what was deferred is refused until it is made up for, and then is there as a whole; `None` of what is not deferred here.
    pub async fn is_made_up(&self, world: &World) -> Option<bool> {
        if self.operation != "put-defer" {
            return None;
        }
        let early = world.s3("GET", "/defer/new", "", &[], Bytes::new()).await;
        world.cure().await;
        let _ = world.store.scan_stored().await;
        let late = world.s3("GET", "/defer/new", "", &[], Bytes::new()).await;
        Some(early.status == 503 && late.status.is_success() && late.body == body(SIZES[1] + self.size))
    }

    /// Whether what was answered as if nothing had failed is what it must be.
    pub fn is_right(&self, answer: &Answer) -> bool {
        match self.operation.as_str() {
            "get" => answer.body == body(self.size),
            "list" => String::from_utf8_lossy(&answer.body).contains("<Key>k</Key>"),
            "kms-decrypt" => answer.json()["Plaintext"] == "eA==",
            _ => true,
        }
    }

    async fn put(&self, world: &World, path: &str, size: usize) -> Answer {
        world.s3("PUT", path, "", &sse(world), body(size)).await
    }

    /// One that the scan service has not seen yet.
    fn other_body(&mut self) -> Bytes {
        self.size += 1;
        body(SIZES[1] + self.size)
    }

    async fn part(world: &World, upload: &str) -> Answer {
        let query = format!("partNumber=1&uploadId={upload}");
        world.s3("PUT", "/bbb/u", &query, &[], body(SIZES[0])).await
    }
}

/// Blobs that repair has to look at.
pub async fn backlog(world: &World) -> u64 {
    world.store.status().await.unwrap().repair_backlog
}

fn sse(world: &World) -> [(&'static str, &str); 2] {
    [(SSE, "aws:kms"), (SSE_KEY, &world.key)]
}
