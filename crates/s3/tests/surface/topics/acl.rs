//! ACLs are off: the owner of the bucket owns all ("Controlling ownership of objects").

use crate::row::{Scene, delete, get, put, scene};

const GROUP: &str = "<AccessControlPolicy><Owner><ID>root</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>";

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("of a bucket", [
            get("/{b}?acl").has("<Permission>FULL_CONTROL</Permission>").has("<Owner>").has("xsi:type=\"CanonicalUser\""),
            put("/{b}?acl").with("x-amz-acl", "bucket-owner-full-control"),
            put("/{b}?acl").with("x-amz-acl", "private"),
            put("/{b}?acl").with("x-amz-acl", "public-read").fails(400, "AccessControlListNotSupported"),
            put("/{b}?acl").with("x-amz-acl", "public-read-write").fails(400, "AccessControlListNotSupported"),
            put("/{b}?acl").with("x-amz-acl", "everybody").fails(400, "InvalidArgument"),
            put("/{b}?acl").with("x-amz-grant-read", "id=someone").fails(400, "AccessControlListNotSupported"),
            put("/{b}?acl").sends(GROUP).fails(400, "AccessControlListNotSupported"),
            put("/{b}?acl").sends("<AccessControlPolicy>").fails(400, "MalformedACLError").differs(400, "MalformedXML", "one code for all documents that cannot be read"),
            get("/{b}?acl").lacks("AllUsers"),
        ]),
        scene("of an object", [
            put("/{b}/k").sends("x"),
            get("/{b}/k?acl").has("<Permission>FULL_CONTROL</Permission>"),
            put("/{b}/k?acl").with("x-amz-acl", "bucket-owner-full-control"),
            put("/{b}/k?acl").with("x-amz-acl", "public-read").fails(400, "AccessControlListNotSupported"),
            put("/{b}/k?acl").sends(GROUP).fails(400, "AccessControlListNotSupported"),
            get("/{b}/none?acl").fails(404, "NoSuchKey"),
            put("/{b}/none?acl").with("x-amz-acl", "private").fails(404, "NoSuchKey"),
            put("/{b}/new").sends("x").with("x-amz-acl", "bucket-owner-full-control"),
            put("/{b}/new").sends("x").with("x-amz-acl", "private"),
            put("/{b}/public").sends("x").with("x-amz-acl", "public-read").fails(400, "AccessControlListNotSupported"),
            put("/{b}/public").sends("x").with("x-amz-acl", "everybody").fails(400, "InvalidArgument"),
            put("/{b}/public").sends("x").with("x-amz-grant-full-control", "id=someone").fails(400, "AccessControlListNotSupported"),
            get("/{b}/public").fails(404, "NoSuchKey"),
        ]),
        scene("of a new bucket", [
            put("/{c}").with("x-amz-acl", "public-read").fails(400, "InvalidBucketAclWithObjectOwnership"),
            put("/{c}").with("x-amz-object-ownership", "ObjectWriter"),
            delete("/{c}").is(204),
            put("/{c}").with("x-amz-object-ownership", "BucketOwnerEnforced"),
        ]),
    ]
}
