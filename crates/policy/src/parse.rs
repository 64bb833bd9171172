//! From bytes to a [`Policy`].
//!
//! Source: IAM User Guide, "IAM JSON policy elements reference" and "Grammar of the IAM JSON policy
//! language". Names of elements are exact, case included, so that a misspelt restriction is refused and
//! not passed over.

use std::collections::HashSet;

use crate::actions::{self, Level};
use crate::condition::Condition;
use crate::error::{PolicyError, Reason, StatementId, quote};
use crate::json::Json;
use crate::keys;
use crate::pattern::{Syntax, Template};
use crate::principal::{self, PrincipalRule, Who};
use crate::resource::ArnPattern;
use crate::{DOCUMENT_BYTES_MAX, Effect, Kind, Policy, Rule, Statement, WILDCARDS_MAX};

impl Policy {
    /// Reads a policy document that is to be put.
    ///
    /// # Errors
    /// [`PolicyError`] with what AWS says of such a document, and the statement that is at fault.
    pub fn parse(document: &[u8], kind: Kind<'_>) -> Result<Self, PolicyError> {
        let policy = Self::stored(document, kind)?;
        for statement in &policy.statements {
            let fault = |reason| PolicyError { reason, statement: Some(statement.id.clone()) };
            statement.check_new(kind).map_err(fault)?;
        }
        Ok(policy)
    }

    /// Reads a policy document that was taken once: what only new ones are held to does not make it
    /// unreadable, which would shut everybody out.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn stored(document: &[u8], kind: Kind<'_>) -> Result<Self, PolicyError> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(Reason::TooLarge.into());
        }
        if document.first() != Some(&b'{') {
            return Err(Reason::NotAnObject.into());
        }
        let json = Json::parse(document).ok_or(Reason::NotJson)?;
        if let Some(name) = json.duplicate() {
            return Err(Reason::DuplicateField(quote(name)).into());
        }
        let fields = Fields(json.as_object().ok_or(Reason::NotAnObject)?);
        fields.only(&["Version", "Id", "Statement"])?;

        // "If you do not include a Version element, the value defaults to 2008-10-17."
        let variables = match fields.text("Version", kind)? {
            None | Some("2008-10-17") => false,
            Some("2012-10-17") => true,
            Some(_) => return Err(Reason::Version.into()),
        };
        let id = fields.text("Id", kind)?.map(str::to_owned);
        let mut statements = Vec::new();
        let mut sids = HashSet::new();
        for (index, element) in
            fields.get("Statement").ok_or(Reason::MissingField("Statement"))?.as_list().iter().enumerate()
        {
            let mut at = StatementId { index, sid: None };
            let read = Reader { kind, variables }.statement(element, &mut at);
            let read = read.and_then(|statement| match &at.sid {
                Some(sid) if !sids.insert(sid.clone()) => Err(Reason::SidTwice),
                _ => Ok(statement),
            });
            statements.push(read.map_err(|reason| PolicyError { reason, statement: Some(at) })?);
        }
        if statements.is_empty() {
            return Err(Reason::NoStatements.into());
        }
        Ok(Self { document: document.into(), id, statements })
    }
}

impl Statement {
    /// What a new policy is held to beyond being one: keys that its service has, or a denial might never fire;
    /// and patterns that cost little to match.
    fn check_new(&self, kind: Kind<'_>) -> Result<(), Reason> {
        if !self.conditions.iter().all(|condition| keys::is_known(kind, &condition.key)) {
            return Err(Reason::ConditionKey);
        }
        let actions = self.actions.items().iter().map(Template::wildcards);
        let resources = self.resources.items().iter().map(ArnPattern::wildcards);
        let conditions = self.conditions.iter().map(|condition| condition.wanted.wildcards());
        let most = actions.chain(resources).chain(conditions).max().unwrap_or_default();
        if most > WILDCARDS_MAX { Err(Reason::Wildcards) } else { Ok(()) }
    }
}

/// The fields of a JSON object.
struct Fields<'a>(&'a [(String, Json)]);

