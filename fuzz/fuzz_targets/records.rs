//! Stored records and keys of any bytes are refused or read.
#![no_main]
use libfuzzer_sys::fuzz_target;
use meta::record::{
    AccessKeyRecord, BlobRecord, BucketRecord, DataRecord, DropRecord, GarbageRecord, GroupRecord, KeyGrantRecord,
    NamedUser, ObjectRecord, PartRecord, PortionKeyRecord, Record, RepairRecord, SiteRecord, TenantRecord,
    UploadRecord, UserRecord, WrappedSiteRecord, key,
};

fuzz_target!(|bytes: &[u8]| {
    let _ = BlobRecord::decode(bytes).map(|record| record.segments());
    let _ = BucketRecord::decode(bytes);
    let _ = DataRecord::decode(bytes);
    let _ = DropRecord::decode(bytes);
    let _ = GarbageRecord::decode(bytes);
    let _ = KeyGrantRecord::decode(bytes);
    let _ = ObjectRecord::decode(bytes);
    let _ = PartRecord::decode(bytes);
    let _ = PortionKeyRecord::decode(bytes);
    let _ = RepairRecord::decode(bytes);
    let _ = SiteRecord::decode(bytes);
    let _ = UploadRecord::decode(bytes);
    let _ = WrappedSiteRecord::decode(bytes);
    let _ = NamedUser::decode(bytes);
    let _ = UserRecord::of_version_1("k", bytes);
    let _ = AccessKeyRecord::decode(bytes);
    let _ = GroupRecord::decode(bytes);
    let _ = TenantRecord::decode(bytes);
    let _ = key::tenant_of(bytes);
    let _ = key::upload_of(bytes);
    let _ = key::part_number_of(bytes);
    let _ = key::object_name_of(bytes);
    let _ = key::blob_of(bytes);
});
