//! Releases of keys: what is asked, on what terms it is granted, and the seam to the language that decides. Pure.
//!
//! Every policy that permits adds its [`Terms`], so that a wide permit cannot take back what a narrow one asks for.

mod language;
mod mistake;
mod question;
mod terms;

pub use language::{Decision, Language, NoLanguage, Outcome, Policies};
pub use mistake::{Mistake, Mistakes};
pub use question::{Action, Circumstances, Portion, Principal, Question, Via};
pub use terms::{Budget, Pend, Terms};