impl<'a> Fields<'a> {
    fn only(&self, known: &[&str]) -> Result<(), Reason> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(Reason::UnknownField(quote(name))),
            None => Ok(()),
        }
    }

    fn get(&self, name: &str) -> Option<&'a Json> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    fn text(&self, name: &str, kind: Kind<'_>) -> Result<Option<&'a str>, Reason> {
        self.get(name).map(|value| value.as_str().ok_or_else(|| syntax(kind))).transpose()
    }

    /// An element or its `Not` twin; both at once are an error.
    fn rule(&self, name: &str, not: &str, kind: Kind<'_>) -> Result<Option<Rule<&'a Json>>, Reason> {
        match (self.get(name), self.get(not)) {
            (Some(_), Some(_)) => Err(syntax(kind)),
            (Some(value), None) => Ok(Some(Rule::In(vec![value]))),
            (None, Some(value)) => Ok(Some(Rule::NotIn(vec![value]))),
            (None, None) => Ok(None),
        }
    }
}

/// "This is not how a policy is written", in the words of S3 or of IAM.
fn syntax(kind: Kind<'_>) -> Reason {
    match kind {
        Kind::Identity => Reason::IdentitySyntax,
        Kind::Resource { .. } | Kind::Key { .. } => Reason::Syntax,
    }
}

impl Rule<&Json> {
    /// Reads each string of the element.
    fn read<T>(self, kind: Kind<'_>, read: impl Fn(&str) -> Result<T, Reason>) -> Result<Rule<T>, Reason> {
        let all = |elements: Vec<&Json>| -> Result<Vec<T>, Reason> {
            let strings = elements.first().and_then(|element| element.as_strings()).ok_or_else(|| syntax(kind))?;
            strings.into_iter().map(read).collect()
        };
        Ok(match self {
            Self::In(elements) => Rule::In(all(elements)?),
            Self::NotIn(elements) => Rule::NotIn(all(elements)?),
        })
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    kind: Kind<'a>,
    variables: bool,
}

impl Reader<'_> {
    /// Reads a statement; `at` learns its name as soon as it is known, for errors that follow.
    fn statement(self, element: &Json, at: &mut StatementId) -> Result<Statement, Reason> {
        let kind = self.kind;
        let fields = Fields(element.as_object().ok_or_else(|| syntax(kind))?);
        at.sid = fields.text("Sid", kind)?.filter(|sid| !sid.is_empty()).map(str::to_owned);
        fields.only(&[
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ])?;
        // S3 takes any text for a Sid, IAM does not.
        let plain = at.sid.iter().flat_map(|sid| sid.bytes()).all(|b| b.is_ascii_alphanumeric());
        if kind == Kind::Identity && !plain {
            return Err(Reason::SidCharacters);
        }
        let effect = match fields.text("Effect", kind)?.ok_or(Reason::MissingField("Effect"))? {
            "Allow" => Effect::Allow,
            "Deny" => Effect::Deny,
            other => return Err(Reason::Effect(quote(other))),
        };
        let principal = self.principal(&fields)?;
        let actions = fields.rule("Action", "NotAction", kind)?.ok_or(self.missing(Reason::NoActions))?;
        let actions = actions.read(kind, |action| self.action(action))?;
        let resources = fields.rule("Resource", "NotResource", kind)?.ok_or(self.missing(Reason::NoResources))?;
        let resources = resources.read(kind, |resource| self.resource(resource))?;
        if let Kind::Resource { bucket } = kind {
            meet(&actions, &resources, bucket)?;
        }
        let conditions = match fields.get("Condition") {
            Some(element) => Condition::parse_all(element, self.variables, &syntax(kind))?,
            None => Vec::new(),
        };
        Ok(Statement { id: at.clone(), effect, principal, actions, resources, conditions })
    }

    fn missing(self, to_iam: Reason) -> Reason {
        match self.kind {
            Kind::Identity => to_iam,
            Kind::Resource { .. } | Kind::Key { .. } => Reason::MissingElement,
        }
    }

