//! Roles and what they are granted.
//!
//! The default roles and grants stand in [`permission`](crate::permission); the log holds what a
//! workspace changed of them.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

use crate::id::RoleId;
use crate::permission::{DEFAULT_GRANTS, DEFAULT_ROLES, RoleScope};
use crate::seal::{Confidential, Part};

/// What a role is, beside its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDetails {
    pub name: String,
    pub scope: RoleScope,
    pub description: String,
    pub mandatory_2fa: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
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
