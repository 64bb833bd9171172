//! Release policies in Cedar, with the schema of `schema.cedarschema`. Pure.
//!
//! To Cedar are added:
//!
//! * Annotations of a `permit` say on what terms it releases (see [`release::Terms::of`]).
//! * Policies are indexed by what their scope names, and only those that could hold are evaluated: Cedar itself looks at
//!   each of them.
//! * A policy that fails while it is evaluated (an overflow) denies. Cedar would skip it, be it a denial.
//!
//! A crate of its own because Cedar takes minutes to compile: only what serves is built with it.

mod policies;
mod question;
mod schema;
mod slice;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use release::{Language, Mistakes, Policies};

pub use schema::SCHEMA;

/// The language.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cedar;

impl Language for Cedar {
    fn parse(&self, documents: &[(&str, &str)]) -> Result<Arc<dyn Policies>, Mistakes> {
        Ok(Arc::new(policies::Known::parse(documents)?))
    }
}
