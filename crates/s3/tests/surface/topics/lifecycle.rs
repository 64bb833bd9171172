//! Lifecycle configurations: what is a rule and what is none.

use crate::row::{Row, Scene, delete, get, put, scene};

fn rule(inner: &str) -> Row {
    put("/{b}?lifecycle").sends(format!("<LifecycleConfiguration><Rule>{inner}</Rule></LifecycleConfiguration>"))
}

const SIZE: &str = "x-amz-transition-default-minimum-object-size";
const EXPIRES: &str =
    "<Status>Enabled</Status><Filter><Prefix>log/</Prefix></Filter><Expiration><Days>7</Days></Expiration>";

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("configuration", [
            get("/{b}?lifecycle").fails(404, "NoSuchLifecycleConfiguration"),
            delete("/{b}?lifecycle").is(204),
            rule(&format!("<ID>old</ID>{EXPIRES}")),
            get("/{b}?lifecycle").tag("ID", "old").tag("Status", "Enabled").tag("Days", "7").has("<Prefix>log/</Prefix>"),
            rule("<ID>and</ID><Status>Disabled</Status><Filter><And><Prefix>log/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter><Expiration><Days>7</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration>"),
            get("/{b}?lifecycle").tag("ID", "and").tag("Status", "Disabled").has("<And>").tag("NoncurrentDays", "3").lacks("<ID>old</ID>"),
            rule(EXPIRES),
            get("/{b}?lifecycle").has("<ID>"),
            rule("<Prefix>old/</Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>"),
            get("/{b}?lifecycle").has("<Prefix>old/</Prefix>").lacks("<Filter>"),
            rule("<Status>Enabled</Status><Filter/><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>"),
            get("/{b}?lifecycle").tag("DaysAfterInitiation", "2"),
            rule("<Status>Enabled</Status><Filter><ObjectSizeGreaterThan>500</ObjectSizeGreaterThan></Filter><Expiration><Days>1</Days></Expiration>"),
            get("/{b}?lifecycle").tag("ObjectSizeGreaterThan", "500"),
            rule("<Status>Enabled</Status><Filter/><Expiration><Date>2100-01-01T00:00:00Z</Date></Expiration>"),
            get("/{b}?lifecycle").has("<Date>2100-01-01T00:00:00"),
            rule("<Status>Enabled</Status><Filter/><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"),
            get("/{b}?lifecycle").tag("ExpiredObjectDeleteMarker", "true"),
            delete("/{b}?lifecycle").is(204),
            get("/{b}?lifecycle").fails(404, "NoSuchLifecycleConfiguration"),
        ]),
        scene("the least size that is moved", [
            rule(EXPIRES).says(SIZE, "all_storage_classes_128K"),
            get("/{b}?lifecycle").says(SIZE, "all_storage_classes_128K"),
            rule(EXPIRES).with(SIZE, "varies_by_storage_class").says(SIZE, "varies_by_storage_class"),
            get("/{b}?lifecycle").says(SIZE, "varies_by_storage_class"),
            rule(EXPIRES).with(SIZE, "all_storage_classes_128K").says(SIZE, "all_storage_classes_128K"),
            get("/{b}?lifecycle").says(SIZE, "all_storage_classes_128K"),
            rule(EXPIRES).with(SIZE, "varies_by_storage_class"),
            rule(EXPIRES).says(SIZE, "all_storage_classes_128K"),
            rule(EXPIRES).with(SIZE, "varies_by_storage_class"),
            delete("/{b}?lifecycle").is(204),
            rule(EXPIRES).with(SIZE, "none").fails(400, "InvalidArgument").differs(501, "NotImplemented", "a header's value that is not understood is refused"),
            get("/{b}?lifecycle").fails(404, "NoSuchLifecycleConfiguration"),
        ]),
        scene("what is no rule", [
            rule("<Status>Enabled</Status><Filter/><Expiration><Days>0</Days></Expiration>").fails(400, "InvalidArgument"),
            rule("<Status>Enabled</Status><Filter/><Expiration><Days>-1</Days></Expiration>").fails(400, "InvalidArgument"),
            rule("<Status>Enabled</Status><Filter/><Expiration><Days>soon</Days></Expiration>").fails(400, "MalformedXML"),
            rule("<Status>Sometimes</Status><Filter/><Expiration><Days>1</Days></Expiration>").fails(400, "MalformedXML"),
            rule("<Filter/><Expiration><Days>1</Days></Expiration>").fails(400, "MalformedXML"),
            rule("<Status>Enabled</Status><Filter/>").fails(400, "InvalidRequest"),
            rule("<Status>Enabled</Status><Filter><Prefix>a</Prefix></Filter><Prefix>b</Prefix><Expiration><Days>1</Days></Expiration>").fails(400, "MalformedXML"),
            rule("<Status>Enabled</Status><Filter/><Expiration><Days>1</Days><Date>2100-01-01T00:00:00Z</Date></Expiration>").fails(400, "MalformedXML"),
            rule("<Status>Enabled</Status><Filter/><Expiration><Date>2100-01-01T01:00:00Z</Date></Expiration>").fails(400, "InvalidArgument"),
            rule("<Status>Enabled</Status><Filter/><Expiration><Date>tomorrow</Date></Expiration>").fails(400, "MalformedXML"),
            rule("<Status>Enabled</Status><Filter/><NoncurrentVersionExpiration><NoncurrentDays>0</NoncurrentDays></NoncurrentVersionExpiration>").fails(400, "InvalidArgument"),
            rule("<Status>Enabled</Status><Filter/><AbortIncompleteMultipartUpload><DaysAfterInitiation>0</DaysAfterInitiation></AbortIncompleteMultipartUpload>").fails(400, "InvalidArgument"),
            rule("<Status>Enabled</Status><Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>").fails(400, "InvalidRequest"),
            rule("<Status>Enabled</Status><Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>").fails(400, "InvalidRequest"),
            rule(&format!("<ID>{}</ID>{EXPIRES}", "i".repeat(256))).fails(400, "InvalidArgument"),
            put("/{b}?lifecycle").sends(format!("<LifecycleConfiguration><Rule><ID>1</ID>{EXPIRES}</Rule><Rule><ID>1</ID>{EXPIRES}</Rule></LifecycleConfiguration>")).fails(400, "InvalidArgument"),
            put("/{b}?lifecycle").sends("<LifecycleConfiguration></LifecycleConfiguration>").fails(400, "MalformedXML"),
            rule("<Status>Enabled</Status><Filter/><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>").differs(501, "NotImplemented", "there is one class"),
        ]),
    ]
}
