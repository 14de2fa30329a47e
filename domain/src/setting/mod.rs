//! Workspace settings, under Rocket.Chat's ids.
//!
//! What settings there are, with their types and defaults, stands in [`definitions`]; the log holds
//! what a workspace changed. Values are sealed: some are passwords.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::seal::{Confidential, Part, Private};
use crate::vault::KeyId;

pub mod definitions;

#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
pub enum SettingEvent {
    SettingChanged { value: Private<Value> },
}

#[derive(Debug, Clone)]
pub enum SettingCommand {
    /// The value must have been validated against the definition; `key` seals a first change, and
    /// one of a value that is lost.
    Change { key: KeyId, value: Value },
}

/// A setting that was changed; one that never was has its definition's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub key: Option<KeyId>,
    pub value: Option<Value>,
    /// What it was changed to can't be read: the key is not in the vault. It is not known what the
    /// workspace wants, which is not its default.
    pub lost: bool,
}

impl DomainEvent for SettingEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for SettingEvent {
    fn parts(&mut self, visit: &mut dyn FnMut(&mut dyn Part)) {
        let Self::SettingChanged { value } = self;
        visit(value);
    }
}

impl Aggregate for Setting {
    const TYPE: &'static str = "setting";
    type Command = SettingCommand;
    type Event = SettingEvent;
    type Error = std::convert::Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        SettingCommand::Change { key, value }: SettingCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        if self.value.as_ref() != Some(&value) {
            let first = self.key.filter(|_| !self.lost);
            let value = Private::new(first.unwrap_or(key), value);
            sink.write(SettingEvent::SettingChanged { value }, self)
                .await;
        }
        Ok(())
    }

    fn apply(&mut self, SettingEvent::SettingChanged { value }: SettingEvent) {
        self.key = Some(value.key());
        self.value = value.into_value();
        self.lost = self.value.is_none();
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;
    use serde_json::json;

    use super::*;

    fn changed(value: Value) -> SettingEvent {
        SettingEvent::SettingChanged {
            value: Private::new(KeyId(1), value),
        }
    }

    #[tokio::test]
    async fn a_change_is_sealed_under_the_settings_first_key() {
        TestFramework::<Setting>::with(())
            .given(vec![changed(json!("a"))])
            .when_async(SettingCommand::Change {
                key: KeyId(2),
                value: json!("b"),
            })
            .await
            .then_expect_events(vec![changed(json!("b"))]);
    }

    #[tokio::test]
    async fn the_same_value_again_is_no_change() {
        TestFramework::<Setting>::with(())
            .given(vec![changed(json!("a"))])
            .when_async(SettingCommand::Change {
                key: KeyId(2),
                value: json!("a"),
            })
            .await
            .then_expect_events(vec![]);
    }
}
