//! A question as Cedar takes it.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value,
};
use release::{Circumstances, Question};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// How Cedar reads a moment (RFC 80 of Cedar).
const DATETIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

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

impl Asked {
    /// `None` for what Cedar cannot be asked, which nothing here makes.
    pub(crate) fn of(question: &Question<'_>) -> Option<Self> {
        let tenant = uid("Tenant", question.tenant)?;
        let groups: HashSet<EntityUid> =
            question.principal.groups.iter().map(|name| uid("Group", name)).collect::<Option<_>>()?;
        let principal = match question.principal.name {
            Some(name) => uid("User", name)?,
            None => uid("Anonymous", "anonymous")?,
        };
        let resource = uid("Portion", question.portion.name)?;
        let action = uid("Action", question.action.name())?;
        let who = HashMap::from([
            ("name".to_owned(), text(question.principal.name.unwrap_or("anonymous"))),
            ("root".to_owned(), Value::new_bool(question.principal.is_root)),
        ]);
        let what = HashMap::from([
            ("name".to_owned(), text(question.portion.name)),
            ("key".to_owned(), text(question.portion.key)),
            ("class".to_owned(), text(question.portion.class)),
        ]);
        let tags = question.portion.tags.iter().map(|(name, value)| (name.clone(), text(value)));
        let mut entities = vec![
            Entity::new(principal.clone(), who, groups.clone()).ok()?,
            Entity::new_with_tags(resource.clone(), what, HashSet::from([tenant.clone()]), tags).ok()?,
            Entity::new_no_attrs(tenant.clone(), HashSet::new()),
        ];
        entities.extend(groups.iter().map(|group| Entity::new_no_attrs(group.clone(), HashSet::new())));
        let entities = Entities::from_entities(entities, None).ok()?;
        let request =
            Request::new(principal.clone(), action, resource.clone(), context(&question.circumstances)?, None).ok()?;
        Some(Self { request, entities, principal, groups, resource, tenant })
    }
}

fn context(circumstances: &Circumstances) -> Option<Context> {
    let Circumstances { now_ms, via, temporary, address } = *circumstances;
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