    fn principal(self, fields: &Fields<'_>) -> Result<PrincipalRule, Reason> {
        let rule = fields.rule("Principal", "NotPrincipal", self.kind)?;
        let read = |elements: Vec<&Json>| elements.first().and_then(|element| self.principals(element));
        match (self.kind, rule) {
            (Kind::Identity, None) => Ok(PrincipalRule::Bearer),
            (Kind::Identity, Some(_)) => Err(Reason::PrincipalNotAllowed),
            (Kind::Resource { .. } | Kind::Key { .. }, None) => Err(Reason::MissingField("Principal")),
            (_, Some(Rule::In(it))) => read(it).map(PrincipalRule::In).ok_or(Reason::Principal),
            (_, Some(Rule::NotIn(it))) => read(it).map(PrincipalRule::NotIn).ok_or(Reason::Principal),
        }
    }

    /// A key is used by its own account only: who else is named would be promised what he does not get.
    fn principals(self, element: &Json) -> Option<Vec<Who>> {
        let list = principal::parse(element)?;
        let Kind::Key { account } = self.kind else { return Some(list) };
        list.iter().all(|who| who.may_be_of(account)).then_some(list)
    }

    /// `*`, or `service:Name` where the name may hold wildcards. Case does not matter.
    fn action(self, written: &str) -> Result<Template, Reason> {
        let refused = |otherwise| match self.kind {
            Kind::Identity => otherwise,
            Kind::Resource { .. } | Kind::Key { .. } => Reason::Action,
        };
        if written != "*" {
            let (service, name) = written.split_once(':').ok_or_else(|| refused(Reason::Vendor))?;
            let service_is_one = !service.is_empty() && service.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let name_is_one =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"*?-_".contains(&b));
            if !service_is_one {
                return Err(refused(Reason::Vendor));
            }
            if !name_is_one {
                return Err(refused(Reason::IdentitySyntax));
            }
        }
        let syntax = Syntax { wildcards: true, variables: false };
        let pattern = Template::parse(&written.to_ascii_lowercase(), syntax).map_err(|_| Reason::Action)?;
        let means_none = match self.kind {
            Kind::Identity => false,
            Kind::Resource { .. } => actions::levels(&pattern).next().is_none(),
            Kind::Key { .. } => !actions::means_key(&pattern),
        };
        if means_none {
            return Err(Reason::Action);
        }
        Ok(pattern)
    }

    fn resource(self, written: &str) -> Result<ArnPattern, Reason> {
        let pattern = ArnPattern::read(written, self.variables).map_err(|_| Reason::Variable(quote(written)))?;
        match self.kind {
            Kind::Identity => pattern.ok_or_else(|| Reason::ResourceFormat(quote(written))),
            Kind::Key { .. } => {
                pattern.filter(|pattern| matches!(pattern, ArnPattern::Everything)).ok_or(Reason::Resource)
            }
            Kind::Resource { bucket } => {
                pattern.filter(|pattern| reach(pattern, bucket) != (false, false)).ok_or(Reason::Resource)
            }
        }
    }
}

/// Whether a pattern can mean the bucket, and whether it can mean an object in it. S3 also takes a
/// pattern that could mean other buckets as well (`arn:aws:s3:::*`): the policy is asked about this one
/// only.
fn reach(pattern: &ArnPattern, bucket: &str) -> (bool, bool) {
    match pattern.in_s3() {
        Some(name) => (name.could_match(bucket), name.could_begin_with(&format!("{bucket}/"))),
        None => (false, false),
    }
}

/// Every action must be one of the bucket or of its objects, whichever the resources name. Of what a
/// `Not` element leaves, this cannot be asked.
fn meet(actions: &Rule<Template>, resources: &Rule<ArnPattern>, bucket: &str) -> Result<(), Reason> {
    let (Rule::In(actions), Rule::In(resources)) = (actions, resources) else { return Ok(()) };
    let reaches = resources.iter().map(|resource| reach(resource, bucket));
    let (whole, objects) = reaches.fold((false, false), |all, one| (all.0 || one.0, all.1 || one.1));
    let applies = |action: &Template| {
        actions::levels(action).any(|level| match level {
            Level::Account => false,
            Level::Bucket => whole,
            Level::Object => objects,
        })
    };
    if actions.iter().all(applies) { Ok(()) } else { Err(Reason::NotApplicable) }
}
