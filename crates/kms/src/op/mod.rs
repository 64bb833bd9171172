//! Operations, a file each: what is asked, what is answered.

pub(crate) mod cancel_key_deletion;
pub(crate) mod create_alias;
pub(crate) mod create_key;
pub(crate) mod decrypt;
pub(crate) mod delete_alias;
pub(crate) mod describe_key;
pub(crate) mod disable_key;
pub(crate) mod disable_key_rotation;
pub(crate) mod enable_key;
pub(crate) mod enable_key_rotation;
pub(crate) mod encrypt;
pub(crate) mod generate_data_key;
pub(crate) mod generate_data_key_without_plaintext;
pub(crate) mod generate_random;
pub(crate) mod get_key_rotation_status;
pub(crate) mod list_aliases;
pub(crate) mod list_key_rotations;
pub(crate) mod list_keys;
pub(crate) mod list_resource_tags;
pub(crate) mod re_encrypt;
pub(crate) mod rotate_key_on_demand;
pub(crate) mod schedule_key_deletion;
pub(crate) mod tag_resource;
pub(crate) mod untag_resource;
pub(crate) mod update_alias;
pub(crate) mod update_key_description;
