//! ListMultipartUploads and ListParts.

use crate::row::{Scene, delete, get, post, put, scene};

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("uploads", [
            get("/{b}?uploads").lacks("<Upload>").tag("IsTruncated", "false").tag("Bucket", "{b}").tag("MaxUploads", "1000"),
            post("/{b}/a?uploads").keep("a", "<UploadId>").tag("Bucket", "{b}").tag("Key", "a"),
            post("/{b}/d/1?uploads").keep("d", "<UploadId>"),
            post("/{b}/e?uploads").keep("e", "<UploadId>"),
            get("/{b}?uploads").tags("Key", &["a", "d/1", "e"]).tags("UploadId", &["{a}", "{d}", "{e}"]).has("<Initiated>20").has(".000Z</Initiated>").has("<Initiator>").has("<StorageClass>STANDARD</StorageClass>"),
            get("/{b}").lacks("<Key>"),
            get("/{b}?uploads&delimiter=/").tags("Key", &["a", "e"]).tag("CommonPrefixes", "<Prefix>d/</Prefix>"),
            get("/{b}?uploads&prefix=d/").tag("Key", "d/1").tag("UploadId", "{d}"),
            get("/{b}?uploads&prefix=none").lacks("<Upload>"),
            get("/{b}?uploads&max-uploads=1").tag("Key", "a").tag("IsTruncated", "true").tag("NextKeyMarker", "a").tag("NextUploadIdMarker", "{a}").tag("MaxUploads", "1"),
            get("/{b}?uploads&max-uploads=1&key-marker=a&upload-id-marker={a}").tag("Key", "d/1"),
            get("/{b}?uploads&key-marker=a").tags("Key", &["d/1", "e"]).tag("KeyMarker", "a"),
            get("/{b}?uploads&key-marker=e").lacks("<Upload>"),
            // Without a key to go on from, S3 pays no heed to an upload.
            get("/{b}?uploads&upload-id-marker={a}").tags("Key", &["a", "d/1", "e"]),
            get("/{b}?uploads&key-marker=a&upload-id-marker=no-id").fails(400, "InvalidArgument"),
            get("/{b}?uploads&max-uploads=-1").fails(400, "InvalidArgument"),
            get("/{b}?uploads&max-uploads=some").fails(400, "InvalidArgument"),
            get("/{b}?uploads&max-uploads=2000").tag("MaxUploads", "1000"),
            get("/{b}?uploads&encoding-type=hex").fails(400, "InvalidArgument"),
            get("/{b}?uploads&encoding-type=url").tag("EncodingType", "url"),
            delete("/{b}/a?uploadId={a}").is(204),
            get("/{b}?uploads").tags("Key", &["d/1", "e"]),
        ]),
        scene("storage classes", [
            post("/{b}/k?uploads").with("x-amz-storage-class", "STANDARD_IA").keep("id", "<UploadId>"),
            get("/{b}?uploads").tag("StorageClass", "STANDARD_IA"),
            get("/{b}/k?uploadId={id}").tag("StorageClass", "STANDARD_IA"),
        ]),
        scene("parts", [
            post("/{b}/k?uploads").keep("id", "<UploadId>"),
            get("/{b}/k?uploadId={id}").lacks("<Part>").tag("IsTruncated", "false").tag("Key", "k").tag("UploadId", "{id}").tag("MaxParts", "1000").has("<Initiator>").has("<Owner>"),
            put("/{b}/k?partNumber=2&uploadId={id}").sends("two").keep("two", "etag"),
            put("/{b}/k?partNumber=1&uploadId={id}").sends("first").keep("one", "etag"),
            put("/{b}/k?partNumber=7&uploadId={id}").sends("s").keep("seven", "etag"),
            get("/{b}/k?uploadId={id}").tags("PartNumber", &["1", "2", "7"]).tags("Size", &["5", "3", "1"]).tags("ETag", &["{one}", "{two}", "{seven}"]).has("<LastModified>20").has(".000Z</LastModified>"),
            put("/{b}/k?partNumber=1&uploadId={id}").sends("again"),
            get("/{b}/k?uploadId={id}").tags("PartNumber", &["1", "2", "7"]),
            get("/{b}/k?uploadId={id}&max-parts=1").tags("PartNumber", &["1"]).tag("IsTruncated", "true").tag("NextPartNumberMarker", "1").tag("MaxParts", "1"),
            get("/{b}/k?uploadId={id}&max-parts=1&part-number-marker=1").tags("PartNumber", &["2"]).tag("PartNumberMarker", "1"),
            get("/{b}/k?uploadId={id}&part-number-marker=2").tags("PartNumber", &["7"]).tag("IsTruncated", "false"),
            get("/{b}/k?uploadId={id}&part-number-marker=10000").lacks("<Part>"),
            get("/{b}/k?uploadId={id}&max-parts=-1").fails(400, "InvalidArgument"),
            get("/{b}/k?uploadId={id}&max-parts=some").fails(400, "InvalidArgument"),
            get("/{b}/k?uploadId={id}&part-number-marker=-1").fails(400, "InvalidArgument"),
            get("/{b}/k?uploadId={id}&part-number-marker=some").fails(400, "InvalidArgument"),
            get("/{b}/k?uploadId={id}&max-parts=2000").tag("MaxParts", "1000"),
            get("/{b}/k?uploadId=none").fails(404, "NoSuchUpload"),
            get("/{b}/other?uploadId={id}").fails(404, "NoSuchUpload"),
            get("/{c}/k?uploadId={id}").fails(404, "NoSuchBucket"),
        ]),
    ]
}
