//! Release policies: who may open which portion of the data, on what terms. Pure.
//!
//! The language is Cedar, with the schema of `schema.cedarschema`. Three things are added to it:
//!
//! * Annotations of a `permit` say on what [`Terms`] it releases: `@approvals`, `@after`, `@portions` and others. Every
//!   permit that holds adds its terms, so that a wide permit cannot take back what a narrow one asks for.
//! * Policies are indexed by what their scope names, and only those that could hold are evaluated: Cedar itself looks at
//!   each of them.
//! * A policy that fails while it is evaluated (an overflow) denies. Cedar would skip it, be it a denial.
//!
//! Where a tenant has no policy at all, everything is released: IAM policies and grants decide alone.

mod mistake;
mod policies;
mod question;
mod schema;
mod slice;
mod terms;

#[cfg(test)]
mod tests;

pub use mistake::{Mistake, Mistakes};
pub use policies::{Decision, Outcome, Policies};
pub use question::{Action, Circumstances, Portion, Principal, Question, Via};
pub use schema::SCHEMA;
pub use terms::{Budget, Pend, Terms};
