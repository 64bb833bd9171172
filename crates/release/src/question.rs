//! What is asked: who wants to do what with which portion, in what circumstances.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value,
};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// How Cedar reads a moment (RFC 80 of Cedar).
const DATETIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Principal<'a> {
    /// The user's name, `root` for the tenant's root; `None`: the request was not signed.
    pub name: Option<&'a str>,
    /// The groups that the user is in.
    pub groups: &'a [String],
    /// Whether it is the tenant's root.
    pub is_root: bool,
}

/// What it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// To open what is under the portion's key.
    Open,
    /// To seal more under it.
    Seal,
}

impl Action {
    /// As policies write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Seal => "seal",
        }
    }
}

/// What is to be released.
#[derive(Debug, Clone, Copy)]
pub struct Portion<'a> {
    /// Its name.
    pub name: &'a str,
    /// The id of its key, with dashes.
    pub key: &'a str,
    /// `sealed` or `quorum`.
    pub class: &'a str,
    /// Its tags.
    pub tags: &'a BTreeMap<String, String>,
}

/// By which door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// The S3 API.
    S3,
    /// The KMS API.
    Kms,
    /// The plugin of Kubernetes.
    Kubernetes,
}

impl Via {
    /// As policies write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Kms => "kms",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// The circumstances of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// By which door.
    pub via: Via,
    /// Whether the caller acts by temporary credentials.
    pub temporary: bool,
    /// The client's address.
    pub address: Option<IpAddr>,
}

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// Who asks.
    pub principal: Principal<'a>,
    /// For what.
    pub action: Action,
    /// Of what.
    pub portion: Portion<'a>,
    /// In what circumstances.
    pub circumstances: Circumstances,
}

/// A question as Cedar takes it.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) entities: Entities,
    pub(crate) principal: EntityUid,
    pub(crate) groups: HashSet<EntityUid>,
    pub(crate) resource: EntityUid,
    pub(crate) tenant: EntityUid,
}

fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    Some(EntityUid::from_type_name_and_id(kind.parse::<EntityTypeName>().ok()?, EntityId::new(id)))
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

impl Question<'_> {
    /// `None` for what Cedar cannot be asked, which nothing here makes.
    pub(crate) fn asked(&self) -> Option<Asked> {
        let tenant = uid("Tenant", self.tenant)?;
        let groups: HashSet<EntityUid> =
            self.principal.groups.iter().map(|name| uid("Group", name)).collect::<Option<_>>()?;
        let principal = match self.principal.name {
            Some(name) => uid("User", name)?,
            None => uid("Anonymous", "anonymous")?,
        };
        let resource = uid("Portion", self.portion.name)?;
        let action = uid("Action", self.action.name())?;
        let who = HashMap::from([
            ("name".to_owned(), text(self.principal.name.unwrap_or("anonymous"))),
            ("root".to_owned(), Value::new_bool(self.principal.is_root)),
        ]);
        let what = HashMap::from([
            ("name".to_owned(), text(self.portion.name)),
            ("key".to_owned(), text(self.portion.key)),
            ("class".to_owned(), text(self.portion.class)),
        ]);
        let tags = self.portion.tags.iter().map(|(name, value)| (name.clone(), text(value)));
        let mut entities = vec![
            Entity::new(principal.clone(), who, groups.clone()).ok()?,
            Entity::new_with_tags(resource.clone(), what, HashSet::from([tenant.clone()]), tags).ok()?,
            Entity::new_no_attrs(tenant.clone(), HashSet::new()),
        ];
        entities.extend(groups.iter().map(|group| Entity::new_no_attrs(group.clone(), HashSet::new())));
        let entities = Entities::from_entities(entities, None).ok()?;
        let request = Request::new(principal.clone(), action, resource.clone(), self.context()?, None).ok()?;
        Some(Asked { request, entities, principal, groups, resource, tenant })
    }

    fn context(&self) -> Option<Context> {
        let Circumstances { now_ms, via, temporary, address } = self.circumstances;
        let now = OffsetDateTime::from_unix_timestamp_nanos(i128::from(now_ms) * 1_000_000).ok()?;
        let mut pairs = vec![
            ("now".to_owned(), Value::new_datetime(now.format(DATETIME).ok()?)),
            ("via".to_owned(), text(via.name())),
            ("temporary".to_owned(), Value::new_bool(temporary)),
        ];
        if let Some(address) = address {
            pairs.push(("source_ip".to_owned(), Value::new_ip(address.to_canonical().to_string())));
        }
        Context::from_pairs(pairs).ok()
    }
}
