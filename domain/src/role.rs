//! Roles and what they are granted.
//!
//! The default roles and grants stand in [`permission`](crate::permission); the log holds what a
//! workspace changed of them.

use std::sync::Arc;

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

use crate::id::RoleId;
use crate::permission::{DEFAULT_GRANTS, DEFAULT_ROLES, RoleScope};
use crate::seal::{Confidential, Part};

/// The roles that somebody has: mostly one or two, in the order that they were given in.
/// Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(Arc<[RoleId]>);

impl Roles {
    pub fn contains(&self, role: impl AsRef<str>) -> bool {
        self.0.iter().any(|held| held.as_str() == role.as_ref())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, RoleId> {
        self.0.iter()
    }

    pub fn insert(&mut self, role: RoleId) {
        if !self.contains(&role) {
            *self = self.iter().cloned().chain([role]).collect();
        }
    }

    pub fn remove(&mut self, role: &RoleId) {
        *self = self.iter().filter(|held| *held != role).cloned().collect();
    }
}

impl FromIterator<RoleId> for Roles {
    fn from_iter<I: IntoIterator<Item = RoleId>>(roles: I) -> Self {
        Self(roles.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Roles {
    type Item = &'a RoleId;
    type IntoIter = std::slice::Iter<'a, RoleId>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What a role is, beside its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDetails {
    pub name: String,
    pub scope: RoleScope,
    pub description: String,
    pub mandatory_2fa: bool,
}

#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
pub enum RoleEvent {
    RoleCreated { details: RoleDetails },
    RoleChanged { details: RoleDetails },
    RoleDeleted {},
}

#[derive(Debug, Clone)]
pub enum RoleCommand {
    Create(RoleDetails),
    Change(RoleDetails),
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    #[error("the role exists already")]
    Exists,
    #[error("there is no such role")]
    Missing,
    #[error("a role of the system can't be deleted")]
    Protected,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// `None` for a role that is not, or no longer, there.
    pub details: Option<RoleDetails>,
    /// One of the default roles.
    pub protected: bool,
}

impl Role {
    /// The roles that every workspace starts with.
    pub fn defaults() -> impl Iterator<Item = (RoleId, Self)> {
        DEFAULT_ROLES.iter().map(|role| {
            let details = RoleDetails {
                name: role.id.to_owned(),
                scope: role.scope,
                description: role.description.to_owned(),
                mandatory_2fa: role.mandatory2fa,
            };
            (
                RoleId::new(role.id),
                Self {
                    details: Some(details),
                    protected: true,
                },
            )
        })
    }
}

impl DomainEvent for RoleEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for RoleEvent {
    fn parts(&mut self, _: &mut dyn FnMut(&mut dyn Part)) {}
}

impl Aggregate for Role {
    const TYPE: &'static str = "role";
    type Command = RoleCommand;
    type Event = RoleEvent;
    type Error = RoleError;
    type Services = ();

    async fn handle(
        &mut self,
        command: RoleCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), RoleError> {
        let event = match command {
            RoleCommand::Create(_) if self.details.is_some() => return Err(RoleError::Exists),
            RoleCommand::Create(details) => RoleEvent::RoleCreated { details },
            _ if self.details.is_none() => return Err(RoleError::Missing),
            RoleCommand::Change(details) if self.details.as_ref() == Some(&details) => {
                return Ok(());
            }
            RoleCommand::Change(details) => RoleEvent::RoleChanged { details },
            RoleCommand::Delete if self.protected => return Err(RoleError::Protected),
            RoleCommand::Delete => RoleEvent::RoleDeleted {},
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: RoleEvent) {
        self.details = match event {
            RoleEvent::RoleCreated { details } | RoleEvent::RoleChanged { details } => {
                Some(details)
            }
            RoleEvent::RoleDeleted {} => None,
        };
    }
}

#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
pub enum PermissionEvent {
    /// Exactly these roles have the permission now.
    PermissionGrantsChanged { roles: Vec<RoleId> },
}

#[derive(Debug, Clone)]
pub enum PermissionCommand {
    /// Grants the permission to exactly these roles.
    Grant(Vec<RoleId>),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermissionError {
    #[error("there is no such permission")]
    Missing,
}

/// Who has a permission.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Permission {
    pub known: bool,
    pub roles: Vec<RoleId>,
}

impl Permission {
    /// The grants that every workspace starts with.
    pub fn defaults() -> impl Iterator<Item = (&'static str, Self)> {
        DEFAULT_GRANTS.iter().map(|(id, roles)| {
            let roles = roles.iter().map(RoleId::new).collect();
            (*id, Self { known: true, roles })
        })
    }
}

impl DomainEvent for PermissionEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for PermissionEvent {
    fn parts(&mut self, _: &mut dyn FnMut(&mut dyn Part)) {}
}

impl Aggregate for Permission {
    const TYPE: &'static str = "permission";
    type Command = PermissionCommand;
    type Event = PermissionEvent;
    type Error = PermissionError;
    type Services = ();

    async fn handle(
        &mut self,
        PermissionCommand::Grant(roles): PermissionCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), PermissionError> {
        if !self.known {
            return Err(PermissionError::Missing);
        }
        if self.roles != roles {
            sink.write(PermissionEvent::PermissionGrantsChanged { roles }, self)
                .await;
        }
        Ok(())
    }

    fn apply(&mut self, PermissionEvent::PermissionGrantsChanged { roles }: PermissionEvent) {
        self.roles = roles;
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn role() -> TestFramework<Role> {
        TestFramework::with(())
    }

    fn details(description: &str) -> RoleDetails {
        RoleDetails {
            name: "archivist".into(),
            scope: RoleScope::Users,
            description: description.into(),
            mandatory_2fa: false,
        }
    }

    fn created() -> RoleEvent {
        RoleEvent::RoleCreated {
            details: details("keeps the record"),
        }
    }

    #[tokio::test]
    async fn a_role_is_created_once_and_again_after_it_was_deleted() {
        let create = || RoleCommand::Create(details("keeps the record"));
        role()
            .given_no_previous_events()
            .when_async(create())
            .await
            .then_expect_events(vec![created()]);
        role()
            .given(vec![created()])
            .when_async(create())
            .await
            .then_expect_error(RoleError::Exists);
        role()
            .given(vec![created(), RoleEvent::RoleDeleted {}])
            .when_async(create())
            .await
            .then_expect_events(vec![created()]);
    }

    #[tokio::test]
    async fn only_a_role_that_is_there_is_changed_or_deleted() {
        for given in [vec![], vec![created(), RoleEvent::RoleDeleted {}]] {
            for command in [RoleCommand::Change(details("reads")), RoleCommand::Delete] {
                role()
                    .given(given.clone())
                    .when_async(command)
                    .await
                    .then_expect_error(RoleError::Missing);
            }
        }
        role()
            .given(vec![created()])
            .when_async(RoleCommand::Delete)
            .await
            .then_expect_events(vec![RoleEvent::RoleDeleted {}]);
    }

    #[tokio::test]
    async fn a_change_is_recorded_when_it_is_one() {
        role()
            .given(vec![created()])
            .when_async(RoleCommand::Change(details("reads")))
            .await
            .then_expect_events(vec![RoleEvent::RoleChanged {
                details: details("reads"),
            }]);
        role()
            .given(vec![created()])
            .when_async(RoleCommand::Change(details("keeps the record")))
            .await
            .then_expect_events(vec![]);
    }

    #[test]
    fn a_role_of_the_system_can_be_changed_but_not_deleted() {
        for (id, mut role) in Role::defaults() {
            let command = RoleCommand::Delete;
            let refused = decide(&mut role, command);
            assert_eq!(refused, Err(RoleError::Protected), "{id}");
            let mut described = role.details.clone().unwrap();
            described.description = "of the house".into();
            assert_eq!(
                decide(&mut role, RoleCommand::Change(described)),
                Ok(()),
                "{id}"
            );
            assert!(role.protected, "{id}");
        }
    }

    /// A command on a role that did not come from events.
    fn decide(role: &mut Role, command: RoleCommand) -> Result<(), RoleError> {
        futures::executor::block_on(role.handle(command, &(), &EventSink::default()))
    }

    #[tokio::test]
    async fn a_permission_that_nobody_knows_is_not_granted() {
        TestFramework::<Permission>::with(())
            .given_no_previous_events()
            .when_async(PermissionCommand::Grant(vec!["admin".into()]))
            .await
            .then_expect_error(PermissionError::Missing);
    }

    #[test]
    fn a_grant_names_all_roles_that_have_the_permission_from_then_on() {
        let (_, mut permission) = Permission::defaults()
            .find(|(id, _)| *id == "view-outside-room")
            .unwrap();
        let before = permission.roles.clone();
        let grant = |permission: &mut Permission, roles: Vec<RoleId>| {
            let sink = EventSink::default();
            let command = PermissionCommand::Grant(roles);
            futures::executor::block_on(permission.handle(command, &(), &sink)).unwrap();
            futures::executor::block_on(sink.collect())
        };
        assert_eq!(grant(&mut permission, before), vec![]);
        let roles = vec![RoleId::new("guest")];
        let recorded = vec![PermissionEvent::PermissionGrantsChanged {
            roles: roles.clone(),
        }];
        assert_eq!(grant(&mut permission, roles.clone()), recorded);
        assert_eq!(permission.roles, roles);
    }
}
