//! The schema that policies are checked against.

use std::sync::LazyLock;

use cedar_policy::{Schema, Validator};

/// The schema in Cedar's own syntax.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// Checks policies.
pub(crate) static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    // It is a constant, which a test reads.
    Validator::new(Schema::from_cedarschema_str(SCHEMA).expect("the schema is one").0)
});
